#!/usr/bin/env python3
"""Compares guerdon with text-embeddings-inference (TEI): one model over HTTP on all cores, one server after the other.

    bench/run.sh tei TEI GUERDON FOLDER ROLLOUTS.jsonl [COUNT] [ROUNDS]

TEI and GUERDON are binaries. FOLDER is made by `bench/run.sh transformers`. TEI loads the configuration and tokenizer of
FOLDER/checkpoint with the graph of FOLDER/model; guerdon loads FOLDER/model. Both use the same ONNX Runtime
(ORT_DYLIB_PATH, or the one in .guerdon). The texts are the first COUNT (1024) distinct rollouts whose last turn fits the
model; earlier turns that do not fit are dropped beforehand, so that TEI gets exactly the text that guerdon renders.
Guerdon's score cache is off, and TEI's limits are raised. `taskset -c 0` in front gives both one core. Needs `tokenizers`.

TEI's CPU build with ONNX Runtime is one command in a clone (measured: 1.9.3 at 0d124dc):

    cargo build --release -p text-embeddings-router --no-default-features --features http,ort

If only crates.io can be reached, first remove everything that names a git repository: the workspace members
`backends/candle`, `backends/python` and `backends/grpc-client` with the dependencies and features that name them,
`[patch.crates-io]`, and the development dependency `insta`. In backends/ort/Cargo.toml replace the features
`download-binaries` and `onednn` by `load-dynamic`.
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples" / "reward-model"))
from rm_text import load_tokenizer, render

PORTS = {"guerdon": 8795, "TEI": 8796}
LIBRARY = os.environ.get("ORT_DYLIB_PATH", str(ROOT / ".guerdon/onnxruntime/libonnxruntime.so"))
CONNECTIONS = 256
CONFIG = """
[server]
listen = "127.0.0.1:{port}"
[models.rm]
path = "{model}"
cache = 0
[profiles.rm]
model = "rm"
"""


def windows(model, file, count):
    """Returns `count` tuples (tokens, messages, text), where the text is the part of a rollout that fits the model."""
    limit = tomllib.loads((model / "guerdon.model.toml").read_text())["input"]["max_tokens"]
    tokenizer = load_tokenizer(model / "tokenizer.json")
    found = {}
    for line in open(file, encoding="utf-8"):
        messages = json.loads(line)["messages"]
        for start in range(len(messages)):
            text = render(messages[start:])
            tokens = len(tokenizer.encode(text).ids)
            if tokens <= limit:
                found[text] = (tokens, messages[start:], text)
                break
        if len(found) == count:
            return list(found.values())
    sys.exit(f"{file} has only {len(found)} distinct rollouts that fit, not {count}")


class Server:
    """Process and client of one server. Both servers map a list of texts to a list of scores."""

    def __init__(self, name, command, folder):
        self.name, self.local = name, threading.local()
        self.log = folder / f"{name}.log"
        environment = os.environ | {"ORT_DYLIB_PATH": LIBRARY}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=folder)

    def ask(self, method, path, body=None):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection("127.0.0.1", PORTS[self.name], timeout=600)
        self.local.connection.request(method, path, body, {"content-type": "application/json"})
        reply = self.local.connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise ConnectionError(f"{self.name} answers {reply.status}: {text[:500]}")
        return json.loads(text) if body else None

    def scores(self, items):
        if self.name == "TEI":
            body = {"inputs": [[text] for _, _, text in items], "raw_scores": True, "truncate": False}
            return [labels[0]["score"] for labels in self.ask("POST", "/predict", json.dumps(body))]
        body = {"rollouts": [{"messages": messages} for _, messages, _ in items]}
        return [result["reward"] for result in self.ask("POST", "/v1/score", json.dumps(body))["results"]]

    def wait(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                return self.ask("GET", "/health")
            self.local = threading.local()
            time.sleep(0.1)
        sys.exit(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")

    def cpu(self):
        """Returns the CPU seconds used so far; on a shared machine they are steadier than the wall clock."""
        spent = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


def bulk(server, items):
    """Sends one request. Returns scores, rollouts per second and latencies."""
    started = time.perf_counter()
    scores = server.scores(items)
    took = time.perf_counter() - started
    return scores, len(items) / took, [took]


def singles(server, items):
    """Sends one request per text, `CONNECTIONS` at a time. Returns the same as `bulk`."""

    def one(item):
        started = time.perf_counter()
        [score] = server.scores([item])
        return score, time.perf_counter() - started

    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        started = time.perf_counter()
        answers = list(pool.map(one, items))
        took = time.perf_counter() - started
    return [score for score, _ in answers], len(items) / took, sorted(latency for _, latency in answers)


def measure(server, items, plans):
    """Returns rollouts per second by plan, and the scores in the order of `items`."""
    server.wait()
    bulk(server, items[-32:])  # warm-up
    speeds = {}
    for plan, how, sort in plans:
        order = sorted(range(len(items)), key=lambda i: items[i][0]) if sort else range(len(items))
        before = server.cpu()
        unsorted, speed, latencies = how(server, [items[i] for i in order])
        spent = server.cpu() - before
        scores = [score for _, score in sorted(zip(order, unsorted))]
        at = lambda share: latencies[min(len(latencies) * share // 100, len(latencies) - 1)]
        print(f"{server.name}, {plan}: {speed:.1f} rollouts/s, p50 {at(50):.2f} s, p99 {at(99):.2f} s, {spent:.1f} s of CPU", flush=True)
        speeds[plan] = speed
    return speeds, scores


def main():
    tei, guerdon, folder = (pathlib.Path(path).resolve() for path in sys.argv[1:4])
    count, rounds = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((5, 1024), (6, 2)))
    items = windows(folder / "model", sys.argv[4], count)
    print(f"{count} rollouts, {sum(tokens for tokens, _, _ in items)} tokens; load {os.getloadavg()[0]:.2f}", flush=True)
    both = [("one request", bulk, False), (f"{CONNECTIONS} at a time", singles, False)]
    sorted_first = ("one request, sorted by the client", bulk, True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for name, source in (("config.json", "checkpoint"), ("tokenizer.json", "checkpoint"), ("model.onnx", "model")):
            (scratch / name).symlink_to(folder / source / name)
        config = scratch / "guerdon.toml"
        config.write_text(CONFIG.format(port=PORTS["guerdon"], model=folder / "model"))
        limits = ["--max-client-batch-size", str(count), "--max-concurrent-requests", "4096", "--payload-limit", "100000000"]
        commands = {"guerdon": [guerdon, "serve", "--config", config],
                    "TEI": [tei, "--model-id", scratch, "--hostname", "127.0.0.1", "--port", str(PORTS["TEI"]), *limits]}
        for _ in range(rounds):
            speeds, scores = {}, {}
            for name, command in commands.items():
                server = Server(name, command, scratch)
                try:
                    speeds[name], scores[name] = measure(server, items, both if name == "guerdon" else [*both, sorted_first])
                finally:
                    server.stop()
            for plan, theirs in speeds["TEI"].items():
                ours = speeds["guerdon"].get(plan) or speeds["guerdon"]["one request"]
                print(f"{plan}: guerdon {ours / theirs:.2f} times TEI")
            apart = max(abs(a - b) for a, b in zip(scores["guerdon"], scores["TEI"]))
            print(f"scores at most {apart:.1e} apart; load {os.getloadavg()[0]:.2f}", flush=True)


main()
