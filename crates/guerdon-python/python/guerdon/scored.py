"""The rewards of a batch, with the parts that they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from guerdon.feedback import Feedback, Unscored, make_feedback
from guerdon.wire import IncomparableGroup, Result, Turn, Usage, Versions

PARTS: Final = ("rm", "judge", "rules")
"""The built-in sources."""

Standing: TypeAlias = Literal["scored", "partly", "silent"]
"""The answer of a source on a turn."""


@dataclass(frozen=True, repr=False)
class Scored:
    """The result of `score`.

    A missing number is `None` in lists and NaN in arrays, which `guerdon.optim` treats as "not scored". A
    failure is never represented by 0.
    """

    results: list[Result]
    """One per rollout, in the order of the request."""
    versions: list[Versions]
    """The versions of models and configuration behind these rewards; usually one, two if the server was
    reloaded in between."""
    version_of: list[int]
    """For each result, its index in `versions`."""
    request_ids: list[str]
    """The server's id of each HTTP request of the batch."""
    usage: Usage
    """The total cost."""
    groups: list[IncomparableGroup]
    """The groups whose rollouts were not scored by the same sources: their rewards must not be compared, and they
    have no advantages."""
    comparable: list[bool]
    """For each rollout, `False` if its group is in `groups`."""
    group_of: list[int] = field(default_factory=list)
    """For each rollout, the number of its group; a rollout without a group has a number of its own."""

    def __repr__(self) -> str:
        rewards = [reward for reward in self.rewards if reward is not None]
        mean = f", mean reward {math.fsum(rewards) / len(rewards):.4g}" if rewards else ""
        profiles = ", ".join(sorted({versions["profile"] for versions in self.versions}))
        count, missing = len(self.results), len(self.results) - len(rewards)
        return f"<Scored: {count} rollouts, {missing} without a reward{mean}, profile {profiles}>"

    @property
    def rewards(self) -> list[float | None]:
        """One per rollout; `None` if it could not be scored."""
        return [result["reward"] for result in self.results]

    @property
    def advantages(self) -> list[float | None]:
        """One per rollout; `None` without a reward, or if no advantages were requested."""
        return [result.get("advantage") for result in self.results]

    @property
    def reward_array(self) -> NDArray[np.float64]:
        """The rewards, `[B]`, NaN if there is none."""
        return np.array(self.rewards, dtype=np.float64)

    @property
    def advantage_array(self) -> NDArray[np.float64]:
        """The advantages, `[B]`, NaN if there is none."""
        return np.array(self.advantages, dtype=np.float64)

    def part(self, source: str) -> NDArray[np.float64]:
        """Returns the number of a source that entered the fusion, `[B]`: the reward model's score, or points.

        For several scored turns it is the mean over those that have a number; NaN if the source abstained
        on all of them.
        """
        return np.array([mean_part(result, source) for result in self.results], dtype=np.float64)

    def abstained(self, source: str) -> NDArray[np.bool_]:
        """Reports for each rollout (`[B]`) whether a source has no number on any scored turn.

        A rollout without scored turns counts, too. The reasons are in the results,
        `turns[i]["abstained"]`.
        """
        flags = [not result["turns"] or "silent" in standings(result["turns"], source) for result in self.results]
        return np.array(flags, dtype=np.bool_)

    def partly(self, source: str) -> NDArray[np.bool_]:
        """Reports for each rollout (`[B]`) whether a source scored any turn in part: it has a number, and parts
        of the source abstained, such as a rule that lacks a fact."""
        flags = ["partly" in standings(result["turns"], source) for result in self.results]
        return np.array(flags, dtype=np.bool_)

    def feedback(self, dtype: DTypeLike | str | Any = np.float64, *, unscored: Unscored = "drop") -> Feedback:
        """Returns the inputs of an update: rewards, groups and parts in one dtype.

        - `dtype`: that of the log-probs, `float32` or `float64`: a NumPy or torch dtype, its name, or an array
          or tensor that has it
        - `unscored`: the treatment of rollouts without a complete reward, see `guerdon.feedback.Unscored`

        Raises `UnscoredError` with `unscored="refuse"` if a rollout has no reward, and `OptimError` for another
        dtype.
        """
        return make_feedback(self, dtype, unscored)

    def parts(self) -> dict[str, NDArray[np.float64]]:
        """Returns `rm`, `judge` and `rules` in float64; `feedback` returns them in the dtype of the log-probs."""
        return {source: self.part(source) for source in PARTS}


def mean_part(result: Result, source: str) -> float:
    """Returns a rollout's number of a source; NaN if the source abstained."""
    numbers = [number for turn in result["turns"] if (number := turn_part(turn, source)) is not None]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def turn_part(turn: Turn, source: str) -> float | None:
    """Returns a turn's number of a source; `None` if the source abstained."""
    parts = cast("dict[str, Any]", turn)
    part = parts.get(source) or parts.get("other", {}).get(source)
    if part is None:
        return None
    return float(part["score"] if source == "rm" else part["points"])


def standings(turns: Iterable[Turn], source: str) -> list[Standing]:
    """Returns the answer of a source on each turn: `scored`, `partly` (a number, and an abstention) or `silent`."""
    return [_standing(turn, source) for turn in turns]


def _standing(turn: Turn, source: str) -> Standing:
    if turn_part(turn, source) is None:
        return "silent"
    return "partly" if any(entry["source"] == source for entry in turn["abstained"]) else "scored"


def shares(turns: Sequence[Turn], source: str) -> tuple[float, float]:
    """Returns the shares of turns on which a source is silent and scored in part. Without turns it is silent."""
    answers = standings(turns, source)
    if not answers:
        return 1.0, 0.0
    return answers.count("silent") / len(answers), answers.count("partly") / len(answers)
