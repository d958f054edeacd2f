"""AReaL: a reward function for `RLVRWorkflow` and its kin.

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
    """Called in a worker process, with a sample a call. AReaL pickles it; the connections stay behind."""

    def __init__(self, *, facts_from: tuple[str, ...] = (), **settings: Any) -> None:
        """Sets it up.

        - `facts_from`: columns of the dataset that are facts; a column `context` of objects always is
        - `settings`: those of `guerdon.hook.Settings`. AReaL gives up on a call after 15 s and writes a 0
          of its own after the fourth, so sources that are not ready after 8 s abstain, and a call raises
          after 12.
        """
        self.facts_from = facts_from
        self.settings = Settings(**{"timeout": 12.0, "deadline_ms": 8_000, **settings})

    def __call__(
        self, prompt: str, completions: str, prompt_ids: Any, completion_ids: Any, **columns: Any
    ) -> float:
        """The fused reward. The dialogue so far is the column `messages`."""
        rollout = self._rollout(completions, columns)
        try:
            scored = self.settings.client().score([rollout], deadline_ms=self.settings.deadline_ms)
        except DeadlineError as late:
            raise _no_timeout(late) from None
        return self._reward(scored)

    async def awaited(
        self, prompt: str, completions: str, prompt_ids: Any, completion_ids: Any, **columns: Any
    ) -> float:
        """The same without AReaL's pool of processes, in whose queue its 15 s pass too: for the workflow's
        `async_reward_fn`."""
        rollout = self._rollout(completions, columns)
        scored = await self.settings.async_client().score([rollout], deadline_ms=self.settings.deadline_ms)
        return self._reward(scored)

    def _rollout(self, completions: str, columns: dict[str, Any]) -> Rollout:
        if columns.get("messages") is None:
            raise ConfigError(
                "the sample has no `messages`: AReaL's prompt is a text with the chat template's marks; keep "
                "the column that it was made of in the dataset"
            )
        told = facts(columns.get("context"), "context")
        told |= {name: columns[name] for name in self.facts_from if columns[name] is not None}
        return self.settings.rollout(columns["messages"], without_end(completions), told)

    def _reward(self, scored: Scored) -> float:
        (reward,) = self.settings.numbers_only(scored.results, "AReaL")
        return reward


def _no_timeout(late: DeadlineError) -> UnscoredError:
    """The error under another class: AReaL takes every `TimeoutError` for its own, and the fourth for a reward of
    0."""
    return UnscoredError(str(late), {"url": late.url})
