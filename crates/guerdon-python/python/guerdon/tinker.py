"""Tinker Cookbook: rewards for the trajectories of a group, as `EnvGroupBuilder.compute_group_rewards` returns them.

>>> from guerdon.tinker import group_rewards
>>> async def compute_group_rewards(self, trajectory_group, env_group):  # doctest: +SKIP
...     return await group_rewards(trajectory_group, self.renderer, self.prompt, profile="hotel")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.errors import ConfigError
from guerdon.hook import Settings, facts, numbers
from guerdon.wire import Rollout


async def group_rewards(
    trajectories: Sequence[Any],
    renderer: Any,
    prompt: Sequence[Any],
    *,
    context: Mapping[str, Any] | str | None = None,
    **settings: Any,
) -> list[tuple[float, dict[str, float]]]:
    """Returns the fused reward of each trajectory, with its parts as metrics `guerdon/<part>`.

    - `trajectories`: of one turn of the policy each, such as those of `ProblemEnv` and `PreferenceEnv`; for dialogues
      see `dialogue_rewards`
    - `renderer`: the policy's renderer, which reads its tokens
    - `prompt`: the messages before the reply
    - `context`: facts for rules and judge
    - `settings`: those of `guerdon.hook.Settings`

    The group is scored by one request. The cookbook adds the reward to those of the environment's steps. It cannot
    represent a missing reward, so `on_failure` is `error`, which is the default, or a number.
    """
    replies = []
    for trajectory in trajectories:
        if len(trajectory.transitions) != 1:
            turns = len(trajectory.transitions)
            raise ConfigError(f"a trajectory has {turns} turns of the policy; pass the dialogues to `dialogue_rewards`")
        message, _ = renderer.parse_response(trajectory.transitions[0].ac.tokens)
        replies.append(message)
    chosen = Settings.given(settings)
    return await _rewards(chosen, [chosen.rollout(prompt, [reply], facts(context, "context")) for reply in replies])


async def dialogue_rewards(
    dialogues: Sequence[Sequence[Any]], *, context: Mapping[str, Any] | str | None = None, **settings: Any
) -> list[tuple[float, dict[str, float]]]:
    """Returns the fused reward of each dialogue, as `group_rewards` does.

    `dialogues` are messages that end with the policy's last turn, such as those that a `MessageEnv` keeps. With
    `score="all"` every assistant turn is scored.
    """
    chosen = Settings.given(settings)
    rollouts = []
    for dialogue in dialogues:
        turns = list(dialogue)
        first = next((at for at, turn in enumerate(turns) if turn.get("role") == "assistant"), len(turns))
        rollouts.append(chosen.rollout(turns[:first], turns[first:], facts(context, "context")))
    return await _rewards(chosen, rollouts)


async def _rewards(chosen: Settings, rollouts: list[Rollout]) -> list[tuple[float, dict[str, float]]]:
    results = (await chosen.async_client().score(rollouts, deadline_ms=chosen.deadline_ms)).results
    rewards = chosen.numbers_only(results, "Tinker Cookbook")
    return [
        (reward, {f"guerdon/{name}": value for name, value in numbers(result).items()})
        for reward, result in zip(rewards, results, strict=True)
    ]
