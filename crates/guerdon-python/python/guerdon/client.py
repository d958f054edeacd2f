"""The clients, blocking and async.

They split large batches into requests, retry transient failures, and return results in the order of the
batch. Both can be shared by threads, sent to another process, and used after a fork.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import numpy as np

from guerdon import _guerdon
from guerdon.awaited import awaited
from guerdon.errors import RequestError
from guerdon.scored import Scored
from guerdon.stream import AsyncScoreStream, ScoreStream
from guerdon.wire import Estimator, Rollout

_What = Literal["score", "post", "info", "ready"]


class _BaseClient:
    """The base of the two clients: the settings."""

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        profile: str | None = None,
        key: str | None = None,
        timeout: float = 300.0,
        retries: int | None = None,
        backoff: float = 0.2,
        backoff_cap: float = 5.0,
        backoff_floor: float = 0.05,
        chunk: int = 256,
        concurrency: int = 8,
        expect_digest: str | None = None,
    ) -> None:
        """Sets up a client; nothing is sent yet.

        - `url`: the server, such as `http://127.0.0.1:8787`; or several replicas, as a list or separated by
          commas. Then a request goes to the server that its group has by rendezvous hashing (without a group, its
          id), so that the samples of a group meet on one server. If that server is away or busy, the request goes
          to the next one, with the same idempotency key; if its work may have begun, it is sent to its own server
          once more first, so that no judge call is paid twice as far as a client can know
        - `profile`: the profile of requests that name none; by default the server's
        - `key`: a bearer token; not needed if the server has no tokens
        - `timeout`: seconds for a whole call: its requests, retries and the waits in between
        - `retries`: retries of a request, at most. By default a request is retried until `timeout` while the
          server is away or busy (no connection, a broken connection, 408, 429, 502, 503, 504), so that a call
          outlives a restart of the server, and five times after a fault (500). A refused request is never
          sent again.
        - `backoff`, `backoff_cap`, `backoff_floor`: seconds. The wait before retry `k` (from 0) is random, at
          most `backoff * 2**k` and `backoff_cap`, and at least `backoff_floor`. If the server names a delay,
          the wait is at least that delay. The fourth failure of a call, the eighth and so on are logged as
          warnings of the logger `guerdon`.
        - `chunk`: rollouts in one HTTP request, at most
        - `concurrency`: HTTP requests in flight at the same time, over all calls
        - `expect_digest`: the configuration that must serve, `versions[0]["digest"]` of an earlier result; if
          another one serves, a call raises `ProblemError` with the code `conflict`

        Raises `ConfigError` for an invalid setting.
        """
        limits: dict[str, float | None] = {
            "timeout": timeout,
            "retries": retries,
            "backoff": backoff,
            "backoff_cap": backoff_cap,
            "backoff_floor": backoff_floor,
            "chunk": chunk,
            "concurrency": concurrency,
        }
        self._url = url if isinstance(url, str) else ",".join(url)
        self._settings = {"profile": profile, "key": key, "expect_digest": expect_digest, **limits}
        self._native = _guerdon.Client(self._url, profile, key, limits, expect_digest)

    def __repr__(self) -> str:
        # Without user, password, query and key: any of them may be a secret.
        shown = ",".join(_shown(url) for url in _COMMA.split(self._url))
        given = [f"{name}={self._settings[name]!r}" for name in ("profile", "timeout", "retries")]
        return f"{type(self).__name__}({', '.join([repr(shown), *given])})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._url, self._settings)


_COMMA = re.compile(r"\s*,\s*(?=https?://)", re.IGNORECASE)
"""The comma between two URLs."""


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _rebuild(kind: type[_BaseClient], url: str, settings: dict[str, Any]) -> _BaseClient:
    return kind(url, **settings)


class Client(_BaseClient):
    """A blocking client of a reward server.

    While a call blocks, other Python threads run, and Ctrl-C interrupts the call.
    """

    def score(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: Estimator | Mapping[str, Any] | None = None,
        deadline_ms: int | None = None,
    ) -> Scored:
        """Scores a batch of any size and returns results in its order.

        The split into requests does not change any number.

        - `rollouts`: dictionaries in the wire format, see `guerdon.wire.Rollout`; NumPy numbers are
          accepted
        - `profile`: a named set of reward model, judge prompts, rule packs and fusion
        - `sources`: a subset of its sources
        - `fusion`: changes to its fusion, for this call only
        - `advantages`: add advantages: the name of an estimator, or a dictionary with `estimator` and its
          numbers, such as `{"estimator": "gdpo", "weights": {"rules": 2}}`
        - `deadline_ms`: milliseconds after which sources that are not ready abstain

        Raises `RequestError` for an invalid request, before anything is sent, and `ProblemError`,
        `TransportError`, `DeadlineError` or another `GuerdonError` otherwise. A rollout that cannot be
        scored raises no error: its reward is `None`.
        """
        body = body_of(rollouts, profile, sources, fusion, advantages, deadline_ms)
        return self.score_request(body)

    def score_request(self, request: str) -> Scored:
        """Scores a whole request, given as JSON text; see `score`."""
        return Scored(**json.loads(self._native.ask("score", request)))

    def stream(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: Estimator | Mapping[str, Any] | None = None,
        deadline_ms: int | None = None,
    ) -> ScoreStream:
        """Scores a batch in one request and yields each result as soon as it is final.

        The arguments are those of `score`. A stream is not split into requests, so the server's limit of
        rollouts applies. With `advantages`, a result is final when its group is complete.

        Raises the errors of `score` until the reply begins; later errors are raised while it is read.
        """
        body = body_of(rollouts, profile, sources, fusion, advantages, deadline_ms)
        return ScoreStream(self._native, self._native.stream(body))

    def post(self, path: str, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        """Posts `body` as JSON to another route of the server, such as `get_reward` of a trainer's protocol, with the
        retries of `score`. The client's profile is not added.

        Raises the errors of `score`.
        """
        text = _to_json({"path": path, "query": list(query.items()), "body": _to_json(body)})
        reply: dict[str, Any] = json.loads(self._native.ask("post", text))
        return reply

    def info(self) -> dict[str, Any]:
        """Fetches the server's profiles, versions and limits."""
        info: dict[str, Any] = json.loads(self._native.ask("info", ""))
        return info

    def ready(self) -> bool:
        """Reports whether the server is ready to score; sends one request, without retries."""
        return self._native.ask("ready", "") == "true"


