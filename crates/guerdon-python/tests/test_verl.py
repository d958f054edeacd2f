"""verl's own loader, managers and `DataProto`, where verl itself can be imported: its stack is too large for
every run."""

import asyncio

import numpy as np
import pytest
from conftest import ASKED, FACTS, LEAK, POLITE

pytest.importorskip("verl.protocol", reason="needs verl with torch, ray and tensordict", exc_type=ImportError)


class Tokenizer:
    """A fake tokenizer: a token is the code point of a character."""

    def decode(self, tokens, skip_special_tokens):
        return "".join(map(chr, tokens.tolist()))


def objects(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def trajectories(replies):
    import torch
    from verl import DataProto

    width, prompt = max(map(len, replies)) + 3, 4
    responses = torch.zeros(len(replies), width, dtype=torch.long)
    attention = torch.ones(len(replies), prompt + width, dtype=torch.long)
    for row, reply in enumerate(replies):
        responses[row, : len(reply)] = torch.tensor([ord(character) for character in reply])
        attention[row, prompt + len(reply) :] = 0
    tensors = {"prompts": torch.ones(len(replies), prompt, dtype=torch.long), "responses": responses}
    plain = {
        "raw_prompt": objects(*[ASKED] * len(replies)),
        "reward_model": objects(*[{"ground_truth": FACTS}] * len(replies)),
        "extra_info": objects(*[{"messages": ASKED} for _ in replies]),
        "data_source": objects(*["hotel"] * len(replies)),
    }
    return DataProto.from_dict(tensors={**tensors, "attention_mask": attention}, non_tensors=plain)


def test_the_function_and_the_manager_give_the_same_rewards(asking):
    from omegaconf import OmegaConf
    from verl.trainer.ppo.reward import load_reward_manager

    package = "pkg://guerdon.verl"
    function = {"path": package, "name": "compute_score", "reward_kwargs": {"profile": "hotel"}}
    manager = {
        "source": "importlib",
        "name": "GuerdonRewardManager",
        "module": {"path": package, "name": None},
    }
    choices = [
        {"custom_reward_function": function, "reward_manager": {"source": "register", "name": "naive"}},
        {"custom_reward_function": {"path": None, "name": None}, "reward_manager": manager},
    ]
    data = trajectories([POLITE, LEAK])

    async def run(choice):
        loaded = load_reward_manager(OmegaConf.create({"reward": choice}), Tokenizer())
        figures = await asyncio.gather(*(loaded.run_single(data[row : row + 1]) for row in range(2)))
        return figures, loaded.assemble_rm_scores(data, [each["reward_score"] for each in figures])

    (naive, _), (ours, scores) = [asyncio.run(run(choice)) for choice in choices]
    assert naive == ours
    assert [each["reward_extra_info"]["rules"] < 0 for each in ours] == [False, True]
    assert scores.sum(1).tolist() == pytest.approx([each["reward_score"] for each in ours])
