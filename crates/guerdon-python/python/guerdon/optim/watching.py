"""State that is kept over updates: the KL coefficient and trends of the rewards."""

from __future__ import annotations

from typing import Any, TypedDict

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon._guerdon import KlController
from guerdon.errors import OptimError
from guerdon.optim._inputs import Groups, numbered, settings

__all__ = ["KlController", "Monitor", "MonitorState"]


class MonitorState(TypedDict):
    """The state of a monitor between updates."""

    updates: int
    trends: list[list[float] | None]
    """The short-term and the long-term mean of reward model, judge and rules; `None` before its first
    reward."""


def trends_of(state: MonitorState) -> tuple[int, list[tuple[float, float] | None]]:
    """Reads a saved state."""
    try:
        trends = [None if trend is None else (float(trend[0]), float(trend[1])) for trend in state["trends"]]
        updates = int(state["updates"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise OptimError(f"no state of a monitor: {error!r}; pass what state_dict() returned") from error
    if len(trends) != 3 or updates < 0:
        raise OptimError(f"no state of a monitor: {state!r}; pass what state_dict() returned")
    return updates, trends


class Monitor:
    """Health figures of rewards: signs that a policy exploits one of several rewards instead of
    improving."""

    def __init__(self, *, bound: float = 100.0, dead_zone: float = 0.1) -> None:
        """Sets the two thresholds.

        - `bound`: the bound of the judge's and the rules' points together
        - `dead_zone`: the distance from 0 within which a reward model's score leaves judge and rules
          without effect
        """
        self._thresholds = {"bound": bound, "dead_zone": dead_zone}
        self._native = _guerdon.Monitor(settings(**self._thresholds))

    def __repr__(self) -> str:
        return "Monitor(bound={bound!r}, dead_zone={dead_zone!r})".format(**self._thresholds)

    def state_dict(self) -> MonitorState:
        """Returns the state that is kept over updates, as plain numbers that JSON can hold."""
        updates, trends = self._native.state()
        return {"updates": updates, "trends": [None if trend is None else list(trend) for trend in trends]}

    def load_state_dict(self, state: MonitorState) -> None:
        """Takes up a state of `state_dict`, also after a round through JSON."""
        self._native.restore(trends_of(state))

    def __getstate__(self) -> dict[str, Any]:
        return {"thresholds": self._thresholds, "state": self.state_dict()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__init__(**saved["thresholds"])  # type: ignore[misc]
        self.load_state_dict(saved["state"])

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
