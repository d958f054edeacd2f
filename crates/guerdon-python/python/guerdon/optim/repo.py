"""One update of REPO, from rewards to gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from numpy.typing import ArrayLike

from guerdon import _guerdon
from guerdon.errors import OptimError
from guerdon.optim._inputs import Array, Groups, numbered, to_json
from guerdon.optim.losses import Aggregation, Surrogate
from guerdon.optim.rewards import KlEstimator, KlGradient

Preset = Literal["paper", "grpo", "dapo", "gspo", "reinforce_plus_plus_baseline"]
"""`paper` is REPO (arXiv 2510.04214): a critic, GAE, a clipped update, and the usual settings of PPO for
language models. The others are GRPO, DAPO, GSPO and REINFORCE++-baseline with their papers' settings."""


class Advantage(TypedDict, total=False):
    """The source of advantages. `gae` needs a critic, `remax` needs baselines, and `group`, `opo` and `gdpo`
    need groups."""

    method: Literal["gae", "reinforce_plus_plus", "remax", "group", "opo", "gdpo"]
    gamma: float
    """For `gae` and `reinforce_plus_plus`."""
    lam: float
    """For `gae`, like `alpha` and `value_lam`: see `guerdon.optim.gae`."""
    alpha: float | None
    value_lam: float | None
    estimator: str
    """For `group` and `gdpo`, like `eps`: see `guerdon.optim.group_advantages`."""
    eps: float
    weights: tuple[float, float, float]
    """For `gdpo`: the weights of reward model, judge and rules."""


class Whiten(TypedDict, total=False):
    """Whitening of advantages over the batch's tokens."""

    centre: bool
    eps: float


class Kl(TypedDict, total=False):
    """A KL estimator and its gradient."""

    estimator: KlEstimator
    gradient: KlGradient
    k3_limit: float | None


class KlLoss(Kl, total=False):
    """A KL term in the loss."""

    coefficient: float


class Beta(TypedDict):
    """A KL coefficient that is adapted to reach a target."""

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
    """The critic's loss: see `guerdon.optim.value_loss`."""

    clip: float | None
    aggregation: Aggregation


class Critic(TypedDict, total=False):
    """The critic's term of the loss."""

    coefficient: float
    loss: ValueSettings


class Monitors(TypedDict, total=False):
    """The thresholds of the monitors: see `guerdon.optim.Monitor`."""

    bound: float
    dead_zone: float


class Config(TypedDict, total=False):
    """A preset and the differences from it. A key replaces the preset's whole value; `None` removes it."""

    preset: Preset
    """By default `paper`."""
    advantage: Advantage
    whiten: Whiten | None
    kl: Kl
    """The KL estimator of the charge in token rewards."""
    beta: float | Beta
    """The coefficient of the KL charge in token rewards. Without a reference policy nothing is charged."""
    policy: Policy
    kl_loss: KlLoss | None
    entropy_coefficient: float
    """The coefficient of the entropy bonus in the total loss, 0 or more."""
    critic: Critic | None
    monitors: Monitors


class _Batch(TypedDict):
    logp: ArrayLike
    """Log-probs under the current policy, `[B, T]`, nats."""
    old_logp: ArrayLike
    """Log-probs under the policy that sampled the tokens, `[B, T]`."""
    rewards: ArrayLike
    """The fused reward of each rollout, `[B]`, NaN if it was not scored."""


class Batch(_Batch, total=False):
    """A batch of rollouts."""

    mask: ArrayLike | None
    """Flags `[B, T]`, or lengths `[B]`."""
    reference: ArrayLike | None
    """Log-probs under the reference policy, `[B, T]`."""
    values: ArrayLike | None
    """The critic's predictions now, `[B, T]`, of the state before each token."""
    old_values: ArrayLike | None
    """The critic's predictions when the tokens were sampled."""
    bootstrap: ArrayLike | None
    """The value after each row's last token, `[B]`, 0 if the row ended by itself."""
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
    """The reward model's scores, `[B]`, NaN if it abstained; for the monitors and for GDPO, like `judge` and
    `rules`."""
    judge: ArrayLike | None
    rules: ArrayLike | None


_KEYS = frozenset(Batch.__annotations__) | frozenset(_Batch.__annotations__)


@dataclass(frozen=True, repr=False)
class Update:
    """The result of one update. Arrays are `[B, T]`, have the batch's dtype and belong to the caller."""

    loss: float
    """The total loss, to be minimised."""
    dlogp: Array
    """The gradient of the loss by `logp`."""
    dvalue: Array
    """The gradient of the loss by `values`; 0 without a critic."""
    dentropy: Array
    """The gradient of the loss by `entropy`; 0 without an entropy bonus."""
    advantages: Array
    """The advantages used by the policy loss; 0 in padding and for rollouts without a reward."""
    returns: Array
    """The critic's targets."""
    metrics: dict[str, float]
    """Figures for a log, named `stage/figure`."""

    def __repr__(self) -> str:
        rows, width = self.dlogp.shape
        return f"<Update: loss {self.loss:.6g}, {rows} x {width} {self.dlogp.dtype}, {len(self.metrics)} metrics>"


class Repo:
    """The optimizer: a configuration, and state kept over updates (the KL coefficient and trends)."""

    def __init__(self, config: Config | Preset | None = None) -> None:
        """Sets up an optimizer from a preset's name or settings.

        Raises `OptimError` for an unknown name or a setting out of range.
        """
        settings = {"preset": config} if isinstance(config, str) else dict(config or {})
        self._settings = settings
        self._native = _guerdon.Repo(to_json(settings))

    def __repr__(self) -> str:
        return f"Repo({self._settings!r})"

    @property
    def beta(self) -> float:
        """The current coefficient of the KL charge."""
        return self._native.beta

    def step(self, batch: Batch | Mapping[str, Any]) -> Update:
        """Runs one update: token rewards, advantages, losses, gradients and metrics.

        A rollout whose reward is NaN was not scored and does not enter any mean, deviation, loss or
        gradient. The `logp` of the first batch determines the dtype of all updates, `float32` or
        `float64`.
        """
        unknown = sorted(set(batch) - _KEYS)
        if unknown:
            raise OptimError(f"unknown batch keys {unknown}; valid keys are {sorted(_KEYS)}")
        given: dict[str, Any] = {name: value for name, value in batch.items() if value is not None}
        if "groups" in given:
            given["groups"] = numbered(given["groups"])
        return Update(**self._native.step(given))
