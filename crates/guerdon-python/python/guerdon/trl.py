"""TRL: a reward function for `GRPOTrainer` and `RLOOTrainer`.

>>> from guerdon.trl import reward
>>> trainer = GRPOTrainer(..., reward_funcs=reward(profile="hotel"))  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np

from guerdon.hook import Settings, row_facts
from guerdon.scored import PARTS, shares

RewardFunction = Callable[..., Coroutine[Any, Any, list[float | None]]]


def reward(*, facts_from: Sequence[str] = (), name: str = "guerdon", **settings: Any) -> RewardFunction:
    """Returns an async reward function: one batched call per step, concurrent with other reward functions.

    - `facts_from`: columns of the dataset that are facts for rules and judge; a column `context` of objects
      always is
    - `name`: its name in TRL's log
    - `settings`: those of `guerdon.hook.Settings`; `on_failure` is `none` by default, which TRL accepts as
      a missing reward

    Every part is logged: its mean over the batch by `log_metric`, and a column of the completions table by
    `log_extra`.
    """
    chosen = Settings.given(settings, {"on_failure": "none"})

    async def scored(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
        rollouts = [
            chosen.rollout(prompt, completion, row_facts(columns, facts_from, row))
            for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
        ]
        batch = await chosen.async_client().score(rollouts, deadline_ms=chosen.deadline_ms)
        log_metric, log_extra = columns.get("log_metric"), columns.get("log_extra")
        for source in PARTS:
            part = batch.part(source)
            silent, partly = shares([turn for result in batch.results for turn in result["turns"]], source)
            if log_metric is not None:
                # Without numbers nothing is logged, because TRL averages the logged values.
                if not np.isnan(part).all():
                    log_metric(f"{name}/{source}", float(np.nanmean(part)))
                log_metric(f"{name}/{source}_abstained", silent)
                log_metric(f"{name}/{source}_partly", partly)
            if log_extra is not None:
                log_extra(
                    f"{name}/{source}", [None if math.isnan(value) else value for value in part.tolist()]
                )
        if log_metric is not None:
            log_metric(f"{name}/failed", float(np.isnan(batch.reward_array).mean()))
        return chosen.settled(batch.results)

    scored.__name__ = name
    return scored
