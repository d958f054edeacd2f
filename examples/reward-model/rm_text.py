"""Render, tokenise and truncate dialogues: defines the ids from which a score is computed.

guerdon does the same in Rust from `guerdon.model.toml` (format = "plain"). `reference.jsonl` in the
model folder tests both implementations against the same ids.

Rules
- Scoring the assistant message at `index` reads messages[0..=index] and nothing after it.
- A message renders as PREFIX[role] + content; messages are joined with SEPARATOR.
- The joined text is tokenised once, with the tokenizer's own special tokens.
- If the text is longer than `max_tokens`, whole messages are dropped, oldest first. If the scored
  message alone is too long, its first token ([CLS], <s>) and its last max_tokens - 1 tokens (which end
  in [SEP], </s>) are kept.
- The scored reply's tokens are those in its content, special tokens excepted. They are marked by
  position, not by a marker in the text, which a policy could write into its reply. For the same reason,
  text is never read as a special token."""

import gzip
import json
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

PREFIX = {"system": "system: ", "user": "user: ", "assistant": "assistant: ", "tool": "tool: "}
SEPARATOR = "\n"


def load_tokenizer(path):
    """tokenizer.json without any truncation or padding of its own (both would change scores silently)."""
    tok = Tokenizer.from_file(str(path))
    tok.no_truncation()
    tok.no_padding()
    tok.encode_special_tokens = True
    return tok


def render(messages):
    return SEPARATOR.join(PREFIX[m["role"]] + m["content"] for m in messages)


class Encoded(NamedTuple):
    """The model input of one turn: token ids, the range [first, last) of the scored reply, and truncation."""

    ids: list
    reply: tuple
    truncated: bool


def encode(tok, messages, index, max_tokens):
    """-> Encoded, for the score of messages[index]."""
    window = messages[: index + 1]
    for start in range(index + 1):
        text = render(window[start:])
        encoding = tok.encode(text)
        if len(encoding.ids) <= max_tokens:
            break
    ids, cut = encoding.ids, len(text) - len(messages[index]["content"])
    own = [i for i, (span, special) in enumerate(zip(encoding.offsets, encoding.special_tokens_mask))
           if not special and span[1] > cut]
    first, last = (own[0], own[-1] + 1) if own else (0, 0)
    if len(ids) > max_tokens:
        gone = len(ids) - max_tokens
        ids = ids[:1] + ids[1 + gone:]
        first, last = max(1, first - gone), max(0, last - gone)
        return Encoded(ids, (first, last), True)
    return Encoded(ids, (first, last), start > 0)


def read_pairs(paths):
    """Rows {prompt: [{role, content}], chosen, rejected, group, source?, subset?} of .jsonl or .jsonl.gz files."""
    rows = []
    for path in map(Path, paths):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as f:
            rows += [json.loads(line) for line in f if line.strip()]
    return rows


def subset_name(row):
    """The name a row is reported under: its subset, else its source."""
    return row.get("subset") or row.get("source") or "all"


def encode_pair(tok, row, max_tokens):
    """-> (chosen, rejected), both Encoded, of one preference pair."""
    def one(reply):
        messages = row["prompt"] + [{"role": "assistant", "content": reply}]
        return encode(tok, messages, len(messages) - 1, max_tokens)

    return one(row["chosen"]), one(row["rejected"])
