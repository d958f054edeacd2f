"""The rewards of a batch, with the parts that they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from guerdon.wire import IncomparableGroup, Result, Turn, Usage, Versions

PARTS: Final = ("rm", "judge", "rules")
"""The built-in sources."""


@dataclass(frozen=True)
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
        """Reports for each rollout (`[B]`) whether a source abstained on any scored turn, even in part.

        The reasons are in the results, `turns[i]["abstained"]`.
        """
        flags = [not result["turns"] or any(abstained(result["turns"], source)) for result in self.results]
        return np.array(flags, dtype=np.bool_)

    def parts(self) -> dict[str, NDArray[np.float64]]:
        """Returns `rm`, `judge` and `rules`, the inputs of `guerdon.optim.Repo`."""
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


def abstained(turns: Iterable[Turn], source: str) -> list[bool]:
    """Reports for each turn whether the source abstained, in part or in whole."""
    return [
        turn_part(turn, source) is None or any(entry["source"] == source for entry in turn["abstained"])
        for turn in turns
    ]
