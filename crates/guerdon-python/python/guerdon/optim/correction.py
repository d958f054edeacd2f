"""Correction of the gap between the engine that sampled the tokens and the policy as the trainer
evaluates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon import _guerdon
from guerdon.optim._inputs import Array, settings, to_json


class ImportanceWeights(NamedTuple):
    """The result of `importance_weights`."""

    weights: Array
    """`[B, T]`, 0 in padding; for `policy_loss(correction=...)`."""
    mean_weight: float
    """Mean weight before normalising."""
    bounded: float
    """Share of tokens whose weight was truncated or dropped."""
    kl: float
    """KL(rollout || old), in nats."""


class Rejection(TypedDict, total=False):
    """A rule that drops tokens (or rows) whose divergence, in nats, is outside `low` and `high`.

    A missing bound is infinite.
    """

    scope: Literal["token", "row_sum", "row_mean", "row_max"]
    divergence: Literal["k1", "k2", "k3"]
    low: float | None
    high: float | None


def importance_weights(
    old_logp: ArrayLike,
    rollout_logp: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    level: Literal["token", "sequence"] = "token",
    bound: Literal["truncate", "drop", "drop_rows"] = "truncate",
    low: float = 0.0,
    high: float = 2.0,
    normalise: bool = False,
) -> ImportanceWeights:
    """Computes `pi_old / pi_rollout` of every token: the same policy in the trainer and in the engine.

    - `level`: the token's own ratio, or the product of the row's ratios
    - `bound`: `truncate` truncates weights at `high` (TIS); `drop` sets weights outside `low..high` to 0
      (IcePop, arXiv 2510.18855); `drop_rows` sets the weights of a row to 0 if the geometric mean of its
      ratios is outside
    - `normalise`: divide the weights by their mean
    """
    text = settings(level=level, bound=bound, low=low, high=high, normalise=normalise)
    weights, figures = _guerdon.importance_weights(text, mask, old_logp, rollout_logp)
    return ImportanceWeights(weights, **figures)


def rejection_mask(
    old_logp: ArrayLike,
    rollout_logp: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    rules: Sequence[Rejection],
) -> tuple[NDArray[np.bool_], float]:
    """Returns the tokens that all `rules` keep, as a mask `[B, T]`, and their share."""
    plain: list[dict[str, Any]] = [dict(rule) for rule in rules]
    return _guerdon.rejection_mask(to_json(plain), mask, old_logp, rollout_logp)


def off_policy_rows(
    old_logp: ArrayLike,
    logp: ArrayLike,
    advantages: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    delta: float,
) -> NDArray[np.bool_]:
    """Returns the rows `[B]` to drop: answers that the policy has already moved away from.

    A row is dropped if its advantage (`[B]`) is negative and its mean of `old_logp - logp` exceeds
    `delta` nats (arXiv 2512.02556, section 3.1).
    """
    return _guerdon.off_policy_rows(delta, mask, old_logp, logp, advantages)
