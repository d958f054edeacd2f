"""The inputs of an update, made from the rewards of a batch: one dtype, numbered groups, parts, and NaN for what
must not be learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from guerdon.errors import ConfigError, OptimError, UnscoredError

if TYPE_CHECKING:
    from guerdon.optim import Batch
    from guerdon.scored import Scored

Unscored: TypeAlias = Literal["drop", "drop_incomplete", "drop_incomparable", "refuse"]
"""The treatment of rollouts without a complete reward.

- `drop`: rollouts without a reward enter no statistic, loss or gradient
- `drop_incomplete`: rollouts on which a source abstained, wholly or in part, are dropped, too
- `drop_incomparable`: beside rollouts without a reward, all rollouts of a group whose members were not scored by the
  same sources are dropped
- `refuse`: a rollout without a reward raises `UnscoredError`
"""

_POLICIES = ("drop", "drop_incomplete", "drop_incomparable", "refuse")


@dataclass(frozen=True, eq=False)
class Feedback:
    """The rewards of a batch as `guerdon.optim.Repo` takes them, in the order of the request."""

    rewards: NDArray[np.floating[Any]]
    """`[B]`, NaN for a dropped rollout."""
    groups: NDArray[np.int64]
    """`[B]`: rollouts of one group have the same number; a rollout without a group has a number of its own."""
    rm: NDArray[np.floating[Any]] | None
    """`[B]`: the reward model's score, NaN if it abstained; `None` if it scored no rollout. `judge` and `rules` are
    the same."""
    judge: NDArray[np.floating[Any]] | None
    rules: NDArray[np.floating[Any]] | None
    kept: NDArray[np.bool_]
    """`[B]`: `False` for a dropped rollout."""

    @property
    def dropped(self) -> int:
        """The number of dropped rollouts."""
        return int((~self.kept).sum())

    def batch(self, logp: Any, old_logp: Any, mask: Any = None, **others: Any) -> Batch:
        """Returns the batch for `Repo.step`: these rewards, groups and parts, with what the policy computed.

        - `logp`, `old_logp`: log-probs of the tokens, `[B, T]`, under the current policy and under the policy that
          sampled them
        - `mask`: flags `[B, T]`, or lengths `[B]`
        - `others`: further keys of `guerdon.optim.Batch`, such as `reference`

        Tensors of torch are read as they are, without their gradient and on any device. Every array must have the
        dtype of this feedback.
        """
        given = {"logp": logp, "old_logp": old_logp, "mask": mask, **others}
        arrays = {name: as_array(value) for name, value in given.items()}
        if len(np.shape(arrays["logp"])) > 0 and len(arrays["logp"]) != len(self.rewards):
            raise OptimError(
                f"logp has {len(arrays['logp'])} rows, but {len(self.rewards)} rollouts were scored; "
                "give one row for each rollout, in the order of the request"
            )
        ours = {name: getattr(self, name) for name in ("rewards", "groups", "rm", "judge", "rules")}
        batch = {name: value for name, value in {**ours, **arrays}.items() if value is not None}
        return cast("Batch", batch)

    def __repr__(self) -> str:
        rows, dropped, groups = len(self.rewards), self.dropped, len(set(self.groups.tolist()))
        return f"<Feedback: {rows} rollouts in {groups} groups, {dropped} dropped, {self.rewards.dtype}>"


def as_array(value: Any) -> Any:
    """Converts a tensor of torch to an array; returns any other value unchanged."""
    detach = getattr(value, "detach", None)
    return detach().cpu().numpy() if detach is not None else value


def make_feedback(scored: Scored, dtype: Any, unscored: Unscored) -> Feedback:
    """Makes the feedback of scored rollouts."""
    kind = number_type(dtype)
    if unscored not in _POLICIES:
        raise ConfigError(f"`unscored` is {unscored!r}; give one of {', '.join(map(repr, _POLICIES))}")
    kept = np.array([reward is not None for reward in scored.rewards], dtype=np.bool_)
    if unscored == "refuse" and not kept.all():
        result = scored.results[int(np.argmin(kept))]
        problem = result.get("error")
        why = problem["detail"] if problem else "the server gave no reason"
        hint = "score it again, or drop it with `unscored='drop'`"
        raise UnscoredError(f"rollout `{result['id']}` has no reward: {why}; {hint}", {"hint": hint})
    if unscored == "drop_incomplete":
        kept &= [not any(turn["abstained"] for turn in result["turns"]) for result in scored.results]
    if unscored == "drop_incomparable":
        kept &= np.array(scored.comparable, dtype=np.bool_)
    parts = {name: _in_use(part.astype(kind)) for name, part in scored.parts().items()}
    groups = scored.group_of or list(range(len(scored.results)))
    return Feedback(
        rewards=np.where(kept, scored.reward_array, np.nan).astype(kind),
        groups=np.array(groups, dtype=np.int64),
        kept=kept,
        **cast("Mapping[Any, Any]", parts),
    )


def _in_use(part: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]] | None:
    """A source without any number is left out of the monitors."""
    return None if np.isnan(part).all() else part


def number_type(dtype: Any) -> np.dtype[Any]:
    """Returns `float32` or `float64`, given as a type of NumPy or torch, a name, or an array that has it."""
    named = dtype if isinstance(dtype, type) else getattr(dtype, "dtype", dtype)
    # The name of a type of torch is `torch.float32`.
    named = str(named).removeprefix("torch.") if type(named).__module__ == "torch" else named
    try:
        kind = np.dtype(named)
    except TypeError:
        kind = None
    if kind is None or kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise OptimError(
            f"the optimizer computes in float32 or float64, not in {dtype!r}; convert the log-probs, for example "
            "with `.float()`, and give float32"
        )
    return kind
