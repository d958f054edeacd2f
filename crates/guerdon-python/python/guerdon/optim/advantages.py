"""Advantages from a critic, from sibling rollouts and from rewards-to-go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.errors import OptimError
from guerdon.optim._inputs import Array, Groups, lengths, numbered, settings
from guerdon.wire import GroupEstimator


def gae(
    rewards: ArrayLike,
    values: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    gamma: float = 1.0,
    lam: float = 0.95,
    alpha: float | None = None,
    value_lam: float | None = None,
    bootstrap: ArrayLike | None = None,
    lams: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Computes advantages and returns by generalized advantage estimation (arXiv 1506.02438).

    Both are `[B, T]`, 0 in padding.

    - `rewards`, `values`: `[B, T]`; `values[:, t]` is the critic's estimate of the state *before*
      token `t`
    - `gamma`, `lam`: within 0 and 1
    - `alpha`: use lambda `1 - 1 / (alpha n)` for a row of `n` tokens instead of `lam` (VAPO, arXiv
      2504.05118)
    - `value_lam`: a separate lambda for the returns, which the critic is fitted to
    - `bootstrap`: `[B]`, the value after each row's last token; 0 if the row ended by itself
    - `lams`: `[B]`, a lambda for each row

    Gaps in a row are skipped: the result equals that of the row without them. Advantages are not
    whitened; see `whiten`.
    """
    text = settings(gamma=gamma, lam=lam, alpha=alpha, value_lam=value_lam)
    return _guerdon.gae(text, mask, (rewards, values), bootstrap, lams)


def group_advantages(
    rewards: ArrayLike, groups: Groups, *, estimator: GroupEstimator = "grpo", eps: float = 1e-6
) -> Array:
    """Computes one advantage per rollout, `[B]`, against the scored rollouts of its group.

    A rollout whose reward is NaN was not scored: its advantage is NaN, and it is not a sibling. A
    rollout gets exactly 0 if it has no scored siblings or if all their rewards are equal. Deviations
    are Bessel-corrected.
    """
    return _guerdon.group_advantages(settings(estimator=estimator, eps=eps), rewards, numbered(groups))


def token_advantages(
    rewards: ArrayLike, groups: Groups, mask: ArrayLike, *, estimator: GroupEstimator = "grpo", eps: float = 1e-6
) -> Array:
    """Copies `group_advantages` to every token, `[B, T]`; 0 in padding and for rollouts without a reward.

    `mask` is flags `[B, T]`. A rollout without tokens counts as not scored: it is not a sibling.
    """
    return _guerdon.token_advantages(settings(estimator=estimator, eps=eps), mask, rewards, numbered(groups))


def spread(advantages: ArrayLike, mask: ArrayLike) -> Array:
    """Copies one number per rollout `[B]` to each of its tokens, `[B, T]`; 0 in padding and for NaN."""
    return _guerdon.spread(mask, advantages)


def opo(rewards: ArrayLike, lens: ArrayLike, groups: Groups) -> Array:
    """Computes OPO's advantages (arXiv 2505.23585), `[B]`: the reward less its group's length-weighted mean.

    `lens` are the rollouts' tokens, `[B]`.
    """
    return _guerdon.opo(rewards, lengths(lens), numbered(groups))


def gdpo(
    parts: Sequence[tuple[float, ArrayLike]],
    groups: Groups,
    *,
    estimator: GroupEstimator = "grpo",
    eps: float = 1e-6,
) -> Array:
    """Computes GDPO's advantages (arXiv 2601.05242), `[B]`, from several rewards.

    Each reward is compared within its group before they are added up. `parts` are weights and rewards
    `[B]`, NaN if the source abstained. The result is NaN if all sources abstained. It is not whitened:
    see `standardise` for rollouts, `spread` and `whiten` for tokens.
    """
    if not parts:
        raise OptimError("parts is empty; give at least one (weight, rewards)")
    return _guerdon.gdpo(settings(estimator=estimator, eps=eps), parts[0][1], list(parts), numbered(groups))


