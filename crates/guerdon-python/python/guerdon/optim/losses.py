"""Policy and value losses with their gradients, and the weights of tokens."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.optim._inputs import Array, settings

Surrogate: TypeAlias = Literal[
    "ppo",
    "gspo",
    "gspo_token",
    "gmpo",
    "cispo",
    "sapo",
    "dro",
    "reinforce",
    "dppo_tv",
    "dppo_kl",
    "clip_cov",
    "kl_cov",
]
"""The loss of a token. `r = pi / pi_old`; `A` is the token's advantage.

- `ppo`: `max(-A r, -A clip(r))` (arXiv 1707.06347); `dual_clip` bounds it for `A < 0` (arXiv
  1912.09729)
- `gspo`: PPO with one ratio per row; the default clip range is 3e-4 and 4e-4 (arXiv 2507.18071). The
  gradient is the derivative of the loss also where advantages vary within a row
- `gspo_token`: the same loss with each token's own ratio differentiated (the same paper, equation 13);
  this is verl's `gspo`
- `gmpo`: the geometric mean of a row's ratios, each clipped in logs (arXiv 2507.20673)
- `cispo`: `-clip(r) A log pi` with the ratio as a constant (arXiv 2506.13585)
- `sapo`: `-A (4 / tau) sigmoid(tau (r - 1))`; `tau_positive` is 1 and `tau_negative` 1.05 (arXiv
  2511.20347)
- `dro`: `-(A log pi - beta / 2 (log r)^2)`; `beta` is 0.1 (arXiv 2405.19107)
- `reinforce`: `-A log pi`
- `dppo_tv`, `dppo_kl`: `-min(r, max_ratio) A log pi` with the ratio as a constant, 0 for a token that has
  left the trust region in the direction of its advantage. The region limits the change of probability
  (`clip_low`, `clip_high` by default 0.15), or the divergence in nats (0.05); `max_ratio` is 20 (arXiv
  2602.04879)
- `clip_cov`: PPO without a random `cov_share` (2e-4) of the tokens, from those whose covariance of
  log-prob and advantage is between `cov_low` (1) and `cov_high` (5); `seed` chooses (arXiv 2505.22617)
- `kl_cov`: `-A r`, and `kl_coefficient |log r|` (1) more for the `cov_share` (2e-4) of the tokens with the
  greatest covariance (the same paper)
"""

Aggregation: TypeAlias = Literal[
    "token_mean", "token_sum", "seq_mean_token_sum", "seq_mean_token_sum_norm", "seq_mean_token_mean"
]
"""The weight of a token: `1/N`; `1`; `1/S`; `1/(S L)`; `1/(S n)`.

`N` is the number of tokens and `S` the number of rows of the batch, `n` the number of tokens of the row,
`L` the horizon. DAPO uses the first, Dr. GRPO the fourth, GRPO the last.
"""


class Normaliser(NamedTuple):
    """The divisors of a whole batch, shared by its micro-batches and ranks.

    The losses and gradients of the parts then add up to those of the whole.
    """

    tokens: float
    """`N`, the number of valid tokens."""
    rows: float
    """`S`, the number of rows with at least one valid token."""
    horizon: float
    """`L`, in tokens; used by `seq_mean_token_sum_norm` only."""

    def merge(self, other: Normaliser) -> Normaliser:
        """Adds the divisors of two parts and keeps the longer horizon."""
        return Normaliser(
            self.tokens + other.tokens, self.rows + other.rows, max(self.horizon, other.horizon)
        )


class PolicyLoss(NamedTuple):
    """The result of `policy_loss`. Except for the loss and its gradient, the fields are unweighted
    statistics of this batch's tokens."""

    loss: float
    """To be minimised."""
    dlogp: Array
    """Its gradient by `logp`, `[B, T]`, 0 in padding."""
    clip_fraction: float
    dual_clip_fraction: float
    approx_kl: float
    """Mean of `old_logp - logp`, in nats; may be negative."""
    approx_kl_k3: float
    """The same KL by `k3`, never negative."""
    max_ratio: float
    tokens: float
    """The weight of these figures in a mean over micro-batches."""


