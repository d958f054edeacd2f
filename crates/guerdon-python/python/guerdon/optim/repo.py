"""One update of REPO, from rewards to gradients, whole or in two steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon import _guerdon
from guerdon.errors import OptimError
from guerdon.optim._inputs import Array, Groups, numbered, to_json
from guerdon.optim.losses import Aggregation, Normaliser, Surrogate
from guerdon.optim.rewards import KlEstimator, KlGradient
from guerdon.optim.watching import MonitorState, trends_of

Preset = Literal["paper", "grpo", "dapo", "gspo", "reinforce_plus_plus_baseline"]
"""`paper` is REPO (arXiv 2510.04214): a critic, GAE, a clipped update, and the usual settings of PPO for
language models. The others are GRPO, DAPO, GSPO and REINFORCE++-baseline with their papers' settings."""


class Advantage(TypedDict, total=False):
    """The source of advantages. `gae` and `turn_gae` need a critic, `remax` needs baselines, and the others
    but `reinforce_plus_plus` need groups; `otb` also needs `sum_pi_squared`, `turn_group` `turn_rewards`, and
    `gdpo` a part that has a weight."""

    method: Literal[
        "gae", "turn_gae", "reinforce_plus_plus", "remax", "group", "turn_group", "opo", "otb", "gdpo"
    ]
    gamma: float
    """For `gae`, `turn_gae` and `reinforce_plus_plus`."""
    lam: float
    """For `gae` and `turn_gae`, like `alpha` and `value_lam`: see `guerdon.optim.gae`."""
    alpha: float | None
    value_lam: float | None
    estimator: str
    """For `group`, `turn_group` and `gdpo`, like `eps`: see `guerdon.optim.group_advantages`."""
    eps: float
    coefficient: float
    """For `turn_group`: the part of the outcome in turns before the last; by default 1."""
    alignment: Literal["tokens", "slots"]
    """For `otb`, like `zero_tail`: see `guerdon.optim.optimal_token_baseline`."""
    zero_tail: bool
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
    max_ratio: float
    cov_share: float
    cov_low: float
    cov_high: float
    seed: int
    kl_coefficient: float


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
    """The coefficient of the KL charge in token rewards; above 0 it needs a reference policy. With `gdpo` it
    must be 0: use `kl_loss`."""
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
    sum_pi_squared: ArrayLike | None
    """The sum of the squared probabilities of the vocabulary before each token, `[B, T]`, for `otb`."""
    turn_rewards: ArrayLike | None
    """Rewards of turns, `[B, T]`, for `turn_group`: a turn's is the sum over its tokens."""
    entropy: ArrayLike | None
    """The policy's entropy before each token, `[B, T]`, nats."""
    normaliser: tuple[float, float, float] | None
    """For a micro-batch, the divisors of the whole batch. Whitening and group statistics still cover this
    batch only; see `Repo.estimate`."""
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


class _Minibatch(TypedDict):
    logp: ArrayLike
    """Log-probs under the current policy, `[b, T]`, nats."""
    old_logp: ArrayLike
    """Log-probs under the policy that sampled the tokens, `[b, T]`."""
    advantages: ArrayLike
    """`[b, T]`, or one per rollout `[b]`, NaN for a rollout that was not scored. Used as they are."""


class Minibatch(_Minibatch, total=False):
    """Rows of a batch with their advantages, which `Repo.estimate` or the caller computed."""

    mask: ArrayLike | None
    """Flags `[b, T]`, or lengths `[b]`."""
    scored: ArrayLike | None
    """Flags `[b]`: false for a rollout without a reward, from which nothing is learned."""
    values: ArrayLike | None
    """The critic's predictions now, `[b, T]`; without them the critic's loss is 0."""
    old_values: ArrayLike | None
    """The critic's predictions when the tokens were sampled; `values` need them and `returns`."""
    returns: ArrayLike | None
    """The critic's targets, `[b, T]`."""
    reference: ArrayLike | None
    """Log-probs under the reference policy, `[b, T]`, for a KL term in the loss."""
    correction: ArrayLike | None
    """Importance weights, `[b, T]`."""
    entropy: ArrayLike | None
    """The policy's entropy before each token, `[b, T]`, nats."""
    normaliser: tuple[float, float, float] | None
    """The divisors of all rows whose gradients are added up before the next step of the network's
    optimizer; by default those of these rows."""


_MINIBATCH_KEYS = frozenset(Minibatch.__annotations__) | frozenset(_Minibatch.__annotations__)
_BY_ROW = ("old_logp", "mask", "reference", "old_values", "correction")
"""What `Estimate.minibatch` takes from the batch."""


