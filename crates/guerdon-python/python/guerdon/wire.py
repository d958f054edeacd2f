"""The types of requests and replies in the wire format (`openapi/guerdon.v1.json`)."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict

GroupEstimator: TypeAlias = Literal["grpo", "dr_grpo", "rloo", "batch_std", "pass_at_k", "gpg"]
"""The comparison of a reward `s` with its group of `k` scored siblings, itself included.

- `grpo`: `(s - mean) / (std + eps)` (arXiv 2402.03300)
- `dr_grpo`: `s - mean` (arXiv 2503.20783)
- `rloo`: `s - mean of the others` (arXiv 2402.14740)
- `batch_std`: `(s - mean) / (std of the batch + eps)` (arXiv 2508.08221)
- `pass_at_k`: `(best - second best) / (std + eps)` for the best, 0 for its siblings (arXiv
  2503.19595)
- `gpg`: `alpha (s - mean)` with `alpha` the number of scored rollouts divided by the number of rewards
  that are not 0 (arXiv 2504.02546)
"""

Estimator: TypeAlias = Literal[
    "grpo",
    "dr_grpo",
    "rloo",
    "batch_std",
    "pass_at_k",
    "gpg",
    "gdpo",
    "opo",
    "remax",
    "reinforce_plus_plus",
    "reinforce_plus_plus_baseline",
]
"""The estimators of the advantages in a reply: those of `GroupEstimator`, and

- `gdpo`: each source compared with its group, weighted, added, and standardised over the batch (arXiv
  2601.05242)
- `opo`: `s` less the mean of its group, weighted by length; needs `lengths` (arXiv 2505.23585)
- `remax`: `s` less the reward of the greedy answer; needs `baselines` (arXiv 2310.10505)
- `reinforce_plus_plus`: `s` standardised over the batch (arXiv 2501.03262)
- `reinforce_plus_plus_baseline`: `s - mean`, standardised over the batch
"""

# Required keys are in a base class; those of the class itself may be missing.


class _Message(TypedDict):
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class Message(_Message, total=False):
    """One message of a dialogue."""

    name: str
    """The author's name among those of the same role; not scored."""
    tool_calls: list[dict[str, Any]]
    """The tools that the message calls, in the form of OpenAI's API."""
    tool_call_id: str
    """The call that the message is the result of."""
    reasoning_content: str
    """The policy's thoughts; not scored."""


class _Rollout(TypedDict):
    messages: list[Message]


class Rollout(_Rollout, total=False):
    """One dialogue to score."""

    id: str
    """Returned in the result; by default the rollout's index."""
    group: str
    """The group of the rollout: the samples of one prompt have the same."""
    tools: list[dict[str, Any]]
    """The tools that the policy may call."""
    profile: str
    """The profile that scores this rollout; by default the request's. Rollouts are compared within a group
    of one profile."""
    score: Literal["last", "all"] | list[int]
    """The assistant turns to score; by default the last."""
    context: dict[str, Any]
    """Facts for rules and judge: a map from names to scalars, lists or objects."""


class MessagesRead(TypedDict):
    """Consecutive messages of a rollout that a model read."""

    first: int
    last: int
    tokens: int
    """The tokens of the messages' contents that were read."""
    cut: bool
    """Whether a part of the message was left out."""


class _RmPart(TypedDict):
    score: float
    """The calibrated score, which enters the fusion."""
    raw: float
    tokens: int
    truncated: bool


class RmPart(_RmPart, total=False):
    """The reward model's part of a turn's reward."""

    objectives: dict[str, float]
    """The objectives of a model with several, by name."""
    steps: list[float]
    """The scores of the turn's steps in order, of a process reward model; at most 256."""
    read: list[MessagesRead]
    """The messages that the model read, if it did not read all of them whole."""


class JudgePart(TypedDict):
    """The judge's part of a turn's reward."""

    points: float
    criteria: list[dict[str, Any]]
    cached: bool
    model: str


class _RulesPart(TypedDict):
    points: float
    hits: list[dict[str, Any]]


class RulesPart(_RulesPart, total=False):
    """The rule packs' part of a turn's reward."""

    shadow: list[dict[str, Any]]
    abstained: list[dict[str, Any]]
    suppressed: list[dict[str, Any]]


class Evidence(TypedDict, total=False):
    """A place in a turn, or a quote from it, that explains a source's number."""

    name: str
    """The rule (`pack/rule`) or criterion (`prompt/criterion`) that found it."""
    spans: list[list[int]]
    quote: str


class _SourcePart(TypedDict):
    kind: str
    value: float


class SourcePart(_SourcePart, total=False):
    """The part of one source, in the same form for every kind. The number that entered the fusion is `weight`
    (1 if it is left out) times `normalised`, or times `value` if that is left out."""

    role: str
    """`base`, `points`, `gate`, `audit` or `member`, if it is not the kind's own."""
    normalised: float
    weight: float
    components: dict[str, float]
    evidence: list[Evidence]
    uncertainty: float
    veto: bool
    detail: Any
    version: str


class _Abstained(TypedDict):
    source: str
    why: str
    detail: str


class Abstained(_Abstained, total=False):
    """A source that abstained, with a reason from a closed set and an explanation."""

    reason: str
    """A narrower reason than `why`: `unreadable` if the source can never read this dialogue."""


class _Turn(TypedDict):
    index: int
    reward: float | None
    enhancement: float | None
    abstained: list[Abstained]


class Turn(_Turn, total=False):
    """One scored turn. A source that abstained in whole has no part."""

    rm: RmPart
    judge: JudgePart
    rules: RulesPart
    other: dict[str, dict[str, Any]]
    parts: dict[str, SourcePart]
    """The part of every source by name, of a profile with `sources` of its own."""
    verdict: str
    """`right` or `wrong` with the fusion `hero`, `screened` with `screen`."""
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
    """One rollout's result. If the rollout cannot be scored, its reward is `None`, never 0, and `error` has
    the reason."""

    advantage: float
    error: Problem


class StreamedResult(Result):
    """A result of a stream."""

    index: int
    """The rollout's index in the request."""


class Usage(TypedDict):
    """The cost of a request."""

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
    """The versions behind a reward: hashes of model, prompts and packs, and the fusion in force."""

    rm: str
    calibration: dict[str, Any]
    judge: dict[str, str]
    rules: dict[str, str]
    other: dict[str, str]
    digest: str
    """A hash of everything in the profile that shapes a reward."""
    settings: dict[str, Any]
    """Further settings, of which `sources` has kind, role, weight and version of each source by name."""


class MissingSource(TypedDict):
    """A source that abstained on a rollout, wholly or in part, and not on all rollouts of the group."""

    source: str
    rollout: str
    """The id of the rollout."""


class IncomparableGroup(TypedDict):
    """A group whose rollouts were not scored by the same sources."""

    id: str
    comparable: Literal[False]
    missing: list[MissingSource]


class _Summary(TypedDict):

    request_id: str
    """The server's id of the request, which is also in its log."""
    results: int
    versions: Versions
    usage: Usage


class Summary(_Summary, total=False):
    """The last line of a stream."""

    groups: list[IncomparableGroup]
    """The groups that are not comparable, if there are any."""
    profiles: dict[str, Versions]
    """The versions of the further profiles that rollouts name."""
