"""The types of requests and replies, as the wire has them (`openapi/guerdon.v1.json`)."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

# Required keys stand in a base class: `NotRequired` is younger than Python 3.10.


class Message(TypedDict):
    """One message of a dialogue."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class _Rollout(TypedDict):
    messages: list[Message]


class Rollout(_Rollout, total=False):
    """One dialogue to score."""

    id: str
    """Echoed; by default the rollout's index."""
    group: str
    """The samples of one prompt share it."""
    score: Literal["last", "all"] | list[int]
    """Which assistant turns: by default the last."""
    context: dict[str, Any]
    """Facts for rules and judge: names to scalars, lists or objects."""


class RmPart(TypedDict):
    """The reward model's opinion of a turn."""

    score: float
    """Calibrated: what enters the fusion."""
    raw: float
    tokens: int
    truncated: bool


class JudgePart(TypedDict):
    """The judge's opinion of a turn."""

    points: float
    criteria: list[dict[str, Any]]
    cached: bool
    model: str


class _RulesPart(TypedDict):
    points: float
    hits: list[dict[str, Any]]


class RulesPart(_RulesPart, total=False):
    """The rule packs' opinion of a turn."""

    shadow: list[dict[str, Any]]
    abstained: list[dict[str, Any]]


class Abstained(TypedDict):
    """What a source could not say, and why: a reason from a closed set, and in a sentence."""

    source: str
    why: str
    detail: str


class _Turn(TypedDict):
    index: int
    reward: float | None
    enhancement: float | None
    abstained: list[Abstained]


class Turn(_Turn, total=False):
    """One scored turn. A source that abstained altogether has no part."""

    rm: RmPart
    judge: JudgePart
    rules: RulesPart
    other: dict[str, dict[str, Any]]
    beside: dict[str, Any]


class _Problem(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    code: str


class Problem(_Problem, total=False):
    """An RFC 9457 problem body."""

    instance: str
    hint: str
    pointer: str
    request_id: str


class _Result(TypedDict):
    id: str
    reward: float | None
    turns: list[Turn]


class Result(_Result, total=False):
    """One rollout's result; its reward is `None`, never 0, where it could not be made, and `error` says
    why."""

    advantage: float
    error: Problem


class StreamedResult(Result):
    """A result of a stream."""

    index: int
    """The rollout's place in the request."""


class Usage(TypedDict):
    """What it cost."""

    judge_calls: int
    judge_cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


class _Versions(TypedDict):
    profile: str
    fusion: dict[str, Any]
    generation: int


class Versions(_Versions, total=False):
    """What made a reward: hashes of model, prompts and packs, and the fusion in force."""

    rm: str
    calibration: dict[str, Any]
    judge: dict[str, str]
    rules: dict[str, str]
    other: dict[str, str]


class Summary(TypedDict):
    """What a stream ends with."""

    request_id: str
    """The server's name for the request; also in its log."""
    results: int
    versions: Versions
    usage: Usage