def standardise(scores: ArrayLike, *, eps: float = 1e-8) -> Array:
    """Scales the scored numbers of `[B]` to mean 0 and deviation 1; NaN stays NaN.

    The formula is `(x - mean) / sqrt(variance + eps)`.
    """
    return _guerdon.standardise(scores, eps)


def returns_to_go(rewards: ArrayLike, mask: ArrayLike | None = None, *, gamma: float = 1.0) -> Array:
    """Computes discounted rewards-to-go, `[B, T]`; whitened, they are REINFORCE++'s advantages (arXiv
    2501.03262)."""
    return _guerdon.returns_to_go(gamma, mask, rewards)


def remax(rewards: ArrayLike, baselines: ArrayLike, mask: ArrayLike | None = None) -> Array:
    """Computes ReMax's advantages (arXiv 2310.10505).

    They are the rewards-to-go less `baselines` `[B]`, the reward of the greedy answer to the same
    prompt.
    """
    return _guerdon.remax(mask, rewards, baselines)


def optimal_token_baseline(
    rewards: ArrayLike,
    old_logp: ArrayLike,
    sum_pi_squared: ArrayLike,
    groups: Groups,
    mask: ArrayLike | None = None,
    *,
    correction: ArrayLike | None = None,
    alignment: Literal["tokens", "slots"] = "tokens",
    zero_tail: bool = True,
    eps: float = 1e-8,
) -> tuple[Array, Array]:
    """Computes advantages against the optimal token baseline, and returns, both `[B, T]`.

    The baseline of a position is the mean of the group's rewards-to-go there, weighted by the sum so far
    of `1 - 2 pi + sum(pi^2)`. A rollout without siblings gets 0.

    - `rewards`: token rewards, `[B, T]`
    - `sum_pi_squared`: `[B, T]`, the sum of the squared probabilities of the vocabulary before each token
    - `correction`: `[B, T]`, importance weights, whose squares multiply the weights
    - `alignment`: siblings' tokens are compared by their number in the row, or by their slot
    - `zero_tail`: no baseline where only the longest rollout of a group still has tokens
    """
    text = settings(alignment=alignment, zero_tail=zero_tail, eps=eps)
    arrays = (rewards, old_logp, sum_pi_squared)
    return _guerdon.optimal_token_baseline(text, mask, arrays, correction, numbered(groups))


def turn_gae(
    rewards: ArrayLike,
    values: ArrayLike,
    mask: ArrayLike,
    *,
    gamma: float = 1.0,
    lam: float = 0.95,
    alpha: float | None = None,
    value_lam: float | None = None,
    bootstrap: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Computes advantages and returns by `gae` whose steps are turns (Turn-PPO, arXiv 2512.17008).

    A turn is a run of tokens in the `mask` (flags `[B, T]`); its reward is the sum over its tokens, its
    value that before its first token. All its tokens get its advantage and its return.
    """
    text = settings(gamma=gamma, lam=lam, alpha=alpha, value_lam=value_lam)
    return _guerdon.turn_gae(text, mask, (rewards, values), bootstrap)


def turn_group_advantages(
    turn_rewards: ArrayLike,
    outcomes: ArrayLike,
    groups: Groups,
    mask: ArrayLike,
    *,
    estimator: Estimator = "grpo",
    eps: float = 1e-6,
    coefficient: float = 1.0,
) -> Array:
    """Computes one advantage per turn against the same turn of siblings, `[B, T]` (MT-GRPO, arXiv
    2505.11821).

    The last turn has the advantage of the outcome, the others that of their own reward plus `coefficient`
    times the outcome's.

    - `turn_rewards`: `[B, T]`; a turn (a run of tokens in the `mask`) has the sum over its tokens, and no
      reward if one is NaN
    - `outcomes`: `[B]`, NaN for a rollout that was not scored, which gets 0
    """
    text = settings(estimator=estimator, eps=eps)
    arrays = (turn_rewards, outcomes)
    return _guerdon.turn_group_advantages(text, coefficient, mask, arrays, numbered(groups))
