"""The bundled reward model: a BERT-style encoder, pooled states of several depths, and a linear unit
per kind of dialogue.

- The context does not attend to the reply; the reply attends to both. So the samples of one prompt
  can share the context's states, in training and in serving.
- Pooled: the mean of the reply's tokens at the depths `means`, its last token at the depths `ends`, and
  its length.
- A gate, a softmax over the kinds of dialogue seen in training (a refusal is right after one question
  and wrong after another), mixes one linear unit for each kind and adds one for all kinds.

The input `reply_mask` marks the reply. Scores do not depend on the padding's side or width."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn


class Layer(nn.Module):
    """A transformer layer as in BERT: post-norm, exact GELU."""

    def __init__(self, width, inner, heads, eps):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)

    def forward(self, x, sees):
        q, k, v = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, sees)
        x = self.norm1(x + self.mix(y.transpose(1, 2).flatten(2)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, eps = config["width"], config["norm_eps"]
        self.words, self.places = nn.Embedding(config["vocabulary"], width), nn.Embedding(config["places"], width)
        self.norm = nn.LayerNorm(width, eps)
        self.layers = nn.ModuleList(Layer(width, config["inner"], config["heads"], eps) for _ in range(config["layers"]))

    def forward(self, ids, positions, sees):
        """Hidden states after the embeddings and after every layer; sees: bool [batch, 1, seq, seq]."""
        depths = [self.norm(self.words(ids) + self.places(positions))]
        for layer in self.layers:
            depths.append(layer(depths[-1], sees))
        return depths


def parts(attention_mask, reply_mask):
    """float [batch, 3, seq]: masks of the context, of the reply with its closing token, and of its last token."""
    left = attention_mask.flip(1).cumsum(1).flip(1)
    last = attention_mask * (left == 1)
    tail = attention_mask * ((reply_mask.cumsum(1) + last) > 0)
    return torch.stack([attention_mask - tail, tail, last], 1).float()


class RewardModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        width, lengths = config["width"], 2
        self.head = nn.Linear(width * (len(config["means"]) + len(config["ends"])) + lengths, 1 + config["kinds"])
        self.gate = nn.Linear(2 * width + 1 + lengths, config["kinds"])

    def features(self, input_ids, attention_mask, reply_mask):
        """(features of the head, features of the gate), float [batch, ...]."""
        where = parts(attention_mask, reply_mask)
        context, tail = where[:, 0] > 0, where[:, 1] > 0
        sees = context[:, None, :] | (tail[:, :, None] & tail[:, None, :])
        sees = sees | torch.eye(sees.shape[1], dtype=torch.bool)  # padding attends to itself: an empty row is NaN
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)
        depths = self.encoder(input_ids, positions, sees[:, None])
        sizes = where.sum(2).clamp(min=1)
        pooled = {d: (where @ depths[d]) / sizes[..., None] for d in {*self.config["means"], *self.config["ends"]}}
        logs = sizes.log()
        length = torch.stack([logs[:, 1], logs[:, 1].square()], 1)
        head = [pooled[d][:, 1] for d in self.config["means"]] + [pooled[d][:, 2] for d in self.config["ends"]]
        middle = pooled[self.config["gate_depth"]]
        return torch.cat([*head, length], 1), torch.cat([middle[:, 0], middle[:, 1], logs[:, :1], length], 1)

    def forward(self, input_ids, attention_mask, reply_mask):
        head, gate = self.features(input_ids, attention_mask, reply_mask)
        units = self.head(head)
        return units[:, 0] + (self.gate(gate).softmax(1) * units[:, 1:]).sum(1)

    @classmethod
    def load(cls, folder):
        """Load what `save` wrote, ready to score."""
        model = cls(json.loads((Path(folder) / "config.json").read_text()))
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        return model.eval()

    @staticmethod
    def encoder_state(folder):
        """The encoder's weights alone, as make_base.py writes them."""
        return load_file(Path(folder) / "model.safetensors")

    def save(self, folder):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")
        save_file({k: v.contiguous().float() for k, v in self.state_dict().items()}, folder / "model.safetensors")


def collate(batch, pad=1):
    """Right-pad Encoded rows -> (input_ids, attention_mask, reply_mask), int64 [batch, longest]"""
    longest = max(len(row.ids) for row in batch)
    ids = torch.full((len(batch), longest), pad)
    mask, reply = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, row in enumerate(batch):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        mask[i, : len(row.ids)] = 1
        reply[i, row.reply[0]:row.reply[1]] = 1
    return ids, mask, reply


def by_length(rows, token_budget):
    """Indices of the rows in batches of similar length, each at most `token_budget` tokens with its padding."""
    order, start = sorted(range(len(rows)), key=lambda i: len(rows[i].ids)), 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(rows[order[stop]].ids) <= token_budget:
            stop += 1
        yield order[start:stop]
        start = stop


@torch.inference_mode()
def score_all(model, rows, token_budget=3072):
    """fp32 scores of Encoded rows."""
    scores = [0.0] * len(rows)
    for part in by_length(rows, token_budget):
        for i, value in zip(part, model(*collate([rows[i] for i in part])).tolist()):
            scores[i] = value
    return scores
