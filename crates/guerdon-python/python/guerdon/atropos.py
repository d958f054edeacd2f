"""Atropos: a reward function in its registry.

>>> import guerdon.atropos
>>> guerdon.atropos.register()  # then `registry.create("guerdon", profile="hotel")`  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from guerdon.errors import ConfigError
from guerdon.hook import Settings, facts


@cache
def _class() -> type:
    from atroposlib.envs.reward_fns import RewardFunction

    class GuerdonReward(RewardFunction):  # type: ignore[misc, unused-ignore]
        """Scores completions with a guerdon server, in one call.

        Atropos' base class turns every error into rewards of 0; this class raises it instead.
        """

        def __init__(self, weight: float = 1.0, name: str | None = None, **settings: Any) -> None:
            """Sets up the function; `settings` are those of `guerdon.hook.Settings`."""
            super().__init__(weight=weight, name=name or "guerdon")
            self.settings = Settings.given(settings)

        def compute(
            self, completions: list[Any], prompts: Sequence[Any] | None = None, context: Any = None, **_: Any
        ) -> list[float]:
            """Returns the fused rewards.

            - `completions`: texts, or dialogues that end with the reply
            - `prompts`: for texts, the dialogue before each
            - `context`: facts, one object for all or one for each completion
            """
            if prompts is None and any(isinstance(completion, str) for completion in completions):
                raise ConfigError("a completion is a text, so `prompts` must have the dialogue before each of them")
            contexts = context if isinstance(context, list) else [context] * len(completions)
            before = prompts if prompts is not None else [None] * len(completions)
            rollouts = [
                self._rollout(*row) for row in zip(before, completions, contexts, strict=True)
            ]
            scored = self.settings.client().score(rollouts, deadline_ms=self.settings.deadline_ms)
            return self.settings.numbers_only(scored.results, "Atropos")

        def _rollout(self, prompt: Any, completion: Any, context: Any) -> Any:
            if prompt is None:
                turns = list(completion)
                prompt, completion = turns[:-1], turns[-1:]
            return self.settings.rollout(prompt, completion, facts(context, "context"))

        def __call__(self, completions: list[Any], **given: Any) -> list[float]:
            rewards = self.compute(completions, **given)
            weighted = [reward * self.weight for reward in rewards]
            if self.wandb_logger:
                self.log_metrics(rewards, weighted)
            return weighted

    return GuerdonReward


def register(name: str = "guerdon") -> type:
    """Registers the function in Atropos' registry."""
    from atroposlib.envs.reward_fns import registry

    made: type = registry.register(_class(), name=name)
    return made


def __getattr__(name: str) -> Any:
    if name == "GuerdonReward":
        return _class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
