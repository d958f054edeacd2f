"""ms-swift: a reward for `--reward_funcs`, registered by a plugin of two lines.

>>> import guerdon.ms_swift
>>> guerdon.ms_swift.register("guerdon", profile="hotel")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guerdon.hook import Settings, row_facts


def register(name: str = "guerdon", *, facts_from: Sequence[str] = (), **settings: Any) -> type:
    """Registers the reward in ms-swift's `orms`, for `--reward_funcs NAME`.

    - `facts_from`: columns of the dataset that are facts for rules and judge; a column `context` of objects
      always is
    - `settings`: those of `guerdon.hook.Settings`. `on_failure="none"` is not the default: ms-swift adds
      up the results of its functions, and if all of them are `None` the sum is a reward of 0
    """
    from swift.rewards import AsyncORM, orms

    chosen = Settings.given(settings)

    class GuerdonReward(AsyncORM):  # type: ignore[misc, unused-ignore]
        """One batched call per step, concurrent with the trainer's other async rewards."""

        async def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  # as ms-swift calls it
            self, completions: list[str], messages: list[list[dict[str, Any]]], **columns: Any
        ) -> list[float | None]:
            rollouts = [
                # The last message is the completion itself.
                chosen.rollout(dialogue[:-1], completion, row_facts(columns, facts_from, row))
                for row, (dialogue, completion) in enumerate(zip(messages, completions, strict=True))
            ]
            scored = await chosen.async_client().score(rollouts, deadline_ms=chosen.deadline_ms)
            return chosen.settled(scored.results)

    orms[name] = GuerdonReward
    return GuerdonReward
