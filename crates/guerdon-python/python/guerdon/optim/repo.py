"""One update of REPO, from rewards to gradients, in the order of the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.errors import OptimError
from guerdon.optim._inputs import Array, Groups, numbered, written
from guerdon.optim.losses import Aggregation, Surrogate
from guerdon.optim.rewards import KlEstimator, KlGradient

Preset = Literal["paper", "grpo", "dapo", "gspo", "reinforce_plus_plus_baseline"]
"""`paper` is REPO (arXiv 2510.04214): a critic, GAE, a clipped update, the usual numbers of PPO for
language models. The others are GRPO, DAPO, GSPO and REINFORCE++-baseline with their papers' settings."""


class Advantage(TypedDict, total=False):
    """Where advantages come from. `gae` needs a critic, `remax` baselines, `group`, `opo` and `gdpo`
    groups."""

    method: Literal["gae", "reinforce_plus_plus", "remax", "group", "opo", "gdpo"]
    gamma: float
    """Of `gae` and `reinforce_plus_plus`."""
    lam: float
    """Of `gae`, with `alpha` and `value_lam`: see `guerdon.optim.gae`."""
    alpha: float | None
    value_lam: float | None
    estimator: str
    """Of `group` and `gdpo`, with `eps`: see `guerdon.optim.group_advantages`."""
    eps: float
    weights: tuple[float, float, float]
    """Of `gdpo`: what reward model, judge and rules count."""


class Whiten(TypedDict, total=False):
    """Whether advantages are whitened over the batch's tokens."""

    centre: bool
    eps: float


class Kl(TypedDict, total=False):
    """An estimator of KL and its gradient."""

    estimator: KlEstimator
    gradient: KlGradient
    k3_limit: float | None


class KlLoss(Kl, total=False):
    """A KL term in the loss."""

    coefficient: float


class Beta(TypedDict):
    """The price of a nat, steered towards a target."""

    beta: float
    target: float
    horizon: float


class Policy(TypedDict, total=False):
    """The surrogate and the weight of a token: see `guerdon.optim.policy_loss`."""

    surrogate: Surrogate
    aggregation: Aggregation
    clip_low: float
    clip_high: float
    dual_clip: float | None
    tau_positive: float
    tau_negative: float
    beta: float


class ValueSettings(TypedDict, total=False):
    """How the critic's error is measured: see `guerdon.optim.value_loss`."""

    clip: float | None
    aggregation: Aggregation


class Critic(TypedDict, total=False):
    """The critic's part of the loss."""

    coefficient: float
    loss: ValueSettings


class Monitors(TypedDict, total=False):
    """The limits that the monitors count against: see `guerdon.optim.Monitor`."""

    bound: float
    dead_zone: float


class Config(TypedDict, total=False):
    """A preset, and what is different from it: a key replaces the preset's whole value. `None` takes away."""

    preset: Preset
    """By default `paper`."""
    advantage: Advantage
    whiten: Whiten | None
    kl: Kl
    """The estimator of the KL that token rewards are charged for."""
    beta: float | Beta
    """The price of a nat in token rewards. Without a reference policy nothing is charged."""
    policy: Policy
    kl_loss: KlLoss | None
    entropy_coefficient: float
    """What a nat of entropy is worth in the whole loss, 0 or more."""
    critic: Critic | None
    monitors: Monitors


class _Batch(TypedDict):
    logp: ArrayLike
    """Log-probs under the policy now, `[B, T]`, nats."""
    old_logp: ArrayLike
    """Log-probs under the policy that sampled, `[B, T]`."""
    rewards: ArrayLike
    """The fused reward of each rollout, `[B]`, NaN where it was not scored."""


class Batch(_Batch, total=False):
    """A batch of rollouts."""

    mask: ArrayLike | None
    """Flags `[B, T]`, or lengths `[B]`."""
    reference: ArrayLike | None
    """Log-probs under the reference policy, `[B, T]`."""
    values: ArrayLike | None
    """The critic's predictions now, `[B, T]`, of the state before each token."""
    old_values: ArrayLike | None
    """The same when the tokens were sampled."""
    bootstrap: ArrayLike | None
    """The value after each row's last token, `[B]`, 0 where the row ended by itself."""
    groups: Groups | None
    """The prompt of each rollout."""
    baselines: ArrayLike | None
    """The reward of the greedy answer to each rollout's prompt, `[B]`."""
    correction: ArrayLike | None
    """Importance weights, `[B, T]`."""
    entropy: ArrayLike | None
    """The policy's entropy before each token, `[B, T]`, nats."""
    normaliser: tuple[float, float, float] | None
    """For a micro-batch, the divisors of the whole batch."""
    rm: ArrayLike | None
    """The rewards before they were fused, `[B]`, NaN where the source abstained: for the monitors and for
    GDPO."""
    judge: ArrayLike | None
    rules: ArrayLike | None


_KEYS = frozenset(Batch.__annotations__) | frozenset(_Batch.__annotations__)


@dataclass(frozen=True)
class Update:
    """What one update gives. Arrays are `[B, T]`, of the batch's number type, and the caller's own."""

    loss: float
    """The whole loss, to be minimised."""
    dlogp: Array
    """Its gradient by `logp`."""
    dvalue: Array
    """Its gradient by `values`; 0 without a critic."""
    dentropy: Array
    """Its gradient by `entropy`; 0 without an entropy bonus."""
    advantages: Array
    """As the policy loss saw them; 0 in padding and for what was not scored."""
    returns: Array
    """What the critic should have predicted."""
    metrics: dict[str, float]
    """What to log, as `stage/figure`."""


class Repo:
    """The optimizer: a configuration, and what it remembers between updates (the price of KL, trends)."""

    def __init__(self, config: Config | Preset | None = None) -> None:
        """A preset's name, or settings. Raises `OptimError` for what does not exist or is out of range."""
        settings = {"preset": config} if isinstance(config, str) else dict(config or {})
        self._native = _guerdon.Repo(written(settings))

    @property
    def beta(self) -> float:
        """The price of a nat now."""
        return self._native.beta

    def step(self, batch: Batch | Mapping[str, Any]) -> Update:
        """One update: token rewards, advantages, losses, gradients, metrics.

        A rollout whose reward is NaN was not scored: it leaves every mean, deviation, loss and gradient. The
        number type is that of the first batch's `logp`, `float32` or `float64`, for as long as this optimizer
        lives.
        """
        unknown = sorted(set(batch) - _KEYS)
        if unknown:
            raise OptimError(f"the batch has {unknown}, which no update reads; it may have {sorted(_KEYS)}")
        given: dict[str, Any] = {name: value for name, value in batch.items() if value is not None}
        if "groups" in given:
            given["groups"] = numbered(given["groups"])
        return Update(**self._native.step(given))
