"""NeMo-RL: an environment that scores whole message logs.

>>> from guerdon.nemo_rl import register
>>> register("guerdon")  # then `env: {guerdon: {profile: hotel}}`, `env_name: guerdon`  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from guerdon.hook import Settings, facts, numbers
from guerdon.texts import get_reward, marked

_ACTOR = "guerdon.nemo_rl.GuerdonActor"


def register(name: str = "guerdon") -> None:
    """Registers the environment in NeMo-RL as `name`. Call it before NeMo-RL sets up its data."""
    from nemo_rl.distributed.ray_actor_environment_registry import ACTOR_ENVIRONMENT_REGISTRY
    from nemo_rl.distributed.virtual_cluster import PY_EXECUTABLES
    from nemo_rl.environments.utils import register_env

    ACTOR_ENVIRONMENT_REGISTRY[_ACTOR] = PY_EXECUTABLES.SYSTEM
    register_env(name, _ACTOR)


@cache
def _environment() -> type:
    import torch
    from nemo_rl.environments.interfaces import EnvironmentInterface, EnvironmentReturn

    class GuerdonEnvironment(EnvironmentInterface):  # type: ignore[misc, unused-ignore]
        """Scores a batch of dialogues in one call; every dialogue ends after one step."""

        def __init__(self, config: Mapping[str, Any] | None = None) -> None:
            """Sets up the environment; `config` are settings of `guerdon.hook.Settings`."""
            self.settings = Settings.given(config or {})
            self.sums: dict[str, float] = {}
            self.steps = 0

        def step(self, message_log_batch: list[Any], metadata: list[Any]) -> EnvironmentReturn:
            """Scores the last message of each log; its metadata, an object, is facts."""
            contexts = [facts(each, "metadata") for each in metadata]
            # NeMo-RL's own data processors leave the markers of the chat template in the prompt.
            texts = any(marked(message["content"]) for log in message_log_batch for message in log[:-1])
            rewards, parts = (self._texts if texts else self._messages)(message_log_batch, contexts)
            self.steps += len(rewards)
            for name, number in (pair for part in parts for pair in part.items()):
                self.sums[name] = self.sums.get(name, 0.0) + number
            return EnvironmentReturn(
                # Not empty, because NeMo-RL converts an empty list of tokens to floats.
                observations=[{"role": "environment", "content": f"Environment: {reward}"} for reward in rewards],
                metadata=metadata,
                next_stop_strings=[None] * len(rewards),
                rewards=torch.tensor(rewards, dtype=torch.float32),
                terminateds=torch.ones(len(rewards), dtype=torch.bool),
                answers=[log[-1]["content"] for log in message_log_batch],
            )

        def _messages(self, logs: list[Any], contexts: list[dict[str, Any]]) -> _Rewards:
            pairs = zip(logs, contexts, strict=True)
            rollouts = [self.settings.rollout(list(log)[:-1], log[-1]["content"], context) for log, context in pairs]
            scored = self.settings.client().score(rollouts, deadline_ms=self.settings.deadline_ms)
            rewards = self.settings.numbers_only(scored.results, "NeMo-RL")
            return rewards, [numbers(result) for result in scored.results]

        def _texts(self, logs: list[Any], contexts: list[dict[str, Any]]) -> _Rewards:
            prompts = ["".join(message["content"] for message in log[:-1]) for log in logs]
            queries = [prompt + log[-1]["content"] for prompt, log in zip(prompts, logs, strict=True)]
            body = {"query": queries, "prompts": prompts, "labels": contexts}
            reply = get_reward(body, self.settings, "NeMo-RL")
            logged = reply["extra_logs"]
            return reply["rewards"], [{name: logged[name][row] for name in logged} for row in range(len(logs))]

        def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
            """Returns the batch unchanged, and the mean of every part since the last call."""
            sums, steps = self.sums, max(self.steps, 1)
            self.sums, self.steps = {}, 0
            return batch, {f"guerdon/{name}": total / steps for name, total in sums.items()}

    return GuerdonEnvironment


_Rewards = tuple[list[float], list[dict[str, float]]]


def __getattr__(name: str) -> Any:
    if name == "GuerdonEnvironment":
        return _environment()
    if name == "GuerdonActor":
        import ray

        return ray.remote(_environment())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
