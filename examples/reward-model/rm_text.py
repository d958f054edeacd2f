"""Render, tokenise and truncate dialogues: the one place that decides which ids a score is computed from.

guerdon does the same in Rust from `guerdon.model.toml` (format = "plain"), and `reference.jsonl`
beside the model pins both sides to the same ids.

Rules
- Scoring the assistant message at `index` reads messages[0..=index] and nothing after it.
- A message renders as PREFIX[role] + content; messages are joined with SEPARATOR.
- The joined text is tokenised once, with the tokenizer's own special tokens.
- Longer than `max_tokens`: drop whole messages, oldest first, until it fits. If the scored message
  alone is too long, keep its first token ([CLS]) and its last max_tokens - 1 (which end in [SEP]).
"""

import gzip
import json
from pathlib import Path

from tokenizers import Tokenizer

PREFIX = {"system": "system: ", "user": "user: ", "assistant": "assistant: ", "tool": "tool: "}
SEPARATOR = "\n"


def load_tokenizer(path):
    """tokenizer.json without any truncation or padding of its own (both would change scores silently)."""
    tok = Tokenizer.from_file(str(path))
    tok.no_truncation()
    tok.no_padding()
    return tok


def render(messages):
    return SEPARATOR.join(PREFIX[m["role"]] + m["content"] for m in messages)


def encode(tok, messages, index, max_tokens):
    """-> (ids, truncated) for the score of messages[index]."""
    window = messages[: index + 1]
    ids = tok.encode(render(window)).ids
    if len(ids) <= max_tokens:
        return ids, False
    for start in range(1, index + 1):
        ids = tok.encode(render(window[start:])).ids
        if len(ids) <= max_tokens:
            return ids, True
    return ids[:1] + ids[-(max_tokens - 1):], True


def reply_marker(tok):
    """The two ids that the scored message's prefix, "assistant: ", tokenises to."""
    first, second = tok.encode(PREFIX["assistant"], add_special_tokens=False).ids
    return first, second


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


def pair_ids(tok, row, max_tokens):
    """-> (chosen ids, rejected ids) of one preference pair."""
    def one(reply):
        messages = row["prompt"] + [{"role": "assistant", "content": reply}]
        return encode(tok, messages, len(messages) - 1, max_tokens)[0]

    return one(row["chosen"]), one(row["rejected"])
