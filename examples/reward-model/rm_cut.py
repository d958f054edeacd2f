"""Truncation by tokens: the oldest message that is read loses its beginning, and a reply that is too
long its middle.

guerdon does the same in Rust (crates/guerdon-model/src/encode/cut.rs) for manifests with
`truncation = "tokens"`; tests/cuts/golden.json holds both to the same ids.

Rules
- A dialogue that fits is read whole. Contents are cut at the borders of their own tokens, and the
  dialogue is then encoded as it stands.
- The reply has priority, but leaves up to a quarter of the limit to the message before it, so that a
  long reply is never scored without its prompt. A reply that is too long keeps its first and its last
  tokens, with OMISSION between them; if there is little room, only its last.
- Then as many whole messages as fit are read, and of one more its last tokens.
- With `keep_system`, the system message stays: its first tokens, at most a quarter of the limit.

A reader has two methods: pieces(text), the character ranges of the text's tokens by itself, and
read(messages), the ids of the messages, or None if the chat template refuses them."""

OMISSION = " ... "
TEXT_PER_TOKEN = 16  # characters; longer contents are not encoded whole
ATTEMPTS = 8
STARTS = 4


class Fragment:
    """A content, or a part of it: its text, and the number of tokens of the text by itself."""

    def __init__(self, text, tokens, cut):
        self.text, self.tokens, self.cut = text, tokens, cut


EMPTY = Fragment("", 0, True)


def head(reader, content, most):
    """The first `most` tokens of the content."""
    text = content[:most * TEXT_PER_TOKEN]
    pieces = reader.pieces(text)
    if len(pieces) > most:
        text = text[:pieces[most - 1][1]] if most else ""
    return Fragment(text, min(len(pieces), most), len(text) < len(content))


def last_characters(content, count):
    return content[-count:] if count else ""


def tail(reader, content, most):
    """The last `most` tokens of the content."""
    text = last_characters(content, most * TEXT_PER_TOKEN)
    pieces = reader.pieces(text)
    if len(pieces) > most:
        text = text[pieces[len(pieces) - most][0]:] if most else ""
    return Fragment(text, min(len(pieces), most), len(text) < len(content))


def ends(reader, content, most):
    """The whole content, or its first and last tokens with OMISSION between them."""
    whole, omission = tail(reader, content, most), len(reader.pieces(OMISSION))
    if not whole.cut or most < 4 * omission:
        return whole
    first = (most - omission) // 2
    end = tail(reader, content, most - omission - first)
    start = head(reader, content, first)
    return Fragment(start.text + OMISSION + end.text, start.tokens + end.tokens, True)


def widest_window(first, last, fits):
    """The widest window start..last that fits: fits(start) is its encoding, or None."""
    alone = fits(last)
    if first == last or alone is None:
        return alone
    start, best, step, too_wide = last, alone, 1, None
    while start > first:
        wider = max(start - step, first)
        window = fits(wider)
        if window is None:
            too_wide = wider
            break
        start, best, step = wider, window, step * 2
    while too_wide is not None and start - too_wide > 1:
        middle = too_wide + (start - too_wide) // 2
        window = fits(middle)
        if window is None:
            too_wide = middle
        else:
            start, best = middle, window
    return best