@dataclass(frozen=True, repr=False)
class Improvement:
    """The losses of a minibatch. Arrays are `[b, T]`, have its dtype and belong to the caller."""

    loss: float
    """The total loss, to be minimised."""
    dlogp: Array
    """The gradient of the loss by `logp`."""
    dvalue: Array
    """The gradient of the loss by `values`; 0 without a critic."""
    dentropy: Array
    """The gradient of the loss by `entropy`; 0 without an entropy bonus."""
    metrics: dict[str, float]
    """Figures of the losses for a log, named `stage/figure`."""

    def __repr__(self) -> str:
        rows, width = self.dlogp.shape
        return f"<Improvement: loss {self.loss:.6g}, {rows} x {width} {self.dlogp.dtype}>"


@dataclass(frozen=True, repr=False)
class Estimate:
    """The advantages of a batch, computed once and used by every pass over its minibatches."""

    advantages: Array
    """`[B, T]`, whitened over the batch if configured; 0 in padding and for rollouts without a reward."""
    returns: Array
    """`[B, T]`: the critic's targets; without a critic, the rewards-to-go or the advantages."""
    scored: NDArray[np.bool_]
    """`[B]`: false for a rollout without a reward or without tokens."""
    normaliser: Normaliser
    """The divisors of the whole batch."""
    metrics: dict[str, float]
    """Figures of rewards, KL charge and advantages for a log, named `stage/figure`."""
    _batch: Mapping[str, Any]

    def __repr__(self) -> str:
        rows, width = self.advantages.shape
        return f"<Estimate: {rows} x {width} {self.advantages.dtype}, {int(self.scored.sum())} scored>"

    def minibatch(self, rows: Any = None, *, logp: ArrayLike, **now: Any) -> Minibatch:
        """Cuts rows out of the batch for `Repo.improve`.

        `rows` is a slice or an array of indices or flags, by default all rows. `logp` are their
        log-probs now; `now` has the other arrays of the current networks, `values` and `entropy`, and
        may replace any key of a minibatch, such as `normaliser`. Everything else comes from the batch.
        """
        at = slice(None) if rows is None else rows
        taken = {
            name: np.asarray(self._batch[name])[at] for name in _BY_ROW if self._batch.get(name) is not None
        }
        own = {"advantages": self.advantages[at], "returns": self.returns[at], "scored": self.scored[at]}
        return {**taken, **own, "logp": logp, **now}  # type: ignore[typeddict-item]


class RepoState(TypedDict):
    """The state of a `Repo` between updates, as plain numbers that JSON can hold."""

    beta: float
    """The coefficient of the KL charge."""
    monitor: MonitorState


class Repo:
    """The optimizer: a configuration, and state kept over updates (the KL coefficient and trends).

    `step` does everything for one batch. A loop with several passes over a batch, or with minibatches,
    estimates once and improves many times:

        estimate = repo.estimate(batch)
        for epoch in range(4):
            for rows in np.array_split(rng.permutation(len(batch["rewards"])), 8):
                logp, values = networks(rows)
                update = repo.improve(estimate.minibatch(rows, logp=logp, values=values))

    Copies and pickles keep the state.
    """

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
        return Update(**self._native.step(_checked(batch, _KEYS)))

    def estimate(self, batch: Batch | Mapping[str, Any]) -> Estimate:
        """Computes the advantages and returns of a batch, once for all passes over it.

        Whitening and group statistics cover this batch. The coefficient of the KL charge and the
        monitors' trends move once. `logp`, `values` and `entropy` are not needed and not read.
        """
        got = self._native.estimate(_checked(batch, _KEYS))
        return Estimate(**{**got, "normaliser": Normaliser(*got["normaliser"])}, _batch=batch)

    def improve(self, minibatch: Minibatch | Mapping[str, Any]) -> Improvement:
        """Computes the losses of some rows of a batch, and their gradients, from given advantages.

        Changes no state that is kept over updates.
        """
        return Improvement(**self._native.improve(_checked(minibatch, _MINIBATCH_KEYS)))

    def state_dict(self) -> RepoState:
        """Returns the state that is kept over updates, for a checkpoint."""
        beta, (updates, trends) = self._native.state()
        kept: list[list[float] | None] = [None if trend is None else list(trend) for trend in trends]
        return {"beta": beta, "monitor": {"updates": updates, "trends": kept}}

    def load_state_dict(self, state: RepoState) -> None:
        """Takes up a state of `state_dict`, also after a round through JSON.

        The settings are not part of the state. The next batch determines the dtype anew.
        """
        try:
            beta, monitor = float(state["beta"]), state["monitor"]
        except (KeyError, TypeError, ValueError) as error:
            raise OptimError(f"no state of a Repo: {error!r}; pass what state_dict() returned") from error
        self._native.restore(beta, trends_of(monitor))

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings, "state": self.state_dict()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__init__(saved["settings"])  # type: ignore[misc]
        self.load_state_dict(saved["state"])


def _checked(batch: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    """Refuses unknown keys; numbers the groups."""
    unknown = sorted(set(batch) - keys)
    if unknown:
        raise OptimError(f"unknown batch keys {unknown}; valid keys are {sorted(keys)}")
    given: dict[str, Any] = {name: value for name, value in batch.items() if value is not None}
    if "groups" in given:
        given["groups"] = numbered(given["groups"])
    return given
