"""NeMo-RL: an environment that scores whole message logs.

>>> from guerdon.nemo_rl import GuerdonEnvironment  # doctest: +SKIP
>>> environment = ray.remote(GuerdonEnvironment).remote({"profile": "hotel"})  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from guerdon.hook import Settings, facts, numbers


@cache
def _environment() -> type:
    import torch
    from nemo_rl.environments.interfaces import EnvironmentInterface, EnvironmentReturn

    class GuerdonEnvironment(EnvironmentInterface):  # type: ignore[misc, unused-ignore]
        """One batched call a step; every dialogue ends with it."""

        def __init__(self, config: Mapping[str, Any] | None = None) -> None:
            """`config` is settings: those of `guerdon.hook.Settings`."""
            self.settings = Settings(**(config or {}))
            self.told: list[dict[str, float]] = []

        def step(self, message_log_batch: list[Any], metadata: list[Any]) -> EnvironmentReturn:
            """Scores each log's last message; its metadata, an object, is facts."""
            rollouts = [
                self.settings.rollout(list(log)[:-1], log[-1]["content"], facts(told, "metadata"))
                for log, told in zip(message_log_batch, metadata, strict=True)
            ]
            scored = self.settings.client().score(rollouts, deadline_ms=self.settings.deadline_ms)
            rewards = self.settings.numbers_only(scored.results, "NeMo-RL")
            self.told += [numbers(result) for result in scored.results]
            return EnvironmentReturn(
                observations=[{"role": "environment", "content": ""} for _ in rewards],
                metadata=metadata,
                next_stop_strings=[None] * len(rewards),
                rewards=torch.tensor(rewards, dtype=torch.float32),
                terminateds=torch.ones(len(rewards), dtype=torch.bool),
                answers=[log[-1]["content"] for log in message_log_batch],
            )

        def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
            """The batch as it is, and the mean of every part since the last time."""
            told, self.told = self.told, []
            names = told[0] if told else {}
            return batch, {f"guerdon/{name}": sum(each[name] for each in told) / len(told) for name in names}

    return GuerdonEnvironment


def __getattr__(name: str) -> Any:
    if name == "GuerdonEnvironment":
        return _environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
