"""State that is kept over updates: the KL coefficient and trends of the rewards."""

from __future__ import annotations

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon._guerdon import KlController
from guerdon.optim._inputs import Groups, numbered, settings

__all__ = ["KlController", "Monitor"]


class Monitor:
    """Health figures of rewards: signs that a policy exploits one of several rewards instead of
    improving."""

    def __init__(self, *, bound: float = 100.0, dead_zone: float = 0.1) -> None:
        """Sets the two thresholds.

        - `bound`: the bound of the judge's and the rules' points together
        - `dead_zone`: the distance from 0 within which a reward model's score leaves judge and rules
          without effect
        """
        self._shown = f"Monitor(bound={bound!r}, dead_zone={dead_zone!r})"
        self._native = _guerdon.Monitor(settings(bound=bound, dead_zone=dead_zone))

    def __repr__(self) -> str:
        return self._shown

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
        """Computes the figures of one batch by name, such as `reward/length_correlation` or `rm/drift`.

        `rewards` and the rewards by source are `[B]`, NaN if there is none; `mask` is flags `[B, T]`.
        Undefined figures are left out.
        """
        numbers = None if groups is None else numbered(groups)
        return self._native.watch(mask, rewards, [rm, judge, rules], numbers)
