"""What the hooks of all trainers share: settings, from a trainer's data to rollouts, and from results to what
it logs.

A setting that a hook is not given comes from the environment, since some trainers can pass nothing:
`GUERDON_URL`, `GUERDON_PROFILE`, `GUERDON_KEY`, `GUERDON_ON_FAILURE`.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np

from guerdon.client import AsyncClient, Client
from guerdon.errors import ConfigError, UnscoredError
from guerdon.scored import PARTS, abstained, mean_part
from guerdon.wire import Message, Result, Rollout

OnFailure: TypeAlias = Literal["error", "none"] | float
"""What a rollout that could not be scored gets: an exception, `None`, or a number that you chose."""


def _environment(name: str, otherwise: str | None = None) -> Any:
    return field(default_factory=lambda: os.environ.get(f"GUERDON_{name}", otherwise))


@dataclass(frozen=True)
class Settings:
    """How a hook asks."""

    url: str = _environment("URL", "http://127.0.0.1:8787")
    profile: str | None = _environment("PROFILE")
    key: str | None = _environment("KEY")
    score: Literal["last", "all"] = "last"
    """Which of the policy's turns count; the profile's `aggregate` makes one reward of several."""
    timeout: float = 300.0
    """Seconds that a call may take in all."""
    deadline_ms: int | None = None
    """What is not ready by then abstains."""
    thoughts: Literal["drop", "keep"] = "drop"
    """A `<think>` block that opens a reply: the partner never sees it, so by default it is not scored."""
    on_failure: OnFailure | str = _environment("ON_FAILURE", "error")
    """`error`, `none`, or a number."""

    def __post_init__(self) -> None:
        if self.on_failure in ("error", "none"):
            return
        try:
            number = float(self.on_failure)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"`on_failure` is {self.on_failure!r}; give 'error', 'none' or a finite number")
        object.__setattr__(self, "on_failure", number)

    def client(self) -> Client:
        """The client of these settings; one for all hooks of a process that have the same."""
        return _client(self.url, self.profile, self.key, self.timeout)

    def async_client(self) -> AsyncClient:
        """The same, to be awaited."""
        return _async_client(self.url, self.profile, self.key, self.timeout)

    def rollout(self, prompt: Any, completion: Any, facts: Mapping[str, Any] | None = None) -> Rollout:
        """A prompt and the policy's reply to it, each a text or messages, as a rollout."""
        asked = messages(prompt, "user")
        said = messages(completion, "assistant")
        for turn in said:
            if self.thoughts == "drop" and turn["role"] == "assistant":
                turn["content"] = without_thoughts(turn["content"])
        # "all" is all that the policy said just now: what stood in the prompt was scored when it was said, or
        # never ours.
        places: list[int] = [
            len(asked) + place for place, turn in enumerate(said) if turn["role"] == "assistant"
        ]
        turns: Literal["last"] | list[int] = places if self.score == "all" and places else "last"
        return {"messages": asked + said, "score": turns, "context": dict(facts or {})}

    def settled(self, results: Sequence[Result]) -> list[float | None]:
        """The rewards, and for what could not be scored what `on_failure` says.

        Raises `UnscoredError` that names the first rollout without a reward, if that is what it says.
        """
        return [self._settled(index, len(results), result) for index, result in enumerate(results)]

    def numbers_only(self, results: Sequence[Result], trainer: str) -> list[float]:
        """The same for a trainer that has no word for unscored.

        Raises `ConfigError` if `on_failure` is `none`, at the first rollout without a reward.
        """
        rewards = [reward for reward in self.settled(results) if reward is not None]
        if len(rewards) < len(results):
            raise ConfigError(f"{trainer} has no word for unscored: set `on_failure` to 'error' or a number")
        return rewards

    def _settled(self, index: int, count: int, result: Result) -> float | None:
        reward = result["reward"]
        if reward is not None or self.on_failure == "none":
            return reward
        if self.on_failure != "error":
            return float(self.on_failure)
        problem = result.get("error")
        why = problem["detail"] if problem else "no reward could be made"
        hint = "to have a number of yours in its place, set `on_failure` (or GUERDON_ON_FAILURE)"
        raise UnscoredError(f"item {index} of {count} could not be scored: {why}; {hint}", {"hint": hint})


@lru_cache(maxsize=8)
def _client(url: str, profile: str | None, key: str | None, timeout: float) -> Client:
    return Client(url, profile=profile, key=key, timeout=timeout)


@lru_cache(maxsize=8)
def _async_client(url: str, profile: str | None, key: str | None, timeout: float) -> AsyncClient:
    return AsyncClient(url, profile=profile, key=key, timeout=timeout)


_ROLES: dict[str, Literal["system", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
}


def messages(turns: Any, speaker: Literal["user", "assistant"]) -> list[Message]:
    """Messages as the wire has them, of a text (one turn of `speaker`) or of messages as OpenAI's APIs spell
    them.

    Read leniently, like the server's own adapters: anyone unknown is the partner, of a list of parts the text
    is taken.
    """
    if isinstance(turns, str):
        return [{"role": speaker, "content": turns}] if turns or speaker == "assistant" else []
    return [
        {"role": _ROLES.get(turn.get("role", ""), "user"), "content": _text(turn.get("content"))}
        for turn in turns
    ]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Iterable) and not isinstance(content, Mapping):
        return "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return ""


def without_thoughts(reply: str) -> str:
    """A reply without the `<think>` block that opens it. A block that never ends was cut off: nothing was
    said."""
    opened = reply.lstrip()
    if not opened.startswith("<think>"):
        return reply
    _, _, said = opened.removeprefix("<think>").partition("</think>")
    return said.lstrip("\n")


_END = re.compile(
    r"(?:<\|im_end\|>|<\|eot_id\|>|<\|endoftext\|>|<\|end_of_text\|>|<end_of_turn>|</s>|<eos>|<pad>|\s)+$"
)


def without_end(reply: str) -> str:
    """A reply without the marks that end it, for trainers that decode with special tokens kept."""
    return _END.sub("", reply)


def facts(label: Any, name: str = "label") -> dict[str, Any]:
    """Facts for rules and judge from a dataset's label: an object is the facts, and so is a text that spells
    one.

    Anything else is one fact called `name`. `None` inside an object was padded in by a table and is left out.
    """
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, str) and label.lstrip().startswith("{"):
        try:
            label = json.loads(label)
        except ValueError:
            return {name: label}
    if isinstance(label, Mapping):
        return {key: value for key, value in label.items() if value is not None}
    return {} if label is None else {name: label}


def row_facts(columns: Mapping[str, Any], names: Sequence[str], row: int) -> dict[str, Any]:
    """The facts of one row of a batch: its `context`, where there is such a column, and the columns of these
    names."""
    told = facts(columns["context"][row], "context") if "context" in columns else {}
    return told | {name: columns[name][row] for name in names if columns[name][row] is not None}


def numbers(result: Result) -> dict[str, float]:
    """A result as flat names and numbers, for the maps that trainers log; the same names every time.

    `rm`, `judge` and `rules`, each with `_abstained`, the share of turns on which it left something unsaid;
    and `failed`. What is missing is 0 with its flag beside it, since these maps hold numbers only; the reward
    itself never is.
    """
    turns = result["turns"]
    told: dict[str, float] = {"failed": float(result["reward"] is None)}
    for source in PARTS:
        value = mean_part(result, source)
        told[source] = 0.0 if math.isnan(value) else value
        silent = abstained(turns, source)
        told[f"{source}_abstained"] = sum(silent) / len(silent) if silent else 1.0
    return told
