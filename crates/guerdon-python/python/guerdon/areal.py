"""AReaL: a reward function for `RLVRWorkflow` and similar workflows.

>>> from guerdon.areal import Reward
>>> workflow = RLVRWorkflow(reward_fn=Reward(profile="hotel"), ...)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

from guerdon.errors import ConfigError, DeadlineError, UnscoredError
from guerdon.hook import Settings, facts, without_end
from guerdon.scored import Scored
from guerdon.wire import Rollout


class Reward:
    """A reward function that AReaL pickles and calls in a worker process, once per sample.

    Connections are not pickled.
    """

    def __init__(self, *, facts_from: tuple[str, ...] = (), **settings: Any) -> None:
        """Sets up the function.

        - `facts_from`: columns of the dataset that are facts; a column `context` of objects always is
        - `settings`: those of `guerdon.hook.Settings`. AReaL aborts a call after 15 s and records a reward
          of 0 after four timeouts. Therefore sources that are not ready after 8 s abstain, and a call
          raises after 12 s.
        """
        self.facts_from = facts_from
        self.settings = Settings.given(settings, {"timeout": 12.0, "deadline_ms": 8_000})
        # `awaited` has no limit of AReaL, so it outlives a restart of the server.
        self.patient = Settings.given(settings, {"deadline_ms": 8_000})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(facts_from={self.facts_from!r}, settings={self.settings!r})"

    def __call__(
        self, prompt: str, completions: str, prompt_ids: Any, completion_ids: Any, **columns: Any
    ) -> float:
        """Returns the fused reward. The dialogue so far is the column `messages`."""
        rollout = self._rollout(completions, columns)
        try:
            scored = self.settings.client().score([rollout], deadline_ms=self.settings.deadline_ms)
        except DeadlineError as late:
            raise _no_timeout(late) from None
        return self._reward(scored)

    async def awaited(
        self, prompt: str, completions: str, prompt_ids: Any, completion_ids: Any, **columns: Any
    ) -> float:
        """The async form, for the workflow's `async_reward_fn`.

        It bypasses AReaL's pool of processes, whose queueing time counts towards the 15 s. A call may take
        `timeout`, by default 300 s, so it outlives a restart of the server.
        """
        rollout = self._rollout(completions, columns)
        scored = await self.patient.async_client().score([rollout], deadline_ms=self.patient.deadline_ms)
        return self._reward(scored)

    def _rollout(self, completions: str, columns: dict[str, Any]) -> Rollout:
        if columns.get("messages") is None:
            raise ConfigError(
                "the sample has no `messages`: AReaL's prompt is a text with the markers of a chat template, "
                "so keep the column `messages` in the dataset"
            )
        context = facts(columns.get("context"), "context")
        context |= {name: columns[name] for name in self.facts_from if columns[name] is not None}
        return self.settings.rollout(columns["messages"], without_end(completions), context)

    def _reward(self, scored: Scored) -> float:
        (reward,) = self.settings.numbers_only(scored.results, "AReaL")
        return reward


def _no_timeout(late: DeadlineError) -> UnscoredError:
    """Converts the error to another class: AReaL treats every `TimeoutError` as its own timeout, and the
    fourth as a reward of 0."""
    return UnscoredError(str(late), {"url": late.url})
