"""SkyRL: an environment that rewards each turn.

>>> from skyrl_gym.envs import register  # doctest: +SKIP
>>> register(id="guerdon", entry_point="guerdon.skyrl:GuerdonEnv")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from guerdon.hook import Settings, facts, messages, numbers, without_thoughts
from guerdon.wire import Message


@cache
def _environment() -> type:
    from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

    class GuerdonEnv(BaseTextEnv):  # type: ignore[misc, unused-ignore]
        """Scores every reply of the policy as a turn of the dialogue.

        A dialogue has one turn unless a subclass overrides `partner`.
        """

        def __init__(
            self, env_config: Any = None, extras: Mapping[str, Any] | None = None, **settings: Any
        ) -> None:
            """Sets up a dialogue.

            `settings` are those of `guerdon.hook.Settings`; `extras["reward_spec"]["ground_truth"]` is
            facts.
            """
            super().__init__()
            self.settings = Settings.given(settings)
            self.facts = facts(((extras or {}).get("reward_spec") or {}).get("ground_truth"), "ground_truth")
            self.dialogue: list[Message] = []
            self.figures: dict[str, float] = {}

        def init(self, prompt: list[dict[str, str]]) -> tuple[list[dict[str, str]], dict[str, Any]]:
            self.dialogue = messages(prompt, "user")
            return prompt, {}

        def partner(self, dialogue: list[Message]) -> list[dict[str, str]]:
            """Returns the partner's next turn, or `[]` to end the dialogue. Override it for several turns."""
            return []

        def step(self, action: str) -> BaseTextEnvStepOutput:
            self.turns += 1
            rollout = self.settings.rollout(self.dialogue, action, self.facts)
            results = self.settings.client().score([rollout], deadline_ms=self.settings.deadline_ms).results
            (reward,) = self.settings.numbers_only(results, "SkyRL")
            self.figures = numbers(results[0])
            reply = without_thoughts(action) if self.settings.thoughts == "drop" else action
            self.dialogue.append({"role": "assistant", "content": reply})
            answer = self.partner(self.dialogue)
            self.dialogue.extend(messages(answer, "user"))
            return BaseTextEnvStepOutput(
                observations=answer,
                reward=reward,
                done=not answer,
                metadata=dict(self.figures),
                postprocessed_action=None,
            )

        def get_metrics(self) -> dict[str, float]:
            """Returns every part of the last turn."""
            return dict(self.figures)

        @staticmethod
        def aggregate_metrics(metrics: list[dict[str, float]]) -> dict[str, float]:
            """Returns the means over the batch."""
            names = metrics[0] if metrics else {}
            return {name: sum(figures.get(name, 0.0) for figures in metrics) / len(metrics) for name in names}

    return GuerdonEnv


def __getattr__(name: str) -> Any:
    if name == "GuerdonEnv":
        return _environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
