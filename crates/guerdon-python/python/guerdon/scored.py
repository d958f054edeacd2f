"""The rewards of a batch, with everything that made them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from guerdon.wire import Result, Turn, Usage, Versions

PARTS: Final = ("rm", "judge", "rules")
"""The sources that guerdon ships."""


@dataclass(frozen=True)
class Scored:
    """What `score` returns. Lists have `None` where there is no number; arrays have NaN there, which is what
    `guerdon.optim` takes for "not scored". Nothing that failed is ever 0."""

    results: list[Result]
    """One a rollout, in the request's order."""
    versions: list[Versions]
    """The different versions that made these rewards; nearly always one, two if the server was reloaded in
    between."""
    version_of: list[int]
    """For each result, its place in `versions`."""
    request_ids: list[str]
    """The server's name for each HTTP request that the batch became."""
    usage: Usage
    """What it all cost."""

    @property
    def rewards(self) -> list[float | None]:
        """One a rollout; `None` where it could not be made."""
        return [result["reward"] for result in self.results]

    @property
    def advantages(self) -> list[float | None]:
        """One a rollout; `None` where there is no reward, or none were asked for."""
        return [result.get("advantage") for result in self.results]

    @property
    def reward_array(self) -> NDArray[np.float64]:
        """The rewards, `[B]`, NaN where there is none."""
        return np.array(self.rewards, dtype=np.float64)

    @property
    def advantage_array(self) -> NDArray[np.float64]:
        """The advantages, `[B]`, NaN where there is none."""
        return np.array(self.advantages, dtype=np.float64)

    def part(self, source: str) -> NDArray[np.float64]:
        """The number with which a source entered the fusion, `[B]`: the reward model's score, or points.

        Over several scored turns the mean of those that have one; NaN where the source abstained on all of
        them.
        """
        return np.array([mean_part(result, source) for result in self.results], dtype=np.float64)

    def abstained(self, source: str) -> NDArray[np.bool_]:
        """Whether a source left anything unsaid, `[B]`: on any scored turn, in part or in whole. Why is in the
        results, `turns[i]["abstained"]`."""
        silent = [not result["turns"] or any(abstained(result["turns"], source)) for result in self.results]
        return np.array(silent, dtype=np.bool_)

    def parts(self) -> dict[str, NDArray[np.float64]]:
        """`rm`, `judge` and `rules`, as `guerdon.optim.Repo` takes them."""
        return {source: self.part(source) for source in PARTS}


def mean_part(result: Result, source: str) -> float:
    """A rollout's number of a source; NaN where it abstained."""
    numbers = [number for turn in result["turns"] if (number := turn_part(turn, source)) is not None]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def turn_part(turn: Turn, source: str) -> float | None:
    """A turn's number of a source; `None` where it abstained."""
    parts = cast("dict[str, Any]", turn)
    part = parts.get(source) or parts.get("other", {}).get(source)
    if part is None:
        return None
    return float(part["score"] if source == "rm" else part["points"])


def abstained(turns: Iterable[Turn], source: str) -> list[bool]:
    """For each turn, whether the source left anything unsaid."""
    return [
        turn_part(turn, source) is None or any(entry["source"] == source for entry in turn["abstained"])
        for turn in turns
    ]
