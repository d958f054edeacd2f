"""A Hugging Face encoder or decoder as a reward model: text to ids, and ids to one score that does not
depend on padding."""

import inspect

import numpy as np
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rm_text import Encoded, encode, load_tokenizer


class HfReward(nn.Module):
    """AutoModelForSequenceClassification with one label, pooled by the mask.

    transformers pools a decoder at the last token that is not the pad token. If the pad token also ends
    a text, that is one token early. Here the pooled token is the last one of the attention mask, on
    either padding side.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.is_decoder = hasattr(model, "score")
        # Encoders derive their own positions, and not all start at 0: RoBERTa, XLM-R, MPNet and related
        # models start at the padding id plus one. Decoders start at 0 and need positions only for
        # padding on the left.
        self.takes_positions = self.is_decoder and "position_ids" in inspect.signature(model.forward).parameters

    @classmethod
    def load(cls, folder, **options):
        """Load with eager attention, whose plain operators can be exported."""
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=1, dtype=torch.float32, attn_implementation="eager", **options)
        return cls(model)

    def forward(self, input_ids, attention_mask):
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.takes_positions:
            inputs["position_ids"] = (attention_mask.cumsum(1) - 1).clamp(min=0)
        if not self.is_decoder:
            return self.model(**inputs).logits
        hidden = self.model.base_model(**inputs, use_cache=False).last_hidden_state
        last = attention_mask * (attention_mask.flip(1).cumsum(1).flip(1) == 1)
        return self.model.score((last[:, None].to(hidden.dtype) @ hidden)[:, 0])


@torch.inference_mode()
def framework_scores(model, rows):
    """Reference scores: the framework's own class and forward pass, one unpadded text at a time."""
    def score(row):
        ids = torch.tensor([row.ids])
        return float(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0])

    return np.array([score(row) for row in rows])


def deviation(scores, reference):
    """Largest difference to the reference, in standard deviations of the reference (at least 1e-3)."""
    return float(np.abs(np.asarray(scores) - reference).max() / max(float(np.std(reference)), 1e-3))


class Texts:
    """Encode dialogues by the tokenizer's chat template, or without one in the format of rm_text.py."""

    def __init__(self, folder, max_tokens):
        self.max_tokens = max_tokens
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.template = self.tokenizer.chat_template
        self.plain = None if self.template else load_tokenizer(f"{folder}/tokenizer.json")
        self.pad = self.tokenizer.pad_token_id or 0

    def encode(self, messages):
        """Encode a dialogue for the score of its last message."""
        if self.plain:
            return encode(self.plain, messages, len(messages) - 1, self.max_tokens)
        first = 1 if messages[0]["role"] == "system" else 0
        for start in range(first, len(messages)):
            text = self.tokenizer.apply_chat_template(messages[:first] + messages[start:], tokenize=False)
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(ids) <= self.max_tokens:
                return Encoded(ids, (0, 0), start > first)
        return Encoded(ids[-self.max_tokens:], (0, 0), True)

    def pair(self, row):
        """Encode both dialogues of a pair: (chosen, rejected)."""
        return tuple(self.encode(row["prompt"] + [{"role": "assistant", "content": row[side]}])
                     for side in ("chosen", "rejected"))


def collate(rows, pad, left=False):
    """Pad Encoded rows: (input_ids, attention_mask), int64 [batch, longest]."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(longest - len(row.ids), None) if left else slice(0, len(row.ids))
        ids[i, place], mask[i, place] = torch.tensor(row.ids), 1
    return ids, mask


@torch.inference_mode()
def score_all(reward, rows, pad, batch=16):
    """fp32 scores of Encoded rows, computed in batches of similar length."""
    scores, order = [0.0] * len(rows), sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    for start in range(0, len(order), batch):
        part = order[start:start + batch]
        for i, value in zip(part, reward(*collate([rows[i] for i in part], pad))[:, 0].tolist()):
            scores[i] = value
    return scores
