"""Render, tokenise and truncate dialogues: defines the ids from which a score is computed.

guerdon does the same in Rust from `guerdon.model.toml` (format = "plain"). `reference.jsonl` in the
model folder tests both implementations against the same ids.

Rules
- Scoring the assistant message at `index` reads messages[0..=index] and nothing after it.
- A message renders as PREFIX[role] + content; messages are joined with SEPARATOR.
- The joined text is tokenised once, with the tokenizer's own special tokens.
- If the text is longer than `max_tokens`, truncation="messages" drops whole messages, oldest first; if
  the scored message alone is too long, the tokenizer's first token ([CLS], <s>) and the last tokens
  (which end in [SEP], </s>) are kept. truncation="tokens" keeps more: see rm_cut.py.
- The scored reply's tokens are those in its content, special tokens excepted. They are marked by
  position, not by a marker in the text, which a policy could write into its reply. For the same reason,
  text is never read as a special token, nor as an ordinary token with the id of one (rm_contents.py)."""

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

import rm_cut
from rm_contents import Control, Rendered, blank

PREFIX = {"system": "system: ", "user": "user: ", "assistant": "assistant: ", "tool": "tool: "}
SEPARATOR = "\n"


def load_tokenizer(path):
    """tokenizer.json without any truncation or padding of its own (both would change scores silently)."""
    return plain_tokenizer(Path(path).read_text(encoding="utf-8"))


def plain_tokenizer(json_text):
    """The tokenizer of a tokenizer.json's text, as `load_tokenizer`."""
    tok = Tokenizer.from_str(json_text)
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


@lru_cache(maxsize=8)
def control_of(tok):
    return Control(tok, frame=SEPARATOR.join(PREFIX.values()), special=False)


class PlainReader:
    """Encodes messages in the plain format, and marks the tokens of the last one."""

    def __init__(self, tok):
        self.tok, self.control, self.encodings = tok, control_of(tok), {}

    def pieces(self, text):
        return self.tok.encode(text, add_special_tokens=False).offsets

    def coded(self, messages):
        """-> (ids, encoding, first character of the last message in the encoded text)"""
        text, skeleton = render(messages), ""
        for number, m in enumerate(messages):
            skeleton += (SEPARATOR if number else "") + PREFIX[m["role"]] + blank(m["content"])
        return self.control.encode(Rendered(text, skeleton), len(text) - len(messages[-1]["content"]))

    def read(self, messages):
        ids, encoding, mark = self.coded(messages)
        self.encodings[tuple(ids)] = encoding, mark
        return ids


def encode(tok, messages, index, max_tokens, truncation="messages", keep_system=False):
    """-> Encoded, for the score of messages[index]."""
    window, reader, truncated = messages[: index + 1], PlainReader(tok), True
    if truncation == "tokens":
        ids, truncated = rm_cut.cut(reader, window, max_tokens, keep_system)
        encoding, mark = reader.encodings[tuple(ids)]
    else:
        for start in range(index + 1):
            ids, encoding, mark = reader.coded(window[start:])
            if len(ids) <= max_tokens:
                truncated = start > 0
                break
    own = [i for i, (span, special) in enumerate(zip(encoding.offsets, encoding.special_tokens_mask))
           if not special and span[1] > mark]
    first, last = (own[0], own[-1] + 1) if own else (0, 0)
    if len(ids) > max_tokens:
        gone, special = len(ids) - max_tokens, encoding.special_tokens_mask
        head = min(max_tokens, next((i for i, one in enumerate(special) if not one), len(ids)))
        ids = ids[:head] + ids[head + gone:]
        first, last = max(head, first - gone), max(0, last - gone)
    return Encoded(ids, (first, last), truncated)


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


def encode_pair(tok, row, max_tokens, truncation="messages", keep_system=False):
    """-> (chosen, rejected), both Encoded, of one preference pair."""
    def one(reply):
        messages = row["prompt"] + [{"role": "assistant", "content": reply}]
        return encode(tok, messages, len(messages) - 1, max_tokens, truncation, keep_system)

    return one(row["chosen"]), one(row["rejected"])
