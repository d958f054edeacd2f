"""Advantages: of a critic, of sibling rollouts, of rewards-to-go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.errors import OptimError
from guerdon.optim._inputs import Array, Groups, lengths, numbered, settings

Estimator: TypeAlias = Literal["grpo", "dr_grpo", "rloo", "batch_std", "pass_at_k", "gpg"]
"""How a reward `s` is compared with its group of `k` scored siblings, itself included.

- `grpo`: `(s - mean) / (std + eps)` (arXiv 2402.03300)
- `dr_grpo`: `s - mean` (arXiv 2503.20783)
- `rloo`: `s - mean of the others` (arXiv 2402.14740)
- `batch_std`: `(s - mean) / (std of the batch + eps)` (arXiv 2508.08221)
- `pass_at_k`: `(best - second best) / (std + eps)` for the best, 0 for its siblings (arXiv 2503.19595)
- `gpg`: `alpha (s - mean)`, `alpha` the scored rollouts over those whose reward is not 0 (arXiv 2504.02546)
"""


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
    """Generalized advantage estimation (arXiv 1506.02438): advantages and returns, both `[B, T]`, 0 in
    padding.

    - `rewards`, `values`: `[B, T]`; `values[:, t]` is the critic's estimate of the state *before* token `t`
    - `gamma`, `lam`: within 0 and 1
    - `alpha`: instead of `lam`, `1 - 1 / (alpha n)` for a row of `n` tokens (VAPO, arXiv 2504.05118)
    - `value_lam`: another lambda for the returns, which the critic is fitted to
    - `bootstrap`: `[B]`, the value after each row's last token; 0 where the row ended by itself
    - `lams`: `[B]`, a lambda for each row

    A gap in a row is skipped: it equals the row with its gap cut out. Advantages are not whitened; see
    `whiten`.
    """
    text = settings(gamma=gamma, lam=lam, alpha=alpha, value_lam=value_lam)
    return _guerdon.gae(text, mask, rewards, values, bootstrap, lams)


def group_advantages(
    rewards: ArrayLike, groups: Groups, *, estimator: Estimator = "grpo", eps: float = 1e-6
) -> Array:
    """One advantage a rollout, `[B]`, against the scored rollouts of its group.

    A NaN reward was not scored: it stays NaN and is nobody's sibling. A rollout without scored siblings, and
    one whose siblings all got the same reward, gets exactly 0. Deviations are Bessel-corrected.
    """
    return _guerdon.group_advantages(settings(estimator=estimator, eps=eps), rewards, numbered(groups))


def token_advantages(
    rewards: ArrayLike, groups: Groups, mask: ArrayLike, *, estimator: Estimator = "grpo", eps: float = 1e-6
) -> Array:
    """The same on every token, `[B, T]`: 0 in padding and for what was not scored. `mask` is flags `[B,
    T]`."""
    return spread(group_advantages(rewards, groups, estimator=estimator, eps=eps), mask)


def spread(advantages: ArrayLike, mask: ArrayLike) -> Array:
    """One number a rollout `[B]` on each of its tokens, `[B, T]`; 0 in padding and where it is NaN."""
    return _guerdon.spread(mask, advantages)


def opo(rewards: ArrayLike, lens: ArrayLike, groups: Groups) -> Array:
    """OPO (arXiv 2505.23585): `[B]`, the reward less its group's mean weighed by length. `lens` is tokens,
    `[B]`."""
    return _guerdon.opo(rewards, lengths(lens), numbered(groups))


def gdpo(
    parts: Sequence[tuple[float, ArrayLike]],
    groups: Groups,
    *,
    estimator: Estimator = "grpo",
    eps: float = 1e-6,
) -> Array:
    """GDPO (arXiv 2601.05242): `[B]`, several rewards, each judged within its group before they are added up.

    `parts` are weights and rewards `[B]`, NaN where that source abstained; NaN where all of them did. Not
    whitened: see `standardise` for rollouts, `spread` and `whiten` for tokens.
    """
    if not parts:
        raise OptimError("parts is empty; give at least one (weight, rewards)")
    return _guerdon.gdpo(settings(estimator=estimator, eps=eps), parts[0][1], list(parts), numbered(groups))


def standardise(scores: ArrayLike, *, eps: float = 1e-8) -> Array:
    """The scored numbers of `[B]` at mean 0 and deviation 1: `(x - mean) / sqrt(variance + eps)`; NaN stays
    NaN."""
    return _guerdon.standardise(scores, eps)


def returns_to_go(rewards: ArrayLike, mask: ArrayLike | None = None, *, gamma: float = 1.0) -> Array:
    """Discounted rewards-to-go, `[B, T]`; whitened, REINFORCE++'s advantages (arXiv 2501.03262)."""
    return _guerdon.returns_to_go(gamma, mask, rewards)


def remax(rewards: ArrayLike, baselines: ArrayLike, mask: ArrayLike | None = None) -> Array:
    """ReMax (arXiv 2310.10505): rewards-to-go less the reward `[B]` of the greedy answer to the same
    prompt."""
    return _guerdon.remax(mask, rewards, baselines)
