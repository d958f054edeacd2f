"""Shared by the hooks for trainers: settings, conversion of a trainer's data to rollouts, and of results to
logged numbers.

Settings that are not passed to a hook are read from the environment, because some trainers cannot pass
any: `GUERDON_URL`, `GUERDON_PROFILE`, `GUERDON_PROFILE_FROM`, `GUERDON_KEY`, `GUERDON_ON_FAILURE`,
`GUERDON_EXPECT_DIGEST`, and the limits of a call, `GUERDON_TIMEOUT`, `GUERDON_RETRIES`, `GUERDON_BACKOFF`,
`GUERDON_BACKOFF_CAP` and `GUERDON_BACKOFF_FLOOR`.
"""

from __future__ import annotations

import difflib
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
from guerdon.scored import PARTS, mean_part, shares
from guerdon.wire import Message, Result, Rollout

OnFailure: TypeAlias = Literal["error", "none"] | float
"""The reward of a rollout that cannot be scored: an exception, `None`, or a chosen number."""


def _environment(name: str, otherwise: Any = None, *, secret: bool = False) -> Any:
    return field(default_factory=lambda: os.environ.get(f"GUERDON_{name}", otherwise), repr=not secret)


@dataclass(frozen=True)
class Settings:
    """The settings of a hook."""

    url: str | Sequence[str] = _environment("URL", "http://127.0.0.1:8787", secret=True)
    """The server; or several replicas, as a list or separated by commas: see `guerdon.Client`."""
    profile: str | None = _environment("PROFILE")
    profile_from: str | None = _environment("PROFILE_FROM")
    """The fact of a rollout that names its profile, such as a column of the data set. It is then no fact. A rollout
    without it gets `profile`."""
    key: str | None = _environment("KEY", secret=True)
    score: Literal["last", "all"] = "last"
    """The policy's turns to score; the profile's `aggregate` combines their rewards."""
    timeout: float = _environment("TIMEOUT", 300.0)
    """Seconds for a whole call, with all retries and waits. A call outlives a restart of the server that takes less
    time."""
    retries: int | None = _environment("RETRIES")
    """Retries of a request, at most; by default as many as fit in `timeout`: see `guerdon.Client`."""
    backoff: float = _environment("BACKOFF", 0.2)
    """Seconds: the wait before the first retry, at most. It doubles with each retry."""
    backoff_cap: float = _environment("BACKOFF_CAP", 5.0)
    """Seconds: the longest wait before a retry."""
    backoff_floor: float = _environment("BACKOFF_FLOOR", 0.05)
    """Seconds: the shortest wait before a retry."""
    deadline_ms: int | None = None
    """Milliseconds after which sources that are not ready abstain."""
    thoughts: Literal["drop", "keep"] = "drop"
    """Treatment of thoughts before a reply, such as a `<think>` block. The partner never sees them, so by default
    they are not scored."""
    on_failure: OnFailure | str = _environment("ON_FAILURE", "error")
    """`error`, `none`, or a number."""
    expect_digest: str | None = _environment("EXPECT_DIGEST")
    """The configuration that must serve; another one is an error."""

    @classmethod
    def given(cls, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Settings:
        """Makes settings from the arguments of a hook. A setting that does not exist is a `ConfigError`, with the name
        that was probably meant."""
        refuse_unknown(settings, cls.__dataclass_fields__)
        return cls(**{**(defaults or {}), **settings})

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):
            self._set("url", ",".join(self.url))
        for name in ("timeout", "backoff", "backoff_cap", "backoff_floor"):
            self._set(name, _number(name, getattr(self, name)))
        if self.retries is not None:
            self._set("retries", _count("retries", self.retries))
        _one_of("score", self.score, ("last", "all"))
        _one_of("thoughts", self.thoughts, ("drop", "keep"))
        if self.on_failure in ("error", "none"):
            return
        try:
            number = float(self.on_failure)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"`on_failure` is {self.on_failure!r}; give 'error', 'none' or a finite number")
        self._set("on_failure", number)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _limits(self) -> tuple[tuple[str, Any], ...]:
        names = ("profile", "key", "timeout", "retries", "backoff", "backoff_cap", "backoff_floor", "expect_digest")
        return tuple((name, getattr(self, name)) for name in names)

    def client(self) -> Client:
        """Returns the client for these settings, shared by all hooks of the process with equal settings."""
        return _client(str(self.url), self._limits())

    def async_client(self) -> AsyncClient:
        """Returns the async client for these settings."""
        return _async_client(str(self.url), self._limits())

    def rollout(self, prompt: Any, completion: Any, facts: Mapping[str, Any] | None = None) -> Rollout:
        """Builds a rollout from a prompt and the policy's reply, each a text or messages."""
        dialogue = messages(prompt, "user")
        reply = messages(completion, "assistant")
        for turn in reply:
            if self.thoughts == "drop" and turn["role"] == "assistant":
                turn["content"] = without_thoughts(turn["content"])
        # "all" means all turns of this completion. Assistant turns in the prompt were scored earlier, or were
        # not written by the policy.
        places: list[int] = [
            len(dialogue) + place for place, turn in enumerate(reply) if turn["role"] == "assistant"
        ]
        turns: Literal["last"] | list[int] = places if self.score == "all" and places else "last"
        rollout: Rollout = {"messages": dialogue + reply, "score": turns, "context": dict(facts or {})}
        if self.profile_from is not None:
            profile = rollout["context"].pop(self.profile_from, None)
            if profile is not None:
                rollout["profile"] = str(profile)
        return rollout

    def settled(self, results: Sequence[Result]) -> list[float | None]:
        """Returns the rewards, replaced according to `on_failure` for rollouts without one.

        With `on_failure="error"`, raises `UnscoredError` for the first rollout without a reward.
        """
        return [self._settled(index, len(results), result) for index, result in enumerate(results)]

    def numbers_only(self, results: Sequence[Result], trainer: str) -> list[float]:
        """Returns the rewards for a trainer that cannot represent a missing one.

        Raises the errors of `settled`, and `ConfigError` if `on_failure` is `none` and a rollout has no
        reward.
        """
        rewards = [reward for reward in self.settled(results) if reward is not None]
        if len(rewards) < len(results):
            raise ConfigError(f"{trainer} cannot represent a missing reward: set `on_failure` to 'error' or a number")
        return rewards

    def _settled(self, index: int, count: int, result: Result) -> float | None:
        reward = result["reward"]
        if reward is not None or self.on_failure == "none":
            return reward
        if self.on_failure != "error":
            return float(self.on_failure)
        problem = result.get("error")
        why = problem["detail"] if problem else "it has no reward"
        hint = "set `on_failure` (or GUERDON_ON_FAILURE) to a number to use that instead"
        raise UnscoredError(f"item {index} of {count} could not be scored: {why}; {hint}", {"hint": hint})


