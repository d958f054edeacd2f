"""OpenRLHF: a `reward_func` for those who want one instead of a URL.

    --reward.remote_url "$(python -c 'import guerdon.openrlhf as hook; print(hook.__file__)')"

It posts to the server's own OpenRLHF route, which reads the chat template's marks back to turns; a second
reader of them here would drift from it. Its settings come from the environment: see `guerdon.hook`.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from guerdon.errors import ConfigError, ProblemError, TransportError
from guerdon.hook import Settings

_TRIES = 5


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any
) -> dict[str, Any]:
    """`rewards`, `scores` (their sigmoids, in [0, 1]) and `extra_logs` (every part): lists of one number a
    query, as OpenRLHF has them from a URL.

    Raises `ProblemError` with the server's words, `TransportError` if it cannot be reached.
    """
    return _post({"query": list(queries), "prompts": list(prompts), "labels": list(labels)}, Settings())


def _post(body: dict[str, Any], settings: Settings) -> dict[str, Any]:
    if settings.on_failure == "none":
        raise ConfigError(
            "OpenRLHF has no word for unscored: set GUERDON_ON_FAILURE to `error` or to a number"
        )
    chosen: dict[str, Any] = {"profile": settings.profile, "deadline_ms": settings.deadline_ms}
    if settings.on_failure != "error":
        chosen["on_failure"] = f"value:{settings.on_failure}"
    query = urllib.parse.urlencode({name: value for name, value in chosen.items() if value is not None})
    headers = {"content-type": "application/json"}
    if settings.key:
        headers["authorization"] = f"Bearer {settings.key}"
    url = f"{settings.url.rstrip('/')}/get_reward?{query}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    for tried in range(1, _TRIES):
        try:
            return _once(request, settings.timeout, tried)
        except ProblemError as error:
            if error.status not in (429, 500, 502, 503, 504):
                raise
        except TransportError:
            pass
        time.sleep(0.2 * 2**tried)
    return _once(request, settings.timeout, _TRIES)


def _once(request: urllib.request.Request, timeout: float, tries: int) -> dict[str, Any]:
    url = request.full_url.partition("?")[0]
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            told: dict[str, Any] = json.load(reply)
            return told
    except urllib.error.HTTPError as error:
        raise _refused(url, tries, error) from None
    except OSError as error:
        message = f"{url} could not be reached ({tries} tries): {error}; is the server up?"
        raise TransportError(message, {"url": url, "tries": tries}) from error


def _refused(url: str, tries: int, error: urllib.error.HTTPError) -> ProblemError:
    try:
        problem = json.load(error)
        detail, hint = problem["detail"], problem.get("hint")
    except (ValueError, KeyError, TypeError):
        problem, detail, hint = {}, error.reason, "check the URL: this is no problem body of guerdon's"
    fields = {name: problem.get(name) for name in ("code", "pointer", "request_id")}
    fields |= {"url": url, "tries": tries, "status": error.code, "hint": hint}
    return ProblemError(f"{url} answered {error.code}: {detail}" + (f"; {hint}" if hint else ""), fields)
