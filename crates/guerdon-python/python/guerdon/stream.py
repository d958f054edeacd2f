"""Results as they become final: a training loop need not wait for the slowest judge before it works on the rest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from guerdon import _guerdon
from guerdon.awaited import awaited
from guerdon.wire import StreamedResult, Summary


class _Lines:
    """What both streams share: which line is a result, and what the last one said."""

    def __init__(self, client: _guerdon.Client, native: _guerdon.Stream) -> None:
        self._client = client  # Its threads read the lines.
        self._native: _guerdon.Stream | None = native
        self.summary: Summary | None = None
        """Versions, costs and the server's name for the request; `None` until the last result was read."""

    def close(self) -> None:
        """Hangs up. What the server has not begun is not done any more."""
        self._native = None

    def _read(self, line: str | None) -> StreamedResult | None:
        """The line's result; `None` if it is the summary, or there is no line."""
        told: dict[str, Any] = {} if line is None else json.loads(line)
        if "index" in told:
            return told  # type: ignore[return-value]
        if told:
            self.summary = told  # type: ignore[assignment]
        self.close()
        return None


class ScoreStream(_Lines, Iterator[StreamedResult]):
    """Results of `Client.stream`, in no set order: `index` says whose each is.

    It ends after all of them, or with a `GuerdonError`: a `CutError` if the reply ended too early. Leaving it
    (`close`, or the end of a `with`) hangs up.
    """

    def __next__(self) -> StreamedResult:
        result = None if self._native is None else self._read(self._native.next())
        if result is None:
            raise StopIteration
        return result

    def __enter__(self) -> ScoreStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncScoreStream(_Lines, AsyncIterator[StreamedResult]):
    """The same, to be read with `async for`."""

    async def __anext__(self) -> StreamedResult:
        result = None if self._native is None else self._read(await awaited(self._native.start_next))
        if result is None:
            raise StopAsyncIteration
        return result

    async def __aenter__(self) -> AsyncScoreStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
