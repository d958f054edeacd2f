"""Dialogues that a trainer has only as text, the chat template's marks in it.

They go to the server's route for such texts, which reads the marks back to turns; a second reader of them here would
drift from it.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from guerdon.errors import ConfigError, ProblemError, TransportError
from guerdon.hook import Settings

_TRIES = 5

_MARKS = ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]")


def marked(text: str) -> bool:
    """Whether a text has a template's marks in it."""
    return any(mark in text for mark in _MARKS)


def get_reward(body: dict[str, Any], settings: Settings, trainer: str) -> dict[str, Any]:
    """`rewards`, `scores` and `extra_logs`, lists of a number a text. `body` has the texts: `query` and `prompts`,
    with `labels`.

    Raises `ProblemError` with the server's words, `TransportError` if it cannot be reached, and `ConfigError` if
    `on_failure` is `none`, since the route is that of a trainer that dies of it.
    """
    if settings.on_failure == "none":
        raise ConfigError(f"{trainer} has no word for unscored: set `on_failure` to 'error' or a number")
    chosen: dict[str, Any] = {"profile": settings.profile, "deadline_ms": settings.deadline_ms}
    if settings.on_failure != "error":
        chosen["on_failure"] = f"value:{settings.on_failure}"
    if settings.thoughts == "keep":
        chosen["thoughts"] = "keep"
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
