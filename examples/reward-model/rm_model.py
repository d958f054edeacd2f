"""The reward model: a BERT-style encoder, masked mean pooling, dropout, one linear unit."""

import importlib.util
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertModel


def base_folder(name):
    """A folder with config.json, tokenizer.json and model.safetensors: given, or inside an installed package."""
    if Path(name).is_dir():
        return Path(name)
    spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is None:
        raise SystemExit(f"--base {name}: neither a folder nor an installed package")
    return Path(spec.origin).parent / "model"


class RewardModel(nn.Module):
    def __init__(self, config, dropout=0.1):
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(config.hidden_size, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids, attention_mask):
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()
        mask = attention_mask.unsqueeze(-1).float()
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        return self.head(self.dropout(pooled)).squeeze(-1)

    @classmethod
    def from_base(cls, folder, dropout=0.1):
        """Start from pretrained encoder weights with a fresh head."""
        config = BertConfig.from_pretrained(str(folder))
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
        model = cls(config, dropout)
        state = {k.removeprefix("bert."): v.float() for k, v in load_file(Path(folder) / "model.safetensors").items()}
        missing, _ = model.bert.load_state_dict(state, strict=False)
        if missing:
            raise SystemExit(f"{folder}: weights lack {missing[:3]} ...")
        return model

    @classmethod
    def load(cls, folder):
        """Load what `save` wrote, ready to score (no dropout)."""
        config = BertConfig.from_dict(json.loads((Path(folder) / "config.json").read_text()))
        model = cls(config)
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        return model.eval()

    def save(self, folder):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.bert.config.to_dict(), indent=2) + "\n")
        save_file({k: v.contiguous().float() for k, v in self.state_dict().items()}, folder / "model.safetensors")


def collate(batch):
    """Right-pad lists of ids -> (input_ids, attention_mask), both int64 [batch, longest]."""
    longest = max(map(len, batch))
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, seq in enumerate(batch):
        ids[row, : len(seq)] = torch.tensor(seq)
        mask[row, : len(seq)] = 1
    return ids, mask


@torch.inference_mode()
def score_all(model, seqs, token_budget=4096):
    """fp32 scores of many id lists, batched by length."""
    scores = [0.0] * len(seqs)
    order, start = sorted(range(len(seqs)), key=lambda i: len(seqs[i])), 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(seqs[order[stop]]) <= token_budget:
            stop += 1
        part = order[start:stop]
        for i, value in zip(part, model(*collate([seqs[i] for i in part])).tolist()):
            scores[i] = value
        start = stop
    return scores
