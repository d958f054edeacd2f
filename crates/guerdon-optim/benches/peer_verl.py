"""Times one update in verl and in guerdon-optim, on the same inputs, in one run, and prints the ratio.

    pip install torch numpy omegaconf && pip download --no-deps verl==0.9.1 && unzip verl-0.9.1-*.whl -d verl_wheel
    python benches/peer_verl.py verl_wheel            # from crates/guerdon-optim; [--rounds 60] [--threads 1]

verl's trainer needs ray, transformers and a GPU; its algorithms do not. Only the files with the
arithmetic are loaded (core_algos, torch_functional, groupwise), with empty fakes for imports that these
functions never call. The batch is that of `cargo bench -p guerdon-optim`: 1024 rollouts of up to 512
tokens, f32, seed 22.
"""
import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import time
import types

import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve().parent


def load_verl(wheel: pathlib.Path):
    """core_algos of the unpacked wheel, without importing the package around it."""

    def stub(name, **members):
        module = types.ModuleType(name)
        module.__path__ = []
        module.__getattr__ = lambda attribute: type(attribute, (), {})
        module.__dict__.update(members)
        return place(name, module)

    def place(name, module):
        """Makes `import name` and `parent.name` find the module."""
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
        return module

    def load(name, path):
        spec = importlib.util.spec_from_file_location(name, wheel / path)
        module = place(name, importlib.util.module_from_spec(spec))
        spec.loader.exec_module(module)
        return module

    class Open(dict):
        """A configuration object that answers attributes and get()."""

        __getattr__ = dict.get

    passive = lambda *args, **kwargs: lambda wrapped: wrapped
    for name in ("verl", "verl.utils", "verl.trainer", "verl.trainer.ppo", "verl.workers"):
        stub(name)
    stub("verl.utils.device", get_device_name=lambda: "cpu", get_torch_device=lambda: torch)
    stub("verl.utils.import_utils", deprecated=passive)
    stub("verl.trainer.config", AlgoConfig=type("AlgoConfig", (), {}))
    stub("verl.workers.config", ActorConfig=type("ActorConfig", (Open,), {}))
    for absent in ("transformers", "tensordict", "omegaconf"):
        if importlib.util.find_spec(absent) is None:
            stub(absent)
    groupwise = load("verl.utils.groupwise", "verl/utils/groupwise.py")
    utils = sys.modules["verl.utils"]
    utils.as_torch_index, utils.group_mean_std = groupwise.as_torch_index, groupwise.group_mean_std
    load("verl.utils.torch_functional", "verl/utils/torch_functional.py")
    core = load("verl.trainer.ppo.core_algos", "verl/trainer/ppo/core_algos.py")
    return core, sys.modules["verl.workers.config"].ActorConfig


def mix(z):
    z = z ^ (z >> np.uint64(30))
    z = z * np.uint64(0xBF58476D1CE4E5B9)
    z = z ^ (z >> np.uint64(27))
    z = z * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed, stream, at):
    with np.errstate(over="ignore"):
        z = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(stream) * np.uint64(0xD1B54A32D192ED03)
        z = z + at * np.uint64(0x8CB92BA72F3D8DD7) + np.uint64(0x9E3779B97F4A7C15)
        return (mix(z) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed, stream, shape, mean, scale):
    at = np.arange(int(np.prod(shape)), dtype=np.uint64) * np.uint64(4)
    total = sum((uniform(seed, stream, at + np.uint64(k)) for k in range(1, 4)), uniform(seed, stream, at)) - 2.0
    return (mean + scale * total).astype(np.float32).reshape(shape)


def batch(seed=22, rows=1024, width=512, least=128):
    """The generator of tests/it/golden/inputs.rs, in NumPy."""
    lens = least + np.floor(uniform(seed, 1, np.arange(rows, dtype=np.uint64)) * (width - least + 1)).astype(np.int64)
    shape = (rows, width)
    logp = -np.abs(normal(seed, 2, shape, 0.0, 2.0))
    values = normal(seed, 6, shape, 0.1, 0.8)
    arrays = {
        "mask": (np.arange(width)[None] < lens[:, None]).astype(np.float32),
        "logp": logp,
        "old": logp + normal(seed, 3, shape, 0.0, 0.35),
        "ref": logp + normal(seed, 4, shape, 0.0, 0.5),
        "values": values,
        "new_values": values + normal(seed, 7, shape, 0.0, 0.6),
        "scores": normal(seed, 8, (rows,), 0.2, 1.5),
    }
    return lens, {name: torch.from_numpy(array) for name, array in arrays.items()}


def update(core, config, lens, data):
    """KL in reward, GAE, whitening, PPO with dual clip, clipped value loss; forward and backward."""
    mask = data["mask"]
    rewards = -0.05 * core.kl_penalty(data["old"], data["ref"], "k1") * mask
    rewards[torch.arange(len(lens)), torch.from_numpy(lens) - 1] += data["scores"]
    advantages, returns = core.compute_gae_advantage_return(rewards, data["values"], mask, 1.0, 0.95)
    logp = data["logp"].detach().requires_grad_()
    new_values = data["new_values"].detach().requires_grad_()
    loss, _ = core.compute_policy_loss_vanilla(data["old"], logp, advantages, mask, "token-mean", config)
    value_loss, _ = core.compute_value_loss(new_values, returns, data["values"], mask, 0.5, "token-mean")
    (loss + value_loss).backward()
    return loss.item(), value_loss.item()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("wheel", type=pathlib.Path, help="folder of the unpacked verl wheel")
    arguments.add_argument("--rounds", type=int, default=60)
    arguments.add_argument("--threads", type=int, default=1)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    core, actor_config = load_verl(options.wheel)
    config = actor_config(clip_ratio=0.2, clip_ratio_c=3.0, global_batch_info={})
    lens, data = batch()
    times = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        losses = update(core, config, lens, data)
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    theirs = (times[0], times[len(times) // 2])
    command = ["cargo", "bench", "--quiet", "-p", "guerdon-optim", "--bench", "update", "--", "--json"]
    ours = json.loads(subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {int(lens.sum())} tokens; ms, least and median")
    print(f"{'verl':<28}{theirs[0]:8.3f}{theirs[1]:8.3f}   losses {losses[0]:.6f} {losses[1]:.6f}")
    for run in (run for run in ours if run["threads"] == options.threads):
        for name, least, median in run["stages"]:
            print(f"{run['set'] + ', ' + name:<28}{least:8.3f}{median:8.3f}")
        _, least, median = run["stages"][-1]
        losses = f"losses {run['losses'][0]:.6f} {run['losses'][1]:.6f}"
        print(f"{run['set'] + ', verl / update':<28}{theirs[0] / least:8.1f}{theirs[1] / median:8.1f}   {losses}")


if __name__ == "__main__":
    main()
