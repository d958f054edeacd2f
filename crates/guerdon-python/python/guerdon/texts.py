"""Scores dialogues that a trainer has only as text with the markers of a chat template.

They are sent to the server's route for such texts, which parses the markers. The package has no parser of
its own, so that the two cannot differ.
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
    """Reports whether a text contains markers of a chat template."""
    return any(mark in text for mark in _MARKS)


def get_reward(body: dict[str, Any], settings: Settings, trainer: str) -> dict[str, Any]:
    """Returns `rewards`, `scores` and `extra_logs`, lists with one number per text.

    `body` has the texts, `query` and `prompts`, and `labels`.

    Raises `ProblemError` with the server's message, `TransportError` if the server cannot be reached, and
    `ConfigError` if `on_failure` is `none`, which the trainer cannot handle.
    """
    if settings.on_failure == "none":
        raise ConfigError(f"{trainer} cannot represent a missing reward: set `on_failure` to 'error' or a number")
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
            parsed: dict[str, Any] = json.load(reply)
            return parsed
    except urllib.error.HTTPError as error:
        raise _refused(url, tries, error) from None
    except OSError as error:
        message = f"{url} could not be reached ({tries} tries): {error}; check that the server is running"
        raise TransportError(message, {"url": url, "tries": tries}) from error


def _refused(url: str, tries: int, error: urllib.error.HTTPError) -> ProblemError:
    try:
        problem = json.load(error)
        detail, hint = problem["detail"], problem.get("hint")
    except (ValueError, KeyError, TypeError):
        problem, detail, hint = {}, error.reason, "check the URL: the reply is not an error of guerdon"
    fields = {name: problem.get(name) for name in ("code", "pointer", "request_id")}
    fields |= {"url": url, "tries": tries, "status": error.code, "hint": hint}
    return ProblemError(f"{url} answered {error.code}: {detail}" + (f"; {hint}" if hint else ""), fields)
