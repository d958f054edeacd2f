"""What can go wrong: every message says what, where, and what to change.

A rollout that could not be scored is none of these: its result has `error`, and its reward is `None`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GuerdonError(Exception):
    """Whatever a client raises. Fields that an error does not have are `None`."""

    url: str | None = None
    """What was asked, without user, password and query."""
    tries: int | None = None
    """How often it was asked."""
    status: int | None = None
    """The HTTP status."""
    code: str | None = None
    """The problem's name, such as `unknown_profile`."""
    pointer: str | None = None
    """An RFC 6901 JSON pointer to the place in the request, such as `/rollouts/3/messages`."""
    hint: str | None = None
    """What to change."""
    request_id: str | None = None
    """The server's name for the request; also in its log."""

    def __init__(self, message: str, fields: Mapping[str, Any] | None = None) -> None:
        # `args` is the message alone, so that a pickled error, as worker processes send it, is the same
        # error.
        super().__init__(message)
        self.__dict__.update({name: value for name, value in (fields or {}).items() if value is not None})


class ConfigError(GuerdonError, ValueError):
    """The client was set up with a value that cannot work."""


class RequestError(GuerdonError, ValueError):
    """The request breaks a law of the wire; nothing was sent. `pointer` says where."""


class ProblemError(GuerdonError):
    """The server refused, and says why: `status`, `code`, `pointer`, `hint`."""


class StatusError(GuerdonError):
    """Something answered that does not speak guerdon: a proxy, or another server."""


class TransportError(GuerdonError, ConnectionError):
    """There was no answer, or not all of it."""


class DecodeError(GuerdonError):
    """The answer is not what was asked for; client and server may be of different versions."""


class CutError(GuerdonError):
    """The answer ended before it was complete."""


class DeadlineError(GuerdonError, TimeoutError):
    """The call took longer than the client's timeout."""


class UnscoredError(GuerdonError):
    """A hook's trainer has no word for "unscored", and a rollout could not be scored; see `on_failure`."""


class OptimError(ValueError):
    """The optimizer refuses an input: a wrong shape, a setting out of range, a NaN in a valid slot."""