class TokenCut:
    """Cuts a dialogue, whose last message is scored, to `limit` tokens."""

    def __init__(self, reader, dialogue, limit, keep_system):
        self.reader, self.dialogue, self.limit, self.keep_system = reader, dialogue, limit, keep_system
        self.last, self.quarter = len(dialogue) - 1, limit // 4

    def content(self, message):
        return self.dialogue[message]["content"]

    def count(self, message):
        return len(self.reader.pieces(last_characters(self.content(message), self.limit * TEXT_PER_TOKEN)))

    def fit(self):
        """-> the ids; None if the template's own tokens leave no room for the reply"""
        has_system = self.keep_system and self.last > 0 and self.dialogue[0]["role"] == "system"
        system = head(self.reader, self.content(0), self.quarter) if has_system else None
        first, reply_tokens = int(has_system), self.count(self.last)
        for system, first, with_context in ((system, first, first < self.last), (None, 0, True), (None, 0, False)):
            base, frame = self.base(system, first, with_context)
            if base is None:
                continue
            wanted = min(self.count(base), self.quarter) if base < self.last else 0
            least = max(1, min(reply_tokens, self.quarter))
            context = max(0, min(wanted, self.limit - frame - least))
            if frame + least > self.limit or (wanted and not context):
                continue
            fitted = self.reply_and_context(system, base, context, self.limit - frame - context)
            if fitted:
                return self.widen(*fitted, system, first, base)
        return None

    def read(self, system, oldest, start, reply):
        """The ids of a window: oldest is (message, Fragment) or None; messages from start on are whole."""
        def cut(message, fragment):
            return self.dialogue[message] | {"content": fragment.text}

        messages = [cut(0, system)] if system else []
        messages += [cut(*oldest)] if oldest else []
        return self.reader.read(messages + self.dialogue[start:self.last] + [cut(self.last, reply)])

    def base(self, system, first, with_context):
        starts = range(self.last - 1, first - 1, -1)[:STARTS] if with_context else [self.last]
        for start in starts:
            oldest = (start, EMPTY) if start < self.last else None
            ids = self.read(system, oldest, min(start + 1, self.last), EMPTY)
            if ids is not None:
                return start, len(ids)
        return None, None

    def reply_and_context(self, system, base, context, room):
        for _ in range(ATTEMPTS):
            oldest = (base, tail(self.reader, self.content(base), context)) if base < self.last else None
            reply = ends(self.reader, self.content(self.last), room)
            ids = self.read(system, oldest, min(base + 1, self.last), reply)
            if ids is None:
                return None
            if len(ids) <= self.limit:
                return reply, ids
            room = max(0, min(room, reply.tokens) - (len(ids) - self.limit))
            if room == 0:
                return None
        return None

    def widen(self, reply, ids, system, first, base):
        def fits(start):
            for start in range(start, base + 1):
                window = self.read(system, None, start, reply)
                if window is not None:
                    return (start, window) if len(window) <= self.limit else None
            return None

        before, best = base + 1, ids
        widest = widest_window(min(first, base), base, fits)
        if widest:
            before, best = widest
        for oldest in range(min(before, self.last) - 1, first - 1, -1)[:STARTS]:
            frame = self.read(system, (oldest, EMPTY), min(oldest + 1, self.last), reply)
            if frame is not None:
                wider = self.with_oldest(system, oldest, reply, self.limit - len(frame))
                return best if wider is None else wider
        return best

    def with_oldest(self, system, oldest, reply, room):
        for _ in range(ATTEMPTS):
            if room <= 0:
                return None
            end = tail(self.reader, self.content(oldest), room)
            ids = self.read(system, (oldest, end), min(oldest + 1, self.last), reply)
            if ids is None:
                return None
            if len(ids) <= self.limit:
                return ids
            room -= len(ids) - self.limit
        return None


def cut(reader, dialogue, limit, keep_system):
    """-> (ids, whether anything was left out); the ids may exceed the limit if the template's own tokens do"""
    if sum(len(message["content"]) for message in dialogue) <= limit * TEXT_PER_TOKEN:
        ids = reader.read(dialogue)
        if ids is not None and len(ids) <= limit:
            return ids, False
    ids = TokenCut(reader, dialogue, limit, keep_system).fit()
    if ids is None:
        end = tail(reader, dialogue[-1]["content"], limit)
        reply = dialogue[-1] | {"content": end.text}
        ids = reader.read([reply])
        if ids is None:
            ids = reader.read([message | {"content": ""} for message in dialogue[:-1]] + [reply])
    return ids, True
