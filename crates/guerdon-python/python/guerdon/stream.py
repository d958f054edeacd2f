"""Streams of results: a training loop can use each result without waiting for the slowest judge call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from guerdon import _guerdon
from guerdon.awaited import awaited
from guerdon.wire import StreamedResult, Summary


class _BaseStream:
    """The base of both streams: parses lines and keeps the summary."""

    def __init__(self, client: _guerdon.Client, native: _guerdon.Stream) -> None:
        self._client = client  # Kept alive: its threads read the lines.
        self._native: _guerdon.Stream | None = native
        self.summary: Summary | None = None
        """Versions, costs and the server's id of the request; `None` until the last result is read."""

    def __repr__(self) -> str:
        state = "open" if self._native is not None else "complete" if self.summary else "closed"
        return f"<{type(self).__name__}: {state}>"

    def close(self) -> None:
        """Closes the connection. The server does not start the remaining work."""
        self._native = None

    def _read(self, line: str | None) -> StreamedResult | None:
        """The result on the line; `None` for the summary or at the end of the stream."""
        parsed: dict[str, Any] = {} if line is None else json.loads(line)
        if "index" in parsed:
            return parsed  # type: ignore[return-value]
        if parsed:
            self.summary = parsed  # type: ignore[assignment]
        self.close()
        return None


class ScoreStream(_BaseStream, Iterator[StreamedResult]):
    """Results of `Client.stream`, in any order; `index` is the rollout's place in the request.

    The stream ends after all results, or with a `GuerdonError`. If the connection breaks, as in a restart of
    the server, the missing results are asked for again, made by the same configuration. A `CutError` is raised
    if no retry is left or another configuration serves.
    `close`, or the end of a `with` block, closes the connection.
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


class AsyncScoreStream(_BaseStream, AsyncIterator[StreamedResult]):
    """Results of `AsyncClient.stream`, to be read with `async for`."""

    async def __anext__(self) -> StreamedResult:
        result = None if self._native is None else self._read(await awaited(self._native.start_next))
        if result is None:
            raise StopAsyncIteration
        return result

    async def __aenter__(self) -> AsyncScoreStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