class AsyncClient(_BaseClient):
    """An async client of a reward server, for any asyncio event loop.

    Cancelling a call closes its connection.
    """

    async def score(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: Estimator | Mapping[str, Any] | None = None,
        deadline_ms: int | None = None,
    ) -> Scored:
        """The async form of `Client.score`."""
        body = body_of(rollouts, profile, sources, fusion, advantages, deadline_ms)
        return await self.score_request(body)

    async def score_request(self, request: str) -> Scored:
        """The async form of `Client.score_request`."""
        return Scored(**json.loads(await self._ask("score", request)))

    async def stream(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: Estimator | Mapping[str, Any] | None = None,
        deadline_ms: int | None = None,
    ) -> AsyncScoreStream:
        """The async form of `Client.stream`: `async for result in await client.stream(rollouts)`."""
        body = body_of(rollouts, profile, sources, fusion, advantages, deadline_ms)
        native = await awaited(partial(self._native.start_stream, body))
        return AsyncScoreStream(self._native, cast("_guerdon.Stream", native))

    async def info(self) -> dict[str, Any]:
        """The async form of `Client.info`."""
        info: dict[str, Any] = json.loads(await self._ask("info", ""))
        return info

    async def ready(self) -> bool:
        """The async form of `Client.ready`."""
        return await self._ask("ready", "") == "true"

    async def _ask(self, what: _What, body: str) -> str:
        return cast("str", await awaited(partial(self._native.start, what, body)))


def body_of(
    rollouts: Sequence[Rollout | Mapping[str, Any]],
    profile: str | None,
    sources: Sequence[str] | None,
    fusion: Mapping[str, Any] | None,
    advantages: Estimator | Mapping[str, Any] | None,
    deadline_ms: int | None,
) -> str:
    """Returns the JSON text of a request. Raises `RequestError` with the place of a value that JSON does not have."""
    if isinstance(rollouts, (str, bytes, Mapping)):
        hint = "give a list of rollouts, also for one: [{'messages': [...]}]"
        message = f"the request was not sent: the rollouts are a {type(rollouts).__name__} (at `/rollouts`); {hint}"
        raise RequestError(message, {"code": "invalid_request", "pointer": "/rollouts", "hint": hint})
    fields = {
        "rollouts": list(rollouts),
        "profile": profile,
        "sources": None if sources is None else list(sources),
        "fusion": fusion,
        "advantages": {"estimator": advantages} if isinstance(advantages, str) else advantages,
        "deadline_ms": deadline_ms,
    }
    try:
        return _to_json({name: value for name, value in fields.items() if value is not None})
    except (TypeError, ValueError, RecursionError) as error:
        raise _request_error(fields["rollouts"], error) from error


def _to_json(value: Any) -> str:
    # JSON has no NaN, and writing it as `null` would change its meaning.
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain)
    # Raises a ValueError for half of a surrogate pair, which has no UTF-8 form.
    text.encode()
    return text


def _plain(value: Any) -> Any:
    """Converts NumPy numbers and arrays, and mappings, to types that JSON has."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}, which JSON cannot represent")


def _request_error(rollouts: Any, error: Exception) -> RequestError:
    """The error, with the first rollout that causes it."""
    for index, rollout in enumerate(rollouts):
        try:
            _to_json(rollout)
        except (TypeError, ValueError, RecursionError) as found:
            where = f"/rollouts/{index}"
            hint = "use strings, finite numbers, booleans, None, lists and dictionaries"
            message = f"the request was not sent: {found} (at `{where}`); {hint}"
            return RequestError(message, {"code": "invalid_request", "pointer": where, "hint": hint})
    return RequestError(f"the request was not sent: {error}", {"code": "invalid_request"})