@lru_cache(maxsize=8)
def _client(url: str, limits: tuple[tuple[str, Any], ...]) -> Client:
    return Client(url, **dict(limits))


@lru_cache(maxsize=8)
def _async_client(url: str, limits: tuple[tuple[str, Any], ...]) -> AsyncClient:
    return AsyncClient(url, **dict(limits))


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises `ConfigError` for the first name that is not known, with the name that was probably meant."""
    names = sorted(known)
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
            hint = f"did you mean `{close[0]}`?" if close else f"the settings are {', '.join(names)}"
            raise ConfigError(f"there is no setting `{name}`; {hint}", {"field": str(name), "hint": hint})


def _one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        hint = f"give {' or '.join(map(repr, choices))}"
        raise ConfigError(f"`{name}` is {value!r}; {hint}", {"field": name, "hint": hint})


def _number(name: str, value: Any) -> float:
    """A number of seconds, which is a text if it comes from the environment."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        hint = "give seconds, such as 60"
        raise ConfigError(f"`{name}` is {value!r}; {hint}", {"field": name, "hint": hint})
    return number


def _count(name: str, value: Any) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = -1
    if count < 0 or count != float(value):
        hint = "give a whole number, such as 5"
        raise ConfigError(f"`{name}` is {value!r}; {hint}", {"field": name, "hint": hint})
    return count


_ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(
        ("assistant", "model", "gpt", "bot", "ai", "chatbot", "chatgpt", "bard", "bing"), "assistant"
    ),
    **dict.fromkeys(
        ("tool", "function", "ipython", "observation", "tool_response", "tool_result", "function_response"), "tool"
    ),
}

_KEPT = ("name", "tool_calls", "tool_call_id", "reasoning_content")
"""Fields of a message that the server reads beside role and content."""


def messages(turns: Any, speaker: Literal["user", "assistant"]) -> list[Message]:
    """Converts a text (one turn of `speaker`) or messages of OpenAI's APIs to the wire format.

    Lenient, like the server's own adapters: an unknown role counts as the partner, and of a list of parts
    the texts are used, joined by line breaks. An image, audio, video or file stands as `[image]` and so on.
    """
    if isinstance(turns, str):
        return [{"role": speaker, "content": turns}] if turns or speaker == "assistant" else []
    return [_message(turn) for turn in turns]


