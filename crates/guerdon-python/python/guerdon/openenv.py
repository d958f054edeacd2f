"""OpenEnv: a rubric for an environment.

>>> from guerdon.openenv import GuerdonRubric
>>> class Hotel(Environment):  # doctest: +SKIP
...     def __init__(self):
...         super().__init__(rubric=GuerdonRubric(profile="hotel"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from guerdon.errors import ConfigError
from guerdon.hook import Settings, facts, numbers
from guerdon.wire import Rollout

Read = Callable[[Any, Any], Any]
"""Reads the dialogue, the reply or the facts from an action and an observation."""

_REPLIES = ("message", "content", "text", "response")


@cache
def _rubric() -> tuple[type, type]:
    from openenv.core.rubrics import Rubric

    class _Base(Rubric):  # type: ignore[misc, unused-ignore]
        def __init__(
            self,
            *,
            prompt: Read | None = None,
            reply: Read | None = None,
            context: Read | None = None,
            **settings: Any,
        ) -> None:
            """Sets up the rubric.

            - `prompt`: reads the turns before the reply, a text or messages; by default `observation.messages`, or
              `observation.metadata["messages"]`
            - `reply`: reads the reply; by default the first of the action's fields `message`, `content`, `text` and
              `response`
            - `context`: reads facts for rules and judge; by default `observation.metadata["context"]`
            - `settings`: those of `guerdon.hook.Settings`
            """
            super().__init__()
            self.settings = Settings.given(settings)
            self.figures: dict[str, float] = {}
            self._prompt, self._reply, self._context = prompt or prompt_of, reply or reply_of, context or context_of

        def rollout(self, action: Any, observation: Any) -> Rollout:
            """Builds the rollout that is scored."""
            given = facts(self._context(action, observation), "context")
            return self.settings.rollout(self._prompt(action, observation), self._reply(action, observation), given)

        def _reward(self, results: Any) -> float:
            (reward,) = self.settings.numbers_only(results, "OpenEnv")
            # Every part of the last reward, for `metadata` or a log.
            self.figures = numbers(results[0])
            return reward

        def state_dict(self) -> dict[str, Any]:
            """Returns the settings that shape the reward, without the address and the key."""
            return {name: getattr(self.settings, name) for name in ("profile", "score", "thoughts", "on_failure")}

    class GuerdonRubric(_Base):
        """Scores each action with a guerdon server. A failure raises, and is never a reward of 0."""

        def forward(self, action: Any, observation: Any) -> float:
            """Returns the fused reward; `figures` has every part."""
            rollout = self.rollout(action, observation)
            return self._reward(self.settings.client().score([rollout], deadline_ms=self.settings.deadline_ms).results)

    class AsyncGuerdonRubric(_Base):
        """The async form, for environments whose `step` is a coroutine."""

        async def forward(self, action: Any, observation: Any) -> float:
            """Returns the fused reward; `figures` has every part."""
            rollout, client = self.rollout(action, observation), self.settings.async_client()
            return self._reward((await client.score([rollout], deadline_ms=self.settings.deadline_ms)).results)

    return GuerdonRubric, AsyncGuerdonRubric


def reply_of(action: Any, observation: Any) -> Any:
    """Returns the reply in an action."""
    if isinstance(action, str):
        return action
    for name in _REPLIES:
        said = getattr(action, name, None)
        if said is not None:
            return said
    raise ConfigError(
        f"the action {type(action).__name__} has none of the fields {', '.join(_REPLIES)}; give the rubric a function "
        "`reply`, such as `reply=lambda action, observation: action.answer`"
    )


def prompt_of(action: Any, observation: Any) -> Any:
    """Returns the turns before the reply."""
    turns = getattr(observation, "messages", None)
    if turns is None:
        turns = _metadata(observation).get("messages")
    if turns is None:
        raise ConfigError(
            f"the observation {type(observation).__name__} has no `messages`, so the dialogue is not known; give the "
            "rubric a function `prompt`, such as `prompt=lambda action, observation: observation.history`"
        )
    return turns


def context_of(action: Any, observation: Any) -> Any:
    """Returns the facts in an observation's metadata."""
    return _metadata(observation).get("context")


def _metadata(observation: Any) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = getattr(observation, "metadata", None) or {}
    return metadata


def __getattr__(name: str) -> Any:
    if name in ("GuerdonRubric", "AsyncGuerdonRubric"):
        return _rubric()[name == "AsyncGuerdonRubric"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
