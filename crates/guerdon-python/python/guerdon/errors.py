"""The exceptions of the package. Each message has the cause, the place and the remedy.

A rollout that cannot be scored raises none of them: its result has `error`, and its reward is `None`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GuerdonError(Exception):
    """The base of all errors of a client. Fields that an error does not have are `None`."""

    url: str | None = None
    """The URL of the request, without user, password and query."""
    tries: int | None = None
    """The number of attempts."""
    status: int | None = None
    """The HTTP status."""
    code: str | None = None
    """The problem code, such as `unknown_profile`."""
    pointer: str | None = None
    """An RFC 6901 JSON pointer into the request, such as `/rollouts/3/messages`."""
    hint: str | None = None
    """The remedy."""
    request_id: str | None = None
    """The server's id of the request, which is also in its log."""
    field: str | None = None
    """The setting of a `ConfigError`, or the part of the version that a `VersionError` found different."""

    def __init__(self, message: str, fields: Mapping[str, Any] | None = None) -> None:
        # `args` is the message alone, so that a pickled error from a worker process is equal to the
        # original.
        super().__init__(message)
        self.__dict__.update({name: value for name, value in (fields or {}).items() if value is not None})


class ConfigError(GuerdonError, ValueError):
    """Raised for an invalid setting of a client."""


class RequestError(GuerdonError, ValueError):
    """Raised for an invalid request, before it is sent. `pointer` is the place of the error."""


class ProblemError(GuerdonError):
    """Raised when the server refuses a request; see `status`, `code`, `pointer` and `hint`."""


class StatusError(GuerdonError):
    """Raised for an HTTP error that is not from guerdon, but from a proxy or another server."""


class TransportError(GuerdonError, ConnectionError):
    """Raised when the server cannot be reached or the connection breaks."""


class DecodeError(GuerdonError):
    """Raised for a reply in an unknown format; client and server may have different versions."""


class VersionError(GuerdonError):
    """Raised when client and server have incompatible versions; `field` is the part that must be equal."""

    server_version: str | None = None
    """The server's version."""
    client_version: str | None = None
    """The version of this package."""


class CutError(GuerdonError):
    """Raised when a stream ends before it is complete and cannot go on: no retry is left, or another
    configuration serves. The results before are valid."""


class DeadlineError(GuerdonError, TimeoutError):
    """Raised when a call exceeds the client's timeout."""


class UnscoredError(GuerdonError):
    """Raised by a hook for a rollout without a reward if the trainer cannot represent that; see
    `on_failure`."""


class OptimError(ValueError):
    """Raised for an input of the optimizer: a wrong shape, a setting out of range, a NaN in a valid slot."""
