"""What is remembered from update to update: the price of KL, and trends of the rewards."""

from __future__ import annotations

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon._guerdon import KlController
from guerdon.optim._inputs import Groups, numbered, settings

__all__ = ["KlController", "Monitor"]


class Monitor:
    """Signs that a policy learns to please one of several rewards instead of getting better."""

    def __init__(self, *, bound: float = 100.0, dead_zone: float = 0.1) -> None:
        """Watches against two limits.

        - `bound`: that of judge and rules together, in points
        - `dead_zone`: within it of 0, a reward model's score leaves judge and rules no say
        """
        self._native = _guerdon.Monitor(settings(bound=bound, dead_zone=dead_zone))

    def watch(
        self,
        rewards: ArrayLike,
        mask: ArrayLike,
        *,
        rm: ArrayLike | None = None,
        judge: ArrayLike | None = None,
        rules: ArrayLike | None = None,
        groups: Groups | None = None,
    ) -> dict[str, float]:
        """The figures of one batch by name, such as `reward/length_correlation` or `rm/drift`.

        `rewards` and its parts are `[B]`, NaN where there is none; `mask` is flags `[B, T]`. A figure that
        this batch cannot give is left out.
        """
        numbers = None if groups is None else numbered(groups)
        return self._native.watch(mask, rewards, [rm, judge, rules], numbers)
