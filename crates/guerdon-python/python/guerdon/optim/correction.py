"""The gap between the engine that sampled the tokens and the policy as the trainer evaluates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon import _guerdon
from guerdon.optim._inputs import Array, settings, written


class ImportanceWeights(NamedTuple):
    """What `importance_weights` gives."""

    weights: Array
    """`[B, T]`, 0 in padding; for `policy_loss(correction=...)`."""
    mean_weight: float
    """Before normalising."""
    bounded: float
    """Share of tokens whose weight was held or dropped."""
    kl: float
    """KL(rollout || old), in nats."""


class Rejection(TypedDict, total=False):
    """Tokens (or rows) whose divergence, in nats, is outside `low` and `high` are left out; a bound left out
    is none."""

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
    """`pi_old / pi_rollout` of every token, of the same policy evaluated by the trainer and by the engine.

    - `level`: each token's own ratio, or the product of its row's
    - `bound`: `truncate` holds weights at `high` (TIS); `drop` makes them 0 outside `low..high` (IcePop,
      arXiv 2510.18855); `drop_rows` makes a row 0 whose geometric mean is outside
    - `normalise`: divide by their mean
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
    """The tokens that all `rules` keep, as a mask `[B, T]`, and their share."""
    plain: list[dict[str, Any]] = [dict(rule) for rule in rules]
    return _guerdon.rejection_mask(written(plain), mask, old_logp, rollout_logp)


def off_policy_rows(
    old_logp: ArrayLike,
    logp: ArrayLike,
    advantages: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    delta: float,
) -> NDArray[np.bool_]:
    """Rows `[B]` to leave out: a negative advantage `[B]`, and a mean `old_logp - logp` above `delta` nats.

    What the policy has already left behind need not be pushed further away (arXiv 2512.02556, section 3.1).
    """
    return _guerdon.off_policy_rows(delta, mask, old_logp, logp, advantages)
