#!/usr/bin/env python3
"""Guerdon beside a reward server of the usual shape, asked as OpenRLHF asks: one sample a request, 256 at a time.

    python3 scripts/bench_serve_rm.py ROLLOUTS.jsonl [COUNT] [CONCURRENCY]

The peer is a stand-in that has the shape of OpenRLHF's `serve_rm` (FastAPI and uvicorn; the handler tokenizes and runs the
model for its own request, on the event loop) around the same ONNX file on the same texts. Both speak `/get_reward` and get
ChatML. Their rewards are compared. Needs fastapi, uvicorn, aiohttp, onnxruntime, tokenizers, numpy, and the release build of
guerdon.
"""

import asyncio
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "e5-hh"
TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.S)
PEER, GUERDON = 8797, 8798

CONFIG = f"""
[server]
listen = "127.0.0.1:{GUERDON}"
[models.e5]
path = "{MODEL}"
[profiles.rm]
model = "e5"
"""


def chat_ml(messages):
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)


def peer():
    """Serves until it is killed."""
    import numpy
    import onnxruntime
    import uvicorn
    from fastapi import FastAPI, Request

    sys.path.insert(0, str(ROOT / "examples" / "reward-model"))
    from rm_text import encode, load_tokenizer

    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(str(MODEL / "model.onnx"), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    tokenizer = load_tokenizer(MODEL / "tokenizer.json")
    limit = tomllib.loads((MODEL / "guerdon.model.toml").read_text())["input"]["max_tokens"]
    app = FastAPI()

    def score(query):
        messages = [{"role": role, "content": content} for role, content in TURN.findall(query)]
        encoded = encode(tokenizer, messages, len(messages) - 1, limit)
        shape = (1, len(encoded.ids))
        feed = {"input_ids": numpy.array([encoded.ids], numpy.int64), "attention_mask": numpy.ones(shape, numpy.int64),
                "reply_mask": numpy.zeros(shape, numpy.int64)}
        feed["reply_mask"][0, encoded.reply[0] : encoded.reply[1]] = 1
        return float(session.run(None, {name: feed[name] for name in names})[0].reshape(-1)[0])

    @app.post("/get_reward")
    async def get_reward(request: Request):
        rewards = [score(query) for query in (await request.json())["query"]]
        return {"rewards": rewards, "scores": rewards, "extra_logs": {}}

    uvicorn.run(app, host="127.0.0.1", port=PEER, log_level="warning")


async def load(url, queries, concurrency):
    """-> (rewards, seconds in all, sorted latencies)"""
    import aiohttp

    slots = asyncio.Semaphore(concurrency)
    timeout = aiohttp.ClientTimeout(total=600)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def one(query):
            async with slots:
                started = time.perf_counter()
                body = {"query": [query], "prompts": [""], "labels": [None]}
                async with session.post(url, json=body) as reply:
                    reward = (await reply.json())["rewards"][0]
                return reward, time.perf_counter() - started

        await one(queries[0])
        started = time.perf_counter()
        answers = await asyncio.gather(*map(one, queries))
        took = time.perf_counter() - started
    return [reward for reward, _ in answers], took, sorted(latency for _, latency in answers)


def wait_for(port):
    import urllib.error
    import urllib.request

    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=1)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


def measure(name, command, port, path, queries, concurrency):
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        rewards, took, latencies = asyncio.run(load(f"http://127.0.0.1:{port}{path}", queries, concurrency))
    finally:
        server.terminate()
        server.wait(timeout=60)
    at = lambda share: latencies[min(len(latencies) * share // 100, len(latencies) - 1)] * 1e3
    speed = len(queries) / took
    print(f"{name}: {speed:.1f} rewards/s, p50 {at(50):.0f} ms, p99 {at(99):.0f} ms", flush=True)
    return rewards, speed


def main():
    file = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    concurrency = int(sys.argv[3]) if len(sys.argv) > 3 else 256
    with open(file, encoding="utf-8") as lines:
        queries = [chat_ml(json.loads(line)["messages"]) for line in lines][:count]
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "guerdon.toml"
        config.write_text(CONFIG)
        ours_command = [str(ROOT / "target" / "release" / "guerdon"), "serve", "--config", str(config)]
        peer_command = [sys.executable, __file__, "peer"]
        for _ in range(2):
            theirs, slow = measure("peer", peer_command, PEER, "/get_reward", queries, concurrency)
            ours, fast = measure("guerdon", ours_command, GUERDON, "/get_reward", queries, concurrency)
            apart = max(abs(a - b) for a, b in zip(ours, theirs))
            print(f"ratio {fast / slow:.2f}; the rewards are at most {apart:.1e} apart", flush=True)


peer() if sys.argv[1:] == ["peer"] else main()
