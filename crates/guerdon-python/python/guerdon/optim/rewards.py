"""Token rewards with their KL charge, KL estimators, whitening, and ways to make one reward of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.optim._inputs import Array, settings

KlEstimator: TypeAlias = Literal["k1", "k2", "k3", "abs"]
"""What is computed from `d = logp - ref_logp`: `d`; `d^2 / 2`; `e^-d - 1 + d`; `|d|`
(joschu.net/blog/kl-approx.html)."""

KlGradient: TypeAlias = Literal["formula", "straight_through", "unbiased"]
"""What is said to be the derivative by `logp`: the formula's own; `d`; `min(pi / pi_old, 10) d`."""


class TokenRewards(NamedTuple):
    """What `token_rewards` gives."""

    rewards: Array
    """`[B, T]`: the KL charge of every token, and the rollout's reward on its last."""
    token_mean: float
    """Mean KL a token, in nats: exactly what was charged."""
    row_mean: float
    """Mean over rows of their mean KL a token: what an adaptive controller is fed."""
    unplaced: float
    """Rows without a token, whose reward found no place."""


class Moments(NamedTuple):
    """Over valid tokens."""

    tokens: float
    mean: float
    variance: float
    """Bessel-corrected; 0 of fewer than two."""


def token_rewards(
    logp: ArrayLike,
    ref_logp: ArrayLike,
    rewards: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    beta: float = 0.05,
    estimator: KlEstimator = "k1",
    k3_limit: float | None = 10.0,
) -> TokenRewards:
    """`-beta * kl` on every token, plus the rollout's reward `[B]` on its last (arXiv 1909.08593, equation
    2).

    `logp` is that of the policy that *sampled* the tokens. `beta` is reward units a nat, 0 or more;
    `k3_limit` the most that `k3` may say of one token, `None` for no limit.
    """
    text = settings(estimator=estimator, k3_limit=k3_limit)
    out, figures = _guerdon.token_rewards(text, beta, mask, logp, ref_logp, rewards)
    return TokenRewards(out, **figures)


def kl_penalty(
    logp: ArrayLike,
    ref_logp: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    estimator: KlEstimator = "k1",
    gradient: KlGradient = "formula",
    k3_limit: float | None = 10.0,
    old_logp: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Each token's KL estimate and its derivative by `logp`, both `[B, T]`; weigh both with
    `aggregation_weights`.

    `old_logp` is what the gradient `unbiased` needs.
    """
    text = settings(estimator=estimator, gradient=gradient, k3_limit=k3_limit)
    return _guerdon.kl_penalty(text, mask, logp, ref_logp, old_logp)


def moments(values: ArrayLike, mask: ArrayLike | None = None) -> Moments:
    """Count, mean and variance of the tokens of `values`, `[B, T]`."""
    return Moments(**_guerdon.moments(mask, values))


def whiten(
    values: ArrayLike, mask: ArrayLike | None = None, *, centre: bool = True, eps: float = 1e-8
) -> tuple[Array, Moments]:
    """A whitened copy, `(x - mean) / sqrt(variance + eps)` plus the mean unless `centre`, and the moments
    before.

    Padded slots are copied as they are. A single token, or equal ones, become 0 (or the mean).
    """
    out, before = _guerdon.whiten(settings(centre=centre, eps=eps), mask, values)
    return out, Moments(**before)


def repo_reward(rm: float, points: float, *, bound: float = 100.0) -> float:
    """REPO's reward (arXiv 2510.04214): `rm + |rm| E / bound` with `E = clip(points, -bound, bound)`.

    `rm` is the calibrated score, `points` those of judge and rules together. The sign of `rm` is kept or
    becomes 0.
    """
    return _guerdon.repo_reward(rm, points, bound)


def preference(reward: float, reference: float) -> float:
    """`sigmoid(reward - reference)`: the probability that an answer is preferred to a reference (arXiv
    2502.18770)."""
    return _guerdon.preference(reward, reference)


def soft_min(rewards: Sequence[float], *, sharpness: float) -> float | None:
    """`-ln(mean(e^(-k z))) / k` of standardised rewards `z` (arXiv 2605.05750); `None` of none.

    `sharpness` is `k`: 0 gives the mean, infinity the minimum.
    """
    return _guerdon.soft_min(sharpness, rewards)


def veto(reward: float, passed: bool, *, floor: float) -> float:
    """`reward` where every rule that must hold does, else the lower of `reward` and `floor` (arXiv
    2409.20370)."""
    return _guerdon.veto(reward, passed, floor)
