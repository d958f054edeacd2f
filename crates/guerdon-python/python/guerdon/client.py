"""The client: it cuts large batches into requests, retries what may pass, and keeps the request's order.

Both clients may be shared by threads, sent to another process, and used after a fork.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

import numpy as np

from guerdon import _guerdon
from guerdon.awaited import awaited
from guerdon.errors import RequestError
from guerdon.scored import Scored
from guerdon.stream import AsyncScoreStream, ScoreStream
from guerdon.wire import Rollout

_What = Literal["score", "info", "ready"]


class _Connected:
    """What the two clients share: settings, and how a question is written."""

    def __init__(
        self,
        url: str,
        *,
        profile: str | None = None,
        key: str | None = None,
        timeout: float = 300.0,
        retries: int = 5,
        chunk: int = 256,
        concurrency: int = 8,
    ) -> None:
        """Sets up a client; nothing is sent yet.

        - `url`: the server, such as `http://127.0.0.1:8787`
        - `profile`: that of requests that name none; by default the server's
        - `key`: a bearer token; a server that listens on loopback needs none
        - `timeout`: seconds that a call may take in all: its requests, its retries and the waits between them
        - `retries`: how often a request is sent again after a failure that may pass
        - `chunk`: rollouts in one HTTP request, at most
        - `concurrency`: HTTP requests under way at the same time, over all calls

        Raises `ConfigError` for a setting that cannot work.
        """
        self._settings = {
            "profile": profile,
            "key": key,
            "timeout": timeout,
            "retries": retries,
            "chunk": chunk,
            "concurrency": concurrency,
        }
        self._url = url
        self._native = _guerdon.Client(url, profile, key, (timeout, retries, chunk, concurrency))

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._url, self._settings)


def _again(kind: type[_Connected], url: str, settings: dict[str, Any]) -> _Connected:
    return kind(url, **settings)


class Client(_Connected):
    """A reward server, asked by a thread that waits. Other Python threads run on meanwhile; Ctrl-C ends the
    wait."""

    def score(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: str | None = None,
        deadline_ms: int | None = None,
    ) -> Scored:
        """Scores a batch of any size, in its order. The cuts into requests change no number.

        - `rollouts`: dictionaries as the wire has them, see `guerdon.wire.Rollout`; NumPy's numbers are
          numbers
        - `profile`: a named set of reward model, judge prompts, rule packs and fusion
        - `sources`: a subset of its sources
        - `fusion`: changes to its fusion, for this call only
        - `advantages`: add group advantages: `grpo`, `dr_grpo`, `rloo`, `batch_std`, `pass_at_k` or `gpg`
        - `deadline_ms`: what is not ready by then abstains

        Raises `RequestError` before anything is sent; `ProblemError`, `TransportError`, `DeadlineError` and
        the other `GuerdonError`s otherwise. A rollout that cannot be scored raises nothing: its reward is
        `None`.
        """
        body = _body(rollouts, profile, sources, fusion, advantages, deadline_ms)
        return Scored(**json.loads(self._native.ask("score", body)))

    def stream(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: str | None = None,
        deadline_ms: int | None = None,
    ) -> ScoreStream:
        """Scores a batch in one request and gives each result as soon as it is final.

        The arguments are those of `score`. A stream is not cut into requests, so the server's limit on
        rollouts applies. Where advantages are asked for, a result waits for its group.

        Raises as `score` does until the reply begins; what goes wrong later is raised while it is read.
        """
        body = _body(rollouts, profile, sources, fusion, advantages, deadline_ms)
        return ScoreStream(self._native, self._native.stream(body))

    def info(self) -> dict[str, Any]:
        """What the server is: its profiles, versions and limits."""
        told: dict[str, Any] = json.loads(self._native.ask("info", ""))
        return told

    def ready(self) -> bool:
        """Whether the server is ready to score; asked once, without retries."""
        return self._native.ask("ready", "") == "true"


class AsyncClient(_Connected):
    """A reward server, asked from any asyncio event loop. A call that is cancelled hangs up."""

    async def score(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: str | None = None,
        deadline_ms: int | None = None,
    ) -> Scored:
        """As `Client.score`."""
        body = _body(rollouts, profile, sources, fusion, advantages, deadline_ms)
        return Scored(**json.loads(await self._ask("score", body)))

    async def stream(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: str | None = None,
        deadline_ms: int | None = None,
    ) -> AsyncScoreStream:
        """As `Client.stream`: `async for result in await client.stream(rollouts)`."""
        body = _body(rollouts, profile, sources, fusion, advantages, deadline_ms)
        native = await awaited(partial(self._native.start_stream, body))
        return AsyncScoreStream(self._native, cast("_guerdon.Stream", native))

    async def info(self) -> dict[str, Any]:
        """As `Client.info`."""
        told: dict[str, Any] = json.loads(await self._ask("info", ""))
        return told

    async def ready(self) -> bool:
        """As `Client.ready`."""
        return await self._ask("ready", "") == "true"

    async def _ask(self, what: _What, body: str) -> str:
        return cast("str", await awaited(partial(self._native.start, what, body)))


def _body(
    rollouts: Sequence[Rollout | Mapping[str, Any]],
    profile: str | None,
    sources: Sequence[str] | None,
    fusion: Mapping[str, Any] | None,
    advantages: str | None,
    deadline_ms: int | None,
) -> str:
    said = {
        "rollouts": list(rollouts),
        "profile": profile,
        "sources": None if sources is None else list(sources),
        "fusion": fusion,
        "advantages": None if advantages is None else {"estimator": advantages},
        "deadline_ms": deadline_ms,
    }
    try:
        return _written({name: value for name, value in said.items() if value is not None})
    except (TypeError, ValueError, RecursionError) as error:
        raise _blamed(said["rollouts"], error) from error


def _written(value: Any) -> str:
    # NaN is no JSON, and `null` would be another fact than the one that was meant.
    return json.dumps(value, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays, and mappings, as JSON has them."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}, which JSON has no word for")


def _blamed(rollouts: Any, error: Exception) -> RequestError:
    """The error with the first rollout that has it."""
    for index, rollout in enumerate(rollouts):
        try:
            _written(rollout)
        except (TypeError, ValueError, RecursionError) as found:
            where = f"/rollouts/{index}"
            hint = "give texts, finite numbers, booleans, None, lists and dictionaries"
            message = f"the request was not sent: {found} (at `{where}`); {hint}"
            return RequestError(message, {"code": "invalid_request", "pointer": where, "hint": hint})
    return RequestError(f"the request was not sent: {error}", {"code": "invalid_request"})
