"""Policy and value losses with their gradients, and the weight of a token."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.optim._inputs import Array, settings

Surrogate: TypeAlias = Literal["ppo", "gspo", "gmpo", "cispo", "sapo", "dro", "reinforce"]
"""What a token costs; `r = pi / pi_old`, `A` its advantage.

- `ppo`: `max(-A r, -A clip(r))` (arXiv 1707.06347); `dual_clip` bounds it where `A < 0` (arXiv 1912.09729)
- `gspo`: PPO with one ratio for a row, clipped by default within 3e-4 and 4e-4 (arXiv 2507.18071)
- `gmpo`: the geometric mean of a row's ratios, each clipped in logs (arXiv 2507.20673)
- `cispo`: `-clip(r) A log pi`, the ratio held constant (arXiv 2506.13585)
- `sapo`: `-A (4 / tau) sigmoid(tau (r - 1))`; `tau_positive` 1 and `tau_negative` 1.05 (arXiv 2511.20347)
- `dro`: `-(A log pi - beta / 2 (log r)^2)`; `beta` 0.1 (arXiv 2405.19107)
- `reinforce`: `-A log pi`
"""

Aggregation: TypeAlias = Literal[
    "token_mean", "token_sum", "seq_mean_token_sum", "seq_mean_token_sum_norm", "seq_mean_token_mean"
]
"""The weight of a token: `1/N`; `1`; `1/S`; `1/(S L)`; `1/(S n)`. `N` tokens and `S` rows of the batch,
`n` tokens of the row, `L` the horizon. The first is DAPO's, the fourth Dr. GRPO's, the last GRPO's."""


class Normaliser(NamedTuple):
    """The divisors of a whole batch, for its micro-batches and ranks: their losses and gradients then add
    up."""

    tokens: float
    """`N`, valid tokens."""
    rows: float
    """`S`, rows with at least one."""
    horizon: float
    """`L`; only `seq_mean_token_sum_norm` reads it."""

    def merge(self, other: Normaliser) -> Normaliser:
        """The divisors of two parts together; the longer horizon stays."""
        return Normaliser(
            self.tokens + other.tokens, self.rows + other.rows, max(self.horizon, other.horizon)
        )


class PolicyLoss(NamedTuple):
    """What `policy_loss` gives. All but the first two are plain means over this batch's tokens."""

    loss: float
    """To be minimised."""
    dlogp: Array
    """Its gradient by `logp`, `[B, T]`, 0 in padding."""
    clip_fraction: float
    dual_clip_fraction: float
    approx_kl: float
    """`old_logp - logp`, in nats; may be negative."""
    approx_kl_k3: float
    """The same KL by `k3`, never negative."""
    max_ratio: float
    tokens: float
    """For weighing the means of micro-batches together."""


class ValueLoss(NamedTuple):
    """What `value_loss` gives."""

    loss: float
    """To be minimised."""
    dvalues: Array
    """Its gradient by `values`, `[B, T]`, 0 in padding."""
    clip_fraction: float
    mean_error: float
    """The critic's bias."""
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
    correction: ArrayLike | None = None,
    normaliser: tuple[float, float, float] | None = None,
) -> PolicyLoss:
    """The loss of log-probs (`[B, T]`, nats) under the policy being trained and the one that sampled, with
    its gradient.

    - `surrogate`: what a token costs; a setting that it does not have is refused
    - `clip_low`, `clip_high`: how far a ratio may fall and rise, by default 0.2; a higher `clip_high` is
      clip-higher
    - `correction`: `[B, T]`, importance weights that every token's loss is multiplied by, held constant
    - `normaliser`: for a micro-batch, the divisors of the whole batch
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
    )
    dlogp, figures = _guerdon.policy_loss(text, mask, logp, old_logp, advantages, correction, normaliser)
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
    """`policy_loss` with PPO's surrogate."""
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
    """PPO's value loss, `max((v - R)^2, (clip(v, v_old - c, v_old + c) - R)^2) / 2`, with its gradient by
    `values`.

    All `[B, T]`, in units of the reward. `clip` is a length on the reward's scale; `None` for a plain squared
    error.
    """
    text = settings(clip=clip, aggregation=aggregation)
    dvalues, figures = _guerdon.value_loss(text, mask, values, old_values, returns, normaliser)
    return ValueLoss(dvalues=dvalues, **figures)


def aggregation_weights(
    mask: ArrayLike,
    aggregation: Aggregation = "token_mean",
    *,
    normaliser: tuple[float, float, float] | None = None,
) -> Array:
    """The weight of every token, `[B, T]` of `float64`, 0 in padding. `mask` is flags `[B, T]`."""
    return _guerdon.aggregation_weights(aggregation, mask, normaliser)


def normaliser(mask: ArrayLike) -> Normaliser:
    """The divisors of the batch that `mask` (flags `[B, T]`) describes; its horizon is the batch's width."""
    return Normaliser(*_guerdon.normaliser(mask))
