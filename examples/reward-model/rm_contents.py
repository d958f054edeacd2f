"""Contents of messages as text: a message that spells a control token, such as `<|im_end|>`, yields
ordinary tokens and cannot forge a turn.

guerdon does the same in Rust (crates/guerdon-model/src/encode: control.rs, contents.rs, neutral.rs)
unless its manifest says `trusted = true`; tests/cuts/golden.json holds both to the same ids.

A chat template is rendered twice: with the messages, and with every character of a message but white
space covered by a private-use character. Where both texts agree, the covers mark what the messages
wrote. If the encoding has a control token from there, the text is encoded again by a copy of the
tokenizer in which control tokens have names that no message can spell."""

import json
import re

from tokenizers import Tokenizer

NAME_MARK = "\U0010FFFD"
COVER, COVERS = 0xF0000, 0x1FFF0


def is_piped(text):
    return text.startswith(("<|", "<｜", "[|", "{|")) and text.endswith(("|>", "｜>", "|]", "|}"))


def is_bracketed(text):
    return len(text.encode()) > 2 and (text[0] + text[-1]) in ("<>", "[]", "{}", "＜＞", "【】")


class Rendered:
    """A text, and the same text with NUL for the characters of messages other than white space."""

    def __init__(self, text, skeleton, looked_into=False):
        self.text, self.skeleton, self.looked_into = text, skeleton, looked_into


def blank(content):
    return "".join(c if c.isspace() else "\0" for c in content)


class Control:
    """The control tokens of a tokenizer, and the encoding of rendered texts without those of messages.

    special: whether the text around the messages holds special tokens (chat templates), or spells
    none (the plain format)."""

    def __init__(self, tok, named=(), frame="", special=True):
        self.tok, self.special, self.neutral = tok, special, None
        added = tok.get_added_tokens_decoder()
        self.tokens, texts = [], []
        self.of_text = {}
        for id, token in sorted(added.items()):
            text = token.content
            control = token.special or text in named or is_piped(text) or (is_bracketed(text) and text in frame)
            texts.append(text)
            if control:
                self.add(text, id, token.special)
        for text in named:
            if text not in texts and tok.token_to_id(text) is not None:
                texts.append(text)
                self.add(text, tok.token_to_id(text), True)
        self.ids = {id for _, id, _ in self.tokens}
        pieces = tok.model.tokenize(NAME_MARK)
        self.unknown = pieces[0].id if pieces and pieces[0].id in self.ids else None
        self.pattern = re.compile("|".join(re.escape(t) for t in sorted(texts, key=lambda t: -len(t.encode()))) or r"(?!)")

    def add(self, text, id, special):
        self.of_text[text] = len(self.tokens)
        self.tokens.append((text, id, special))

    def find(self, text):
        for found in self.pattern.finditer(text):
            if found[0] in self.of_text:
                yield found.start(), found.end(), self.of_text[found[0]]

    def sequence(self, text):
        return [self.tokens[k][1] for _, _, k in self.find(text)]

    def forged(self, encoding, rendered):
        """Whether a control token of the encoding comes from a message."""
        for id, (start, end) in zip(encoding.ids, encoding.offsets):
            if id in self.ids and "\0" in rendered.skeleton[start:end]:
                spelt = rendered.text[start:end].strip()
                if id != self.unknown or any(t == spelt and i == id for t, i, _ in self.tokens):
                    return True
        found = [id for id in encoding.ids if id in self.ids and id != self.unknown]
        return rendered.looked_into and found != self.sequence(rendered.skeleton)

    def encode(self, rendered, mark=0):
        """-> (ids, encoding, the place of character `mark` in the encoded text)"""
        encoding = self.tok.encode(rendered.text, add_special_tokens=not self.special)
        if not self.forged(encoding, rendered):
            return encoding.ids, encoding, mark
        if self.neutral is None:
            self.neutral = self.make_neutral()
        tok, same = self.neutral
        text, end, marked = "", 0, None
        places = [f for f in self.find(rendered.skeleton) if self.special or not self.tokens[f[2]][2]]
        for start, stop, k in places + [(len(rendered.text), None, None)]:
            if marked is None and start >= mark:
                marked = len(text) + max(0, mark - end)
            text += rendered.text[end:start].replace(NAME_MARK, "\ufffd")
            if k is not None:
                text += name(k)
                end = stop
        encoding = tok.encode(text, add_special_tokens=not self.special)
        return [same.get(id, id) for id in encoding.ids], encoding, marked

    def make_neutral(self):
        spec, renamed = json.loads(self.tok.to_str()), {t: name(k) for k, (t, _, _) in enumerate(self.tokens)}
        for token in spec["added_tokens"]:
            if token["content"] in renamed:
                token |= {"content": renamed[token["content"]], "normalized": False}
        model = spec["model"]
        if isinstance(model["vocab"], dict):
            model["vocab"] = {renamed.get(t, t): id for t, id in model["vocab"].items()}
        else:
            model["vocab"] = [[renamed.get(t, t), score] for t, score in model["vocab"]]
        if model.get("unk_token") in renamed:
            model["unk_token"] = renamed[model["unk_token"]]
        prefix = model.get("continuing_subword_prefix") or ""

        def kept(merge):
            left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
            return not {left, right, left + right.removeprefix(prefix)} & renamed.keys()

        if "merges" in model:
            model["merges"] = [merge for merge in model["merges"] if kept(merge)]
        tok = Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))
        added = self.tok.get_added_tokens_decoder()
        same = {tok.token_to_id(renamed.get(t.content, t.content)): id for id, t in added.items()}
        return tok, {new: old for new, old in same.items() if new != old}


