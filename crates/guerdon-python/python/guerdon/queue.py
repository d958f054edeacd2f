"""Requests on disk, for a server that is down: several processes may add requests and share the scoring.

>>> queue = guerdon.Queue("runs/waiting")  # doctest: +SKIP
>>> queue.put(rollouts, profile="hotel")  # doctest: +SKIP
>>> for claim in queue.claims():  # doctest: +SKIP
...     with claim:
...         store(claim.score(client))
...         claim.done()
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guerdon import _guerdon
from guerdon.client import AsyncClient, Client, body_of
from guerdon.scored import Scored
from guerdon.wire import Estimator, Rollout


class Queue:
    """A folder of requests.

    A request is on disk before `put` returns, and stays until `done`, so a crash on either side loses nothing. A
    request that is scored twice gets the same rewards.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Opens the queue in a folder, which is created if it is missing.

        Raises `GuerdonError` if the folder cannot be created or read.
        """
        self.folder = os.fspath(folder)
        self._native = _guerdon.Queue(self.folder)

    def __repr__(self) -> str:
        return f"Queue({self.folder!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder,)

    def put(
        self,
        rollouts: Sequence[Rollout | Mapping[str, Any]],
        *,
        profile: str | None = None,
        sources: Sequence[str] | None = None,
        fusion: Mapping[str, Any] | None = None,
        advantages: Estimator | Mapping[str, Any] | None = None,
        deadline_ms: int | None = None,
    ) -> str:
        """Adds a request at the end, with the arguments of `Client.score`, and returns its ticket.

        Raises `RequestError` for an invalid request, and `GuerdonError` if it cannot be written.
        """
        return self._native.put(body_of(rollouts, profile, sources, fusion, advantages, deadline_ms))

    def waiting(self) -> list[str]:
        """Returns the tickets of the waiting requests, oldest first; claimed ones, too."""
        return self._native.waiting()

    def request(self, ticket: str) -> dict[str, Any]:
        """Returns the request of a ticket."""
        request: dict[str, Any] = json.loads(self._native.request(ticket))
        return request

    def claim(self, ticket: str) -> Claim | None:
        """Claims a waiting request; `None` if another scorer has claimed it, or it is no longer waiting.

        A claim ends when the process that has it ends, also if it is killed.
        """
        native = self._native.claim(ticket)
        return None if native is None else Claim(self, ticket, native)

    def claims(self) -> Iterator[Claim]:
        """Claims the requests that wait now, oldest first and one at a time; skips those of other scorers.

        The claim before is released when the next one is taken.
        """
        for ticket in self.waiting():
            claim = self.claim(ticket)
            if claim is not None:
                with claim:
                    yield claim

    def done(self, ticket: str) -> None:
        """Removes a request whose rewards are stored. Does nothing if it is already gone."""
        self._native.done(ticket)

    def set_aside(self, ticket: str) -> str:
        """Takes a request that cannot be scored out of the queue and returns the path of its file."""
        return self._native.set_aside(ticket)


class Claim:
    """A request that only this scorer scores, until the claim is released."""

    def __init__(self, queue: Queue, ticket: str, native: _guerdon.QueueClaim) -> None:
        """Made by `Queue.claim`."""
        self.queue, self.ticket, self._native = queue, ticket, native

    def __repr__(self) -> str:
        return f"<Claim of {self.ticket} in {self.queue.folder!r}>"

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def request(self) -> dict[str, Any]:
        """Returns the request."""
        return self.queue.request(self.ticket)

    def score(self, client: Client) -> Scored:
        """Scores the request. It stays in the queue; call `done` once the rewards are stored.

        Raises the errors of `Client.score`.
        """
        return client.score_request(self.queue._native.request(self.ticket))

    async def score_async(self, client: AsyncClient) -> Scored:
        """The async form of `score`."""
        return await client.score_request(self.queue._native.request(self.ticket))

    def done(self) -> None:
        """Removes the request from the queue, and releases the claim."""
        self.queue.done(self.ticket)
        self.release()

    def set_aside(self) -> str:
        """Takes a request that cannot be scored out of the queue, releases the claim, and returns the file's path."""
        path = self.queue.set_aside(self.ticket)
        self.release()
        return path

    def release(self) -> None:
        """Gives the request back to the queue, if it is not done."""
        self._native.release()
