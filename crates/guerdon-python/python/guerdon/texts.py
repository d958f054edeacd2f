"""Scores dialogues that a trainer has only as text with the markers of a chat template.

They are sent to the server's route for such texts, which parses the markers. The package has no parser of
its own, so that the two cannot differ.
"""

from __future__ import annotations

from typing import Any

from guerdon.errors import ConfigError
from guerdon.hook import Settings

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
    query = {name: str(value) for name, value in chosen.items() if value is not None}
    return settings.client().post("get_reward", query, body)