def _message(turn: Mapping[str, Any]) -> Message:
    role = _ROLES.get(str(turn.get("role", "")).lower(), "user")
    message: Message = {"role": role, "content": _text(turn.get("content"))}
    for name in _KEPT:
        value = turn.get(name)
        if value is not None and len(value) > 0:
            message[name] = value  # type: ignore[literal-required]
    return message


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Iterable) and not isinstance(content, Mapping):
        return "\n".join(text for part in content if (text := _part(part)) is not None)
    return ""


def _part(part: Mapping[str, Any]) -> str | None:
    """The text of a part, or the placeholder of a medium; `None` for another part."""
    if isinstance(part.get("text"), str):
        return part["text"]
    kind = str(part.get("type", ""))
    return next((f"[{medium}]" for medium in ("image", "audio", "video", "file") if medium in kind), None)


_BLOCKS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<thought>", "</thought>"),
)
"""The markers of blocks of thoughts."""

_CHANNEL = re.compile(
    r"(?:<\|start\|>)?(?:assistant)?(?P<head>[^<]*(?:<\|channel\|>[^<]*)?(?:<\|constrain\|>[^<]*)?)<\|message\|>"
    r"(?P<text>.*?)(?:<\|end\|>|<\|return\|>|<\|call\|>|$)",
    re.DOTALL,
)


def without_thoughts(reply: str) -> str:
    """Removes the thoughts before a reply, by the rule of the server's own adapters.

    A block such as `<think>` that opens the reply is removed; one without an end was cut off, which leaves an
    empty reply. If the first marker of a block is its end, the prompt opened the block, and everything up to it is
    removed. Of a reply in gpt-oss's channels, `final` is left, and `commentary` that calls no tool.
    """
    opened = reply.lstrip()
    if opened.startswith(("<|channel|>", "<|start|>assistant")):
        spoken = [
            found["text"]
            for found in _CHANNEL.finditer(opened)
            if "<|channel|>analysis" not in found["head"] and " to=" not in found["head"]
        ]
        return "\n".join(spoken)
    if opened.startswith("analysis") and "assistantfinal" in opened:
        return opened.partition("assistantfinal")[2]
    if not opened.startswith(tuple(start for start, _ in _BLOCKS)):
        for start, end in _BLOCKS:
            before, marker, after = reply.partition(end)
            if marker and start not in before:
                reply = after.lstrip("\r\n ")
                break
    while True:
        opened = reply.lstrip()
        for start, end in _BLOCKS:
            if opened.startswith(start):
                reply = opened.removeprefix(start).partition(end)[2].lstrip("\r\n ")
                break
        else:
            return reply


_END = re.compile(
    r"(?:<\|im_end\|>|<\|eot_id\|>|<\|endoftext\|>|<\|end_of_text\|>|<end_of_turn>|</s>|<eos>|<pad>|\s)+$"
)


def without_end(reply: str) -> str:
    """Removes end markers from a reply, for trainers that decode without skipping special tokens."""
    return _END.sub("", reply)


def facts(label: Any, name: str = "label") -> dict[str, Any]:
    """Converts a dataset's label to facts for rules and judge.

    An object, or a text with a JSON object, is the facts. Anything else is one fact called `name`. `None`
    inside an object is padding from a table and is left out.
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
    """Returns the facts of one row of a batch: the column `context`, if there is one, and the columns
    `names`."""
    context = facts(columns["context"][row], "context") if "context" in columns else {}
    return context | {name: columns[name][row] for name in names if columns[name][row] is not None}


def numbers(result: Result) -> dict[str, float]:
    """Converts a result to names and numbers for a trainer's log; always the same names.

    The names are `rm`, `judge` and `rules`, each with `_abstained`, the share of turns on which the source has no
    number, and `_partly`, the share of turns that it scored in part; and `failed`. These maps hold numbers only, so a
    missing number is 0 together with its flag; the reward itself is never replaced by 0.
    """
    figures: dict[str, float] = {"failed": float(result["reward"] is None)}
    for source in PARTS:
        value = mean_part(result, source)
        figures[source] = 0.0 if math.isnan(value) else value
        figures[f"{source}_abstained"], figures[f"{source}_partly"] = shares(result["turns"], source)
    return figures
