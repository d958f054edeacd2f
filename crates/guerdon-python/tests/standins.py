"""Stand-ins for what the trainers bring and the tests do not install: named as such, and used where the real
one is missing.

Each has the interface that the trainer's source has at the version in `requirements-trainers.txt`; nothing
here is ever shipped.
"""

import sys
import types

import numpy as np
from conftest import ROOT

sys.path.append(str(ROOT / "scripts/test_clients"))
from loading import bare_package  # noqa: E402


def module(name: str, **names) -> types.ModuleType:
    made = types.ModuleType(name)
    vars(made).update(names)
    return made


def torch() -> types.ModuleType:
    """A stand-in for torch: NumPy's arrays are tensors."""
    return module(
        "torch",
        tensor=lambda numbers, dtype=None: np.array(numbers, dtype=dtype),
        ones=lambda size, dtype=None: np.ones(size, dtype=dtype),
        float32=np.float32,
        bool=np.bool_,
    )


def swift(monkeypatch) -> types.ModuleType:
    """ms-swift's own `swift.rewards`; a stand-in for the one name that it has from the inference engine."""
    monkeypatch.setitem(sys.modules, "swift.infer_engine", module("swift.infer_engine", InferRequest=dict))
    import swift.rewards

    return swift.rewards


class RewardManagerBase:
    """A stand-in for verl's base class, whose own file needs torch."""

    def __init__(self, config, tokenizer, compute_score):
        self.config, self.tokenizer, self.compute_score = config, tokenizer, compute_score


def verl(monkeypatch) -> None:
    """verl's own import utilities beside a stand-in for the file with the base class."""
    for name in list(sys.modules):
        if name == "verl" or name.startswith("verl."):
            monkeypatch.delitem(sys.modules, name)
    bare_package("verl")
    bare_package("verl.utils")
    base = "verl.experimental.reward_loop.reward_manager.base"
    monkeypatch.setitem(sys.modules, base, module(base, RewardManagerBase=RewardManagerBase))
    for parent in (
        "verl.experimental",
        "verl.experimental.reward_loop",
        "verl.experimental.reward_loop.reward_manager",
    ):
        monkeypatch.setitem(sys.modules, parent, module(parent))


class Tokenizer:
    """A stand-in for a tokenizer: a token is a character's number."""

    def decode(self, tokens, skip_special_tokens):
        return "".join(map(chr, tokens))


def trajectory(reply: str, prompt: list, label: object):
    """A stand-in for verl's `DataProto` of one trajectory, padded on the right."""
    tokens = np.array([*map(ord, reply), 0, 0])
    attention = np.concatenate([np.ones(3), np.ones(len(reply)), np.zeros(2)])
    item = types.SimpleNamespace(
        batch={"responses": tokens, "attention_mask": attention},
        non_tensor_batch={
            "raw_prompt": np.array(prompt, dtype=object),
            "reward_model": {"ground_truth": label},
        },
    )
    return [item]


def nemo_rl(monkeypatch) -> None:
    """A stand-in for NeMo-RL's interfaces, which are on no package index."""
    from typing import NamedTuple

    class EnvironmentReturn(NamedTuple):
        observations: list
        metadata: list
        next_stop_strings: list
        rewards: object
        terminateds: object
        answers: list

    interfaces = module(
        "nemo_rl.environments.interfaces", EnvironmentInterface=object, EnvironmentReturn=EnvironmentReturn
    )
    monkeypatch.setitem(sys.modules, "nemo_rl", module("nemo_rl"))
    monkeypatch.setitem(sys.modules, "nemo_rl.environments", module("nemo_rl.environments"))
    monkeypatch.setitem(sys.modules, "nemo_rl.environments.interfaces", interfaces)
    try:
        import torch as _real  # noqa: F401
    except ImportError:
        monkeypatch.setitem(sys.modules, "torch", torch())
