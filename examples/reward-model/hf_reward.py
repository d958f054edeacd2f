"""A Hugging Face encoder or decoder as a reward model: text to ids, and ids to one score that does not
depend on padding."""

import inspect

import jinja2
import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import rm_cut
from rm_contents import Control, Tracker
from rm_roles import Roles
from rm_text import Encoded, encode, plain_tokenizer


class HfReward(nn.Module):
    """A sequence classifier with the framework's pooling, in a form that can be exported.

    transformers pools a decoder at the last token that is not the model's padding token
    (`pad_token_id` in config.json), and so does this class, on either padding side: a text that ends in
    that token is read one token earlier. Without a padding token, the last token of the attention mask
    is pooled.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.is_decoder = hasattr(model, "score")
        self.pad = getattr(model.config, "pad_token_id", None)
        # Encoders derive their own positions, and not all start at 0: RoBERTa, XLM-R, MPNet and related
        # models start at the padding id plus one. Decoders start at 0 and need positions only for
        # padding on the left.
        self.takes_positions = self.is_decoder and "position_ids" in inspect.signature(model.forward).parameters

    @classmethod
    def load(cls, folder, **options):
        """Load for training: one label, whose head is new if the checkpoint has none."""
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
        kept = attention_mask if self.pad is None else attention_mask * (input_ids != self.pad)
        last = kept * (kept.flip(1).cumsum(1).flip(1) == 1)
        # A text of padding tokens only is pooled at its first token.
        first = attention_mask * (attention_mask.cumsum(1) == 1)
        last = last + first * (last.sum(1, keepdim=True) == 0)
        return self.model.score((last[:, None].to(hidden.dtype) @ hidden)[:, 0])


def deviation(scores, reference):
    """Largest difference to the reference, in standard deviations of the reference (at least 1e-3)."""
    return float(np.abs(np.asarray(scores) - reference).max() / max(float(np.std(reference)), 1e-3))


class Texts:
    """Encode dialogues by the tokenizer's chat template, or without one in the format of rm_text.py.

    The further arguments are those of guerdon's manifest, and the ids are guerdon's."""

    def __init__(self, folder, max_tokens, truncation="tokens", keep_system=None, trusted=False, roles=Roles(), tokenizer=None):
        self.max_tokens, self.truncation, self.roles = max_tokens, truncation, roles
        self.tokenizer = tokenizer or AutoTokenizer.from_pretrained(folder)
        self.template = self.tokenizer.chat_template
        self.keep_system = bool(self.template) if keep_system is None else keep_system
        # The checkpoint may have the files of a slow tokenizer only, or be a name on the hub.
        self.plain = None if self.template else plain_tokenizer(self.tokenizer.backend_tokenizer.to_str())
        self.pad = self.tokenizer.pad_token_id or 0
        if self.template:
            self.tok = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
            self.tok.no_truncation()
            self.tok.no_padding()
            named = [t for t in (self.tokenizer.bos_token, self.tokenizer.eos_token, self.tokenizer.pad_token) if t]
            self.control = None if trusted else Control(self.tok, named, self.template)
            self.tracker = None if trusted else Tracker(self.render, self.template, self.control)

    def render(self, messages):
        return self.tokenizer.apply_chat_template(messages, tokenize=False)

    def pieces(self, text):
        return self.tok.encode(text, add_special_tokens=False).offsets

    def ids(self, messages):
        """The ids of all messages. The error is the template's refusal."""
        try:
            return self.coded(messages)
        except Exception:  # a refusal by the template, of any kind that it raises
            adapted = self.roles.adapt(messages)
            if adapted is None:
                raise
            return self.coded(adapted)

    def coded(self, messages):
        if self.control is None:
            return self.tok.encode(self.render(messages), add_special_tokens=False).ids
        return self.control.encode(self.tracker.render(messages))[0]

    def read(self, messages):
        try:
            return self.ids(messages)
        except Exception:  # a refusal by the template, of any kind that it raises
            return None

    def encode(self, messages):
        """Encode a dialogue for the score of its last message. The error is the template's refusal."""
        if self.plain:
            return encode(self.plain, messages, len(messages) - 1, self.max_tokens, self.truncation, self.keep_system)
        dropped = False
        try:
            whole = self.ids(messages)
        except Exception:
            if (shorter := self.roles.without_leading(messages)) is None:
                raise
            messages, dropped, whole = shorter, True, self.ids(shorter)
        short = sum(len(m["content"]) for m in messages) <= self.max_tokens * rm_cut.TEXT_PER_TOKEN
        if short and len(whole) <= self.max_tokens:
            return Encoded(whole, (0, 0), dropped)
        ids = rm_cut.cut(self, messages, self.max_tokens, self.keep_system)[0] if self.truncation == "tokens" else self.newest(messages)
        if ids is None or len(ids) > self.max_tokens:
            ids = whole if ids is None else ids
            head = ids[:1] if ids[0] == self.tokenizer.bos_token_id else []
            ids = head + ids[len(head) + len(ids) - self.max_tokens:]
        return Encoded(ids, (0, 0), True)

    def newest(self, messages):
        """The ids of the newest messages that fit, with the system message if that fits too; if none fit,
        those of the shortest dialogue that the template accepts."""
        system, shortest = messages[0]["role"] == "system" and len(messages) > 1 and self.keep_system, None
        for kept in ([messages[:1], []] if system else [[]]):
            for start in range(int(system), len(messages)):
                ids = self.read(kept + messages[start:])
                if ids is not None and len(ids) <= self.max_tokens:
                    return ids
                shortest = shortest if ids is None else ids
        return shortest

    def pair(self, row):
        """Encode both dialogues of a pair: (chosen, rejected); None if the template refuses one."""
        try:
            return tuple(self.encode(row["prompt"] + [{"role": "assistant", "content": row[side]}])
                         for side in ("chosen", "rejected"))
        except (ValueError, jinja2.TemplateError):
            return None


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
