"""Stand-ins for what the trainers bring and the tests do not install: named as such, and used where the real
one is missing.

Each has the interface that the trainer's source has at the version in `requirements-trainers.txt`; nothing
here is ever shipped.
"""

import importlib.util
import logging
import os
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
    """A fake torch whose tensors are NumPy arrays."""
    return module(
        "torch",
        Tensor=np.ndarray,
        tensor=lambda numbers, dtype=None: np.array(numbers, dtype=dtype),
        ones=lambda size, dtype=None: np.ones(size, dtype=dtype),
        float32=np.float32,
        bool=np.bool_,
    )


def swift(monkeypatch) -> types.ModuleType:
    """ms-swift's own `swift.rewards`, with a fake of the one name that it imports from the engine."""
    monkeypatch.setitem(sys.modules, "swift.infer_engine", module("swift.infer_engine", InferRequest=dict))
    import swift.rewards

    return swift.rewards


class RewardManagerBase:
    """A fake of verl's base class, whose own file needs torch."""

    def __init__(self, config, tokenizer, compute_score):
        self.config, self.tokenizer, self.compute_score = config, tokenizer, compute_score


def verl(monkeypatch) -> None:
    """verl's own import utilities, with a fake of the file with the base class."""
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
    """A fake tokenizer: a token is the code point of a character."""

    def decode(self, tokens, skip_special_tokens):
        return "".join(map(chr, tokens))


def trajectory(reply: str, prompt: list, label: object):
    """A fake of verl's `DataProto` with one trajectory, padded on the right."""
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
    """NeMo-RL's interfaces and registry, which are on no package index: its own files where NEMO_RL names a checkout,
    else a stand-in for the first. Ray, and what else they import, is stood in for."""
    from typing import NamedTuple

    class EnvironmentReturn(NamedTuple):
        observations: list
        metadata: list
        next_stop_strings: list
        rewards: object
        terminateds: object
        answers: list

    try:
        import torch as _real  # noqa: F401
    except ImportError:
        monkeypatch.setitem(sys.modules, "torch", torch())

    def known(name, **names):
        monkeypatch.setitem(sys.modules, name, module(name, **names))

    for name in ("nemo_rl", "nemo_rl.data", "nemo_rl.distributed", "nemo_rl.environments", "nemo_rl.utils", "hydra"):
        known(name)
    known("ray", remote=lambda kind: types.SimpleNamespace(options=lambda **_: types.SimpleNamespace(remote=kind)))
    known("hydra.utils", get_object=located)
    known("nemo_rl.data.interfaces", LLMMessageLogType=list)
    known("nemo_rl.distributed.batched_data_dict", BatchedDataDict=dict)
    known("nemo_rl.distributed.virtual_cluster", PY_EXECUTABLES=Executables)
    known("nemo_rl.utils.venvs", create_local_venv_on_each_node=None)
    known("nemo_rl.modelopt")
    known("nemo_rl.modelopt.registry", MODELOPT_ACTOR_REGISTRY={})
    checkout = os.environ.get("NEMO_RL")
    if checkout:
        own = ("distributed.ray_actor_environment_registry", "environments.interfaces", "environments.utils")
        for name in (f"nemo_rl.{each}" for each in own):
            monkeypatch.setitem(sys.modules, name, file(name, f"{checkout}/{name.replace('.', '/')}.py"))
    else:
        interfaces = {"EnvironmentInterface": object, "EnvironmentReturn": EnvironmentReturn}
        known("nemo_rl.environments.interfaces", **interfaces)


class Commands(type):
    """Accepts any name as a command."""

    def __getattr__(cls, name):
        return name


class Executables(metaclass=Commands):
    """A fake of the commands with which NeMo-RL starts its actors."""


def located(name: str):
    """A fake of Hydra's `get_object`."""
    holder, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(holder), attribute)


def areal(monkeypatch, checkout: str) -> types.ModuleType:
    """AReaL's own file with the wrapper around a reward function, from a checkout."""
    monkeypatch.setitem(sys.modules, "areal", module("areal"))
    monkeypatch.setitem(sys.modules, "areal.utils", module("areal.utils", logging=logging))
    return file("areal.api.reward_api", f"{checkout}/areal/api/reward_api.py")


def file(name: str, path: str) -> types.ModuleType:
    """Loads that file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
