"""ART: scores the trajectories of a group, as `ruler_score_group` does.

>>> from guerdon.art import score_group
>>> groups = await art.gather_trajectory_groups(  # doctest: +SKIP
...     groups, after_each=lambda group: score_group(group, profile="hotel")
... )
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from guerdon.errors import UnscoredError
from guerdon.hook import Settings, facts, numbers
from guerdon.wire import Rollout


async def score_group(group: Any, *, facts_from: Sequence[str] = (), **settings: Any) -> Any:
    """Returns a new group with the fused rewards. The reward that a trajectory had is its metric
    `independent_reward`, and every part is a metric `guerdon/<part>`.

    - `facts_from`: names in the trajectories' metadata that are facts for rules and judge
    - `settings`: those of `guerdon.hook.Settings`. With `on_failure="none"`, which is the default, a trajectory
      without a reward is left out of the group and is one of its exceptions, as ART does with a failed rollout.
    """
    chosen = Settings.given(settings, {"on_failure": "none"})
    rollouts = [_rollout(chosen, trajectory, facts_from) for trajectory in group.trajectories]
    results = (await chosen.async_client().score(rollouts, deadline_ms=chosen.deadline_ms)).results
    scored: list[Any] = []
    failed: list[BaseException] = []
    for trajectory, result, reward in zip(group.trajectories, results, chosen.settled(results), strict=True):
        if reward is None:
            why = result.get("error", {}).get("detail", "it has no reward")
            failed.append(UnscoredError(f"a trajectory could not be scored: {why}"))
            continue
        parts = {f"guerdon/{name}": value for name, value in numbers(result).items()}
        metrics = {**trajectory.metrics, "independent_reward": trajectory.reward, **parts}
        scored.append(trajectory.model_copy(update={"reward": reward, "metrics": metrics}))
    made = type(group)(
        [*scored, *failed], metadata=dict(group.metadata), metrics=dict(group.metrics), logs=list(group.logs)
    )
    made.exceptions = [*copy.copy(group.exceptions), *made.exceptions]
    return made


def _rollout(chosen: Settings, trajectory: Any, facts_from: Sequence[str]) -> Rollout:
    # A choice is a turn of the policy; any other message is the prompt's or the partner's.
    policy = [not isinstance(turn, dict) and hasattr(turn, "message") for turn in trajectory.messages_and_choices]
    turns = trajectory.messages()
    first = policy.index(True) if True in policy else len(turns) - 1
    known = trajectory.metadata
    context = facts(known.get("context"), "context") | {name: known[name] for name in facts_from if name in known}
    rollout = chosen.rollout(turns[:first], turns[first:], context)
    if chosen.score == "all" and True in policy:
        rollout["score"] = [at for at, sampled in enumerate(policy) if sampled]
    return rollout
