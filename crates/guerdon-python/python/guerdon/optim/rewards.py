"""Token rewards with their KL charge, KL estimators, whitening, and combined rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.optim._inputs import Array, settings

KlEstimator: TypeAlias = Literal["k1", "k2", "k3", "abs"]
"""The estimate as a function of `d = logp - ref_logp`: `d`; `d^2 / 2`; `e^-d - 1 + d`; `|d|`
(joschu.net/blog/kl-approx.html)."""

KlGradient: TypeAlias = Literal["formula", "straight_through", "unbiased"]
"""The gradient by `logp`: the derivative of the estimator; `d`; `min(pi / pi_old, 10) d`."""


class TokenRewards(NamedTuple):
    """The result of `token_rewards`."""

    rewards: Array
    """`[B, T]`: the KL charge of every token, plus the rollout's reward on its last token."""
    token_mean: float
    """Mean charged KL per token, in nats."""
    row_mean: float
    """Mean over rows of their mean KL per token: the input of an adaptive controller."""
    unplaced: float
    """Rows without a token, whose reward is dropped."""


class Moments(NamedTuple):
    """Count, mean and variance of the valid tokens."""

    tokens: float
    mean: float
    variance: float
    """Bessel-corrected; 0 for fewer than two tokens."""


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
    """Computes token rewards: `-beta * kl`, plus the rollout's reward `[B]` on its last token.

    Source: arXiv 1909.08593, equation 2. `logp` are the log-probs under the policy that *sampled* the
    tokens. `beta` is in reward units per nat, 0 or more; `k3_limit` is the upper bound of `k3` for one
    token, `None` for no bound.
    """
    text = settings(estimator=estimator, k3_limit=k3_limit)
    out, figures = _guerdon.token_rewards(text, beta, mask, (logp, ref_logp), rewards)
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
    """Computes each token's KL estimate and its derivative by `logp`, both `[B, T]`.

    Multiply both by `aggregation_weights`. The gradient `unbiased` needs `old_logp`.
    """
    text = settings(estimator=estimator, gradient=gradient, k3_limit=k3_limit)
    return _guerdon.kl_penalty(text, mask, logp, ref_logp, old_logp)


def moments(values: ArrayLike, mask: ArrayLike | None = None) -> Moments:
    """Computes count, mean and variance of the tokens of `values`, `[B, T]`."""
    return Moments(**_guerdon.moments(mask, values))


def whiten(
    values: ArrayLike, mask: ArrayLike | None = None, *, centre: bool = True, eps: float = 1e-8
) -> tuple[Array, Moments]:
    """Returns a whitened copy and the moments before whitening.

    The formula is `(x - mean) / sqrt(variance + eps)`, plus the mean unless `centre` is set. Padded
    slots are copied. A single token, or equal ones, become 0 (or the mean).
    """
    out, before = _guerdon.whiten(settings(centre=centre, eps=eps), mask, values)
    return out, Moments(**before)


def repo_reward(rm: float, points: float, *, bound: float = 100.0) -> float:
    """Computes REPO's reward (arXiv 2510.04214).

    The formula is `rm + |rm| E / bound` with `E = clip(points, -bound, bound)`. `rm` is the calibrated
    score, `points` is the sum of the judge's and the rules' points. The result has the sign of `rm` or
    is 0.
    """
    return _guerdon.repo_reward(rm, points, bound)


def preference(reward: float, reference: float) -> float:
    """Computes `sigmoid(reward - reference)`, the probability that an answer is preferred to a reference
    (arXiv 2502.18770)."""
    return _guerdon.preference(reward, reference)


def soft_min(rewards: Sequence[float], *, sharpness: float) -> float | None:
    """Computes `-ln(mean(e^(-k z))) / k` of standardised rewards `z` (arXiv 2605.05750).

    Returns `None` without rewards.

    `sharpness` is `k`: 0 gives the mean, infinity the minimum.
    """
    return _guerdon.soft_min(sharpness, rewards)


def veto(reward: float, passed: bool, *, floor: float) -> float:
    """Returns `reward` if `passed`, else the lower of `reward` and `floor` (arXiv 2409.20370)."""
    return _guerdon.veto(reward, passed, floor)
