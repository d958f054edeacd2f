"""The native half of the package. Call the modules of `guerdon` instead."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Client",
    "KlController",
    "Monitor",
    "Queue",
    "QueueClaim",
    "Repo",
    "Stream",
    "Task",
    "aggregation_weights",
    "gae",
    "gdpo",
    "group_advantages",
    "importance_weights",
    "kl_penalty",
    "kto_loss",
    "logits_gradient",
    "moments",
    "normaliser",
    "off_policy_rows",
    "opo",
    "optimal_token_baseline",
    "pair_loss",
    "policy_loss",
    "preference",
    "rejection_mask",
    "remax",
    "repo_reward",
    "returns_to_go",
    "sft_loss",
    "soft_min",
    "spread",
    "standardise",
    "token_advantages",
    "token_logp",
    "token_rewards",
    "turn_gae",
    "turn_group_advantages",
    "value_loss",
    "veto",
    "whiten",
]

_Array = NDArray[np.floating[Any]]
_Figures = dict[str, float]
_Pair = tuple[ArrayLike, ArrayLike]
_Triple = tuple[ArrayLike, ArrayLike, ArrayLike]
_Trends = tuple[int, Sequence[tuple[float, float] | None]]
_Divisors = tuple[float, float, float] | None

@final
class Client:
    def __new__(
        cls,
        url: str,
        profile: str | None,
        key: str | None,
        limits: dict[str, float | None],
        expect_digest: str | None,
    ) -> Client: ...
    def ask(self, what: str, body: str) -> str: ...
    def start(
        self, what: str, body: str, done: Callable[[str | None, BaseException | None], object]
    ) -> Task: ...
    def stream(self, body: str) -> Stream: ...
    def start_stream(
        self, body: str, done: Callable[[Stream | None, BaseException | None], object]
    ) -> Task: ...

@final
class Queue:
    def __new__(cls, folder: str) -> Queue: ...
    def put(self, body: str) -> str: ...
    def waiting(self) -> list[str]: ...
    def request(self, ticket: str) -> str: ...
    def claim(self, ticket: str) -> QueueClaim | None: ...
    def done(self, ticket: str) -> None: ...
    def set_aside(self, ticket: str) -> str: ...

@final
class QueueClaim:
    def release(self) -> None: ...

@final
class Stream:
    def next(self) -> str | None: ...
    def start_next(self, done: Callable[[str | None, BaseException | None], object]) -> Task: ...

@final
class Task:
    def cancel(self) -> None: ...

@final
class KlController:
    def __new__(
        cls, beta: float, target: float | None = None, horizon: float | None = None
    ) -> KlController: ...
    def __repr__(self) -> str: ...
    @property
    def value(self) -> float: ...
    def update(self, kl: float, rollouts: int) -> None: ...
    def state_dict(self) -> dict[str, float]: ...
    def load_state_dict(self, state: Mapping[str, float]) -> None: ...
    def __getnewargs__(self) -> tuple[float, float | None, float | None]: ...

@final
class Monitor:
    def __new__(cls, settings: str) -> Monitor: ...
    def state(self) -> _Trends: ...
    def restore(self, trends: _Trends) -> None: ...
    def watch(
        self,
        mask: ArrayLike,
        rewards: ArrayLike,
        parts: Sequence[ArrayLike | None],
        groups: Sequence[int] | None,
    ) -> _Figures: ...

@final
class Repo:
    def __new__(cls, settings: str) -> Repo: ...
    @property
    def beta(self) -> float: ...
    def state(self) -> tuple[float, _Trends]: ...
    def restore(self, beta: float, trends: _Trends) -> None: ...
    def step(self, batch: dict[str, Any]) -> dict[str, Any]: ...
    def estimate(self, batch: dict[str, Any]) -> dict[str, Any]: ...
    def improve(self, minibatch: dict[str, Any]) -> dict[str, Any]: ...

def gae(
    settings: str,
    mask: ArrayLike | None,
    arrays: _Pair,
    bootstrap: ArrayLike | None,
    lams: ArrayLike | None,
) -> tuple[_Array, _Array]: ...
def group_advantages(settings: str, rewards: ArrayLike, groups: Sequence[int]) -> _Array: ...
def token_advantages(
    settings: str, mask: ArrayLike, rewards: ArrayLike, groups: Sequence[int]
) -> _Array: ...
def opo(rewards: ArrayLike, lens: Sequence[int], groups: Sequence[int]) -> _Array: ...
def optimal_token_baseline(
    settings: str,
    mask: ArrayLike | None,
    arrays: _Triple,
    correction: ArrayLike | None,
    groups: Sequence[int],
) -> tuple[_Array, _Array]: ...
def turn_gae(
    settings: str, mask: ArrayLike, arrays: _Pair, bootstrap: ArrayLike | None
) -> tuple[_Array, _Array]: ...
def turn_group_advantages(
    settings: str, coefficient: float, mask: ArrayLike, arrays: _Pair, groups: Sequence[int]
) -> _Array: ...
def gdpo(
    settings: str, first: ArrayLike, parts: Sequence[tuple[float, ArrayLike]], groups: Sequence[int]
) -> _Array: ...
def standardise(scores: ArrayLike, eps: float) -> _Array: ...
def spread(mask: ArrayLike, advantages: ArrayLike) -> _Array: ...
def returns_to_go(gamma: float, mask: ArrayLike | None, rewards: ArrayLike) -> _Array: ...
def remax(mask: ArrayLike | None, rewards: ArrayLike, baselines: ArrayLike) -> _Array: ...
def token_rewards(
    settings: str,
    beta: float,
    mask: ArrayLike | None,
    log_probs: _Pair,
    rewards: ArrayLike,
) -> tuple[_Array, _Figures]: ...
def kl_penalty(
    settings: str, mask: ArrayLike | None, logp: ArrayLike, ref_logp: ArrayLike, old_logp: ArrayLike | None
) -> tuple[_Array, _Array]: ...
def moments(mask: ArrayLike | None, values: ArrayLike) -> _Figures: ...
def whiten(settings: str, mask: ArrayLike | None, values: ArrayLike) -> tuple[_Array, _Figures]: ...
def repo_reward(rm: float, points: float, bound: float) -> float: ...
def preference(reward: float, reference: float) -> float: ...
def soft_min(sharpness: float, rewards: Sequence[float]) -> float | None: ...
def veto(reward: float, passed: bool, floor: float) -> float: ...
def policy_loss(
    settings: str,
    mask: ArrayLike | None,
    arrays: _Triple,
    correction: ArrayLike | None,
    normaliser: _Divisors,
) -> tuple[_Array, _Figures]: ...
def pair_loss(
    settings: str,
    mask: ArrayLike | None,
    logp: ArrayLike,
    reference: ArrayLike | None,
    count: float | None,
) -> tuple[_Array, _Figures]: ...
def kto_loss(
    settings: str,
    mask: ArrayLike | None,
    arrays: _Pair,
    desirable: ArrayLike,
    count: float | None,
) -> tuple[_Array, _Figures]: ...
def sft_loss(
    name: str, mask: ArrayLike | None, logp: ArrayLike, normaliser: _Divisors
) -> tuple[float, _Array]: ...
def value_loss(
    settings: str,
    mask: ArrayLike | None,
    arrays: _Triple,
    normaliser: _Divisors,
) -> tuple[_Array, _Figures]: ...
def aggregation_weights(name: str, mask: ArrayLike, normaliser: _Divisors) -> NDArray[np.float64]: ...
def normaliser(mask: ArrayLike) -> tuple[float, float, float]: ...
def importance_weights(
    settings: str, mask: ArrayLike | None, old_logp: ArrayLike, rollout_logp: ArrayLike
) -> tuple[_Array, _Figures]: ...
def rejection_mask(
    rules: str, mask: ArrayLike | None, old_logp: ArrayLike, rollout_logp: ArrayLike
) -> tuple[NDArray[np.bool_], float]: ...
def off_policy_rows(
    delta: float, mask: ArrayLike | None, old_logp: ArrayLike, logp: ArrayLike, advantages: ArrayLike
) -> NDArray[np.bool_]: ...
def token_logp(
    temperature: float, valid: Sequence[bool] | None, logits: ArrayLike, labels: ArrayLike
) -> tuple[_Array, _Array]: ...
def logits_gradient(
    temperature: float,
    valid: Sequence[bool] | None,
    logits: ArrayLike,
    labels: ArrayLike,
    gradients: _Pair,
) -> _Array: ...
