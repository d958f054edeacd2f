"""verl: a reward function, and a reward manager that has access to the prompt.

    reward.custom_reward_function.path=pkg://guerdon.verl reward.custom_reward_function.name=compute_score

or

    reward.reward_manager.source=importlib reward.reward_manager.name=GuerdonRewardManager
    reward.reward_manager.module.path=pkg://guerdon.verl

The settings are those of `guerdon.hook.Settings`. The function takes them from
`reward.custom_reward_function.reward_kwargs`, the manager from the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from guerdon.errors import ConfigError
from guerdon.hook import Settings, facts, numbers
from guerdon.wire import Result, Rollout

_VERLS = ("reward_", "sandbox_", "model_")
"""The beginnings of names that verl's managers pass, such as the address of its reward model."""


async def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any], **settings: Any
) -> dict[str, float]:
    """Returns the reward as `score`, and every part. verl awaits it concurrently with other rewards.

    The dialogue so far is `extra_info["messages"]`, because verl passes no prompt. `ground_truth` is facts.
    """
    chosen, rollout = _request(solution_str, ground_truth, extra_info, settings)
    scored = await chosen.async_client().score([rollout], deadline_ms=chosen.deadline_ms)
    return _reward_dict(chosen, scored.results)


def compute_score_sync(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any], **settings: Any
) -> dict[str, float]:
    """The blocking form of `compute_score`, for managers that take no async function, such as `remote`."""
    chosen, rollout = _request(solution_str, ground_truth, extra_info, settings)
    return _reward_dict(chosen, chosen.client().score([rollout], deadline_ms=chosen.deadline_ms).results)


def _request(
    reply: str, ground_truth: Any, extra_info: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[Settings, Rollout]:
    chosen = Settings.given({name: value for name, value in settings.items() if not name.startswith(_VERLS)})
    if extra_info.get("messages") is None:
        raise ConfigError(
            "extra_info has no `messages`: verl passes no prompt, so put the dialogue there in the dataset, "
            "or use GuerdonRewardManager, which reads the prompt itself"
        )
    return chosen, chosen.rollout(extra_info["messages"], reply, facts(ground_truth, "ground_truth"))


def _reward_dict(settings: Settings, results: list[Result]) -> dict[str, float]:
    # A single None would make verl drop the rewards of the whole batch silently.
    (reward,) = settings.numbers_only(results, "verl")
    return {"score": reward, **numbers(results[0])}


@cache
def _manager() -> type:
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

    class GuerdonRewardManager(RewardManagerBase):  # type: ignore[misc, unused-ignore]
        """A reward manager that sends the prompt's messages with the reply."""

        def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
            super().__init__(config, tokenizer, compute_score)
            self.settings = Settings()

        async def run_single(self, data: Any) -> dict[str, Any]:
            """Returns the reward of one trajectory, by its last sequence, and every part."""
            item = data[-1:][0]
            tokens = item.batch["responses"]
            length = int(item.batch["attention_mask"][-tokens.shape[-1] :].sum())
            # Decoding is fast enough to block the loop, and a tokenizer is not safe to share with a thread.
            reply = self.tokenizer.decode(tokens[:length], skip_special_tokens=True)
            plain = item.non_tensor_batch
            label = (plain.get("reward_model") or {}).get("ground_truth")
            rollout = self.settings.rollout(list(plain["raw_prompt"]), reply, facts(label, "ground_truth"))
            scored = await self.settings.async_client().score(
                [rollout], deadline_ms=self.settings.deadline_ms
            )
            figures = _reward_dict(self.settings, scored.results)
            return {"reward_score": figures["score"], "reward_extra_info": figures}

    return GuerdonRewardManager


def __getattr__(name: str) -> Any:
    if name == "GuerdonRewardManager":
        return _manager()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