class ValueLoss(NamedTuple):
    """The result of `value_loss`."""

    loss: float
    """To be minimised."""
    dvalues: Array
    """Its gradient by `values`, `[B, T]`, 0 in padding."""
    clip_fraction: float
    mean_error: float
    """Mean of `value - return`: the critic's bias."""
    explained_variance: float
    """1 for a perfect critic, 0 for a constant one."""
    tokens: float


def policy_loss(
    logp: ArrayLike,
    old_logp: ArrayLike,
    advantages: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    surrogate: Surrogate = "ppo",
    aggregation: Aggregation = "token_mean",
    clip_low: float | None = None,
    clip_high: float | None = None,
    dual_clip: float | None = None,
    tau_positive: float | None = None,
    tau_negative: float | None = None,
    beta: float | None = None,
    max_ratio: float | None = None,
    cov_share: float | None = None,
    cov_low: float | None = None,
    cov_high: float | None = None,
    seed: int | None = None,
    kl_coefficient: float | None = None,
    correction: ArrayLike | None = None,
    normaliser: tuple[float, float, float] | None = None,
) -> PolicyLoss:
    """Computes the policy loss and its gradient.

    `logp` and `old_logp` (`[B, T]`, nats) are log-probs under the policy being trained and under the
    policy that sampled the tokens.

    - `surrogate`: the loss of a token; settings that the surrogate does not have are refused
    - `clip_low`, `clip_high`: clip distances of the ratio below and above 1, by default 0.2; a greater
      `clip_high` is clip-higher
    - `correction`: `[B, T]`, importance weights, constant factors of the tokens' losses
    - `normaliser`: the divisors of the whole batch, for a micro-batch
    """
    text = settings(
        surrogate=surrogate,
        aggregation=aggregation,
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=dual_clip,
        tau_positive=tau_positive,
        tau_negative=tau_negative,
        beta=beta,
        max_ratio=max_ratio,
        cov_share=cov_share,
        cov_low=cov_low,
        cov_high=cov_high,
        seed=seed,
        kl_coefficient=kl_coefficient,
    )
    dlogp, figures = _guerdon.policy_loss(
        text, mask, (logp, old_logp, advantages), correction, normaliser
    )
    return PolicyLoss(dlogp=dlogp, **figures)


def ppo_loss(
    logp: ArrayLike,
    old_logp: ArrayLike,
    advantages: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
    aggregation: Aggregation = "token_mean",
    correction: ArrayLike | None = None,
    normaliser: tuple[float, float, float] | None = None,
) -> PolicyLoss:
    """Computes `policy_loss` with PPO's surrogate."""
    return policy_loss(
        logp,
        old_logp,
        advantages,
        mask,
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=dual_clip,
        aggregation=aggregation,
        correction=correction,
        normaliser=normaliser,
    )


def value_loss(
    values: ArrayLike,
    old_values: ArrayLike,
    returns: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    clip: float | None = 0.2,
    aggregation: Aggregation = "token_mean",
    normaliser: tuple[float, float, float] | None = None,
) -> ValueLoss:
    """Computes PPO's value loss and its gradient by `values`.

    The loss of a token is `max((v - R)^2, (clip(v, v_old - c, v_old + c) - R)^2) / 2`. All arrays are
    `[B, T]`, in units of the reward. `clip` is `c`, also in units of the reward; `None` for a plain
    squared error.
    """
    text = settings(clip=clip, aggregation=aggregation)
    dvalues, figures = _guerdon.value_loss(text, mask, (values, old_values, returns), normaliser)
    return ValueLoss(dvalues=dvalues, **figures)


def aggregation_weights(
    mask: ArrayLike,
    aggregation: Aggregation = "token_mean",
    *,
    normaliser: tuple[float, float, float] | None = None,
) -> Array:
    """Computes the weight of every token, `[B, T]` of `float64`, 0 in padding.

    `mask` is flags `[B, T]`.
    """
    return _guerdon.aggregation_weights(aggregation, mask, normaliser)


def normaliser(mask: ArrayLike) -> Normaliser:
    """Computes the divisors of the batch with this `mask` (flags `[B, T]`).

    The horizon is the width of the batch.
    """
    return Normaliser(*_guerdon.normaliser(mask))