def name(number):
    return f"{NAME_MARK}{number}{NAME_MARK}"


class Alphabet:
    """Covers characters with private-use ones, a different one for each."""

    def __init__(self):
        self.covers, self.letters = {}, {}

    def of(self, letter):
        if letter not in self.covers:
            number = min(len(self.covers), COVERS)
            cover = chr(COVER + number + (2 if number >= 0xFFFE else 0))
            self.covers[letter] = cover
            self.letters.setdefault(cover, letter)
        return self.covers[letter]

    def cover(self, text):
        return "".join(c if c.isspace() else self.of(c) for c in text)

    def keep(self, text):
        return "".join(self.of(c) if ord(c) >= COVER else c for c in text)

    def uncover(self, covered):
        text = "".join(self.letters.get(c, c) for c in covered)
        return Rendered(text, "".join("\0" if c in self.letters and not self.letters[c].isspace() else c for c in covered))


def aligned(text, covered):
    """The skeleton of the text, if it differs from `covered` only in covered characters."""
    if len(text) != len(covered):
        return None
    if any(ord(b) < COVER and a != b for a, b in zip(text, covered)):
        return None
    return "".join("\0" if ord(b) >= COVER else a for a, b in zip(text, covered))


def literals(source):
    """The string literals in the blocks of a Jinja template."""
    found, place = [], 0
    while True:
        starts = [(source.find(mark, place), mark) for mark in ("{{", "{%", "{#")]
        start, mark = min((s for s in starts if s[0] >= 0), default=(-1, ""))
        if start < 0:
            return found
        if mark == "{#":
            end = source.find("#}", start)
            if end < 0:
                return found
            place = end + 2
            continue
        close, place = {"{{": "}}", "{%": "%}"}[mark], start + 2
        while place < len(source) and not source.startswith(close, place):
            quote = source[place]
            place += 1
            if quote not in "'\"":
                continue
            text = ""
            while place < len(source) and source[place] != quote:
                if source[place] == "\\" and place + 1 < len(source):
                    text += {"n": "\n", "t": "\t", "r": "\r"}.get(source[place + 1], source[place + 1])
                    place += 2
                else:
                    text += source[place]
                    place += 1
            place += 1
            if text not in found:
                found.append(text)
        place += 2


class Tracker:
    """Renders dialogues and separates the template's text from the messages'; contents.rs has the cases."""

    def __init__(self, render, source, control):
        self.plain_render, self.control = render, control
        strings = literals(source)
        punctuation = {c for t, _, _ in control.tokens for c in t if not c.isalnum() and not c.isspace()}
        needles = [s for s in strings if s.strip() and not punctuation & set(s) and not any(s in t for t, _, _ in control.tokens)]
        self.needles = re.compile("|".join(re.escape(s) for s in sorted(needles, key=lambda s: -len(s.encode()))) or r"(?!)")
        self.sought = [not special and any(t in s for s in strings) for t, _, special in control.tokens]

    def render(self, messages):
        """The error is the template's refusal."""
        text = self.plain_render(messages)
        if not self.control.tokens:
            return Rendered(text, text)
        alphabet = Alphabet()
        opaque = self.covered(messages, alphabet.cover)
        skeleton = None if opaque is None else aligned(text, opaque)
        if skeleton is not None:
            return Rendered(text, skeleton)
        wordy = self.covered(messages, lambda content: pieces_of(self.needles.finditer(content), content, alphabet))
        skeleton = None if wordy is None else aligned(text, wordy)
        if skeleton is not None:
            return Rendered(text, skeleton)
        safe = wordy if wordy is not None else opaque
        if safe is None:
            raise ValueError("the chat template refuses messages whose characters are replaced")
        structure = self.control.sequence(safe)
        if self.control.sequence(text) == structure:
            return Rendered(text, text, True)
        for keep_sought in (True, False):
            def cover(content):
                out, end = "", 0
                for start, stop, k in self.control.find(content):
                    if not (keep_sought and self.sought[k]):
                        out += alphabet.keep(content[end:start]) + alphabet.cover(content[start:stop])
                        end = stop
                return out + alphabet.keep(content[end:])

            rest = self.covered(messages, cover)
            if rest is not None and self.control.sequence(rest) == structure:
                return alphabet.uncover(rest)
        return alphabet.uncover(safe)

    def covered(self, messages, cover):
        try:
            return self.plain_render([m | {"content": cover(m["content"])} for m in messages])
        except Exception:  # a refusal by the template, of any kind that it raises
            return None


def pieces_of(found, content, alphabet):
    out, end = "", 0
    for match in found:
        out += alphabet.cover(content[end:match.start()]) + alphabet.keep(match[0])
        end = match.end()
    return out + alphabet.cover(content[end:])
