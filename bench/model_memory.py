#!/usr/bin/env python3
"""Memory and CPU time of a served reward model, for one or more builds or settings in one run.

    bench/run.sh memory MODEL ROLLOUTS.jsonl ROUNDS GUERDON[,KEY=VALUE...]...

Starts `guerdon serve` with the model, once for each setting in every round, and measures with Linux's /proc:

- resident memory when the server is ready, and after all rollouts were scored twice in one request
- CPU seconds until it is ready, and CPU milliseconds of a rollout in the request
- the median latency of 40 lone requests of one rollout each, and rollouts per second

KEY=VALUE are lines of the model's section, such as `instances=1`. The least value of the rounds is printed, of rollouts per
second the greatest, each with its ratio to the first setting. Scores are not cached.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) / 1024


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def score(url, rollouts):
    body = json.dumps({"rollouts": rollouts}).encode()
    request = urllib.request.Request(f"{url}/v1/score", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        results = json.load(reply)["results"]
    assert all(result.get("reward") is not None for result in results), results


def measure(setting, model, rollouts):
    binary, *keys = setting.split(",")
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "guerdon.toml"
        lines = ["[server]", 'listen = "127.0.0.1:0"', "[models.m]", f"path = {json.dumps(str(model))}", "cache = 0",
                 f"runtime = {json.dumps(str(ROOT / '.guerdon/onnxruntime'))}", *keys, "[profiles.p]", 'model = "m"']
        config.write_text("\n".join(lines) + "\n")
        server = subprocess.Popen([binary, "serve", "--config", config], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            url = next(found[0] for line in server.stdout if (found := re.search(r"http://[0-9.:]+", line)))
            time.sleep(1)
            found = {"MiB when ready": resident(server.pid), "CPU s until ready": cpu_seconds(server.pid)}
            latencies = []
            for rollout in (rollouts * 40)[:40]:
                started = time.perf_counter()
                score(url, [rollout])
                latencies.append(time.perf_counter() - started)
            found["ms of a lone request"] = statistics.median(latencies) * 1e3
            before, started = cpu_seconds(server.pid), time.perf_counter()
            for _ in range(2):
                score(url, rollouts)
            found["rollouts/s"] = 2 * len(rollouts) / (time.perf_counter() - started)
            found["CPU ms of a rollout"] = (cpu_seconds(server.pid) - before) / (2 * len(rollouts)) * 1e3
            found["MiB after rollouts"] = resident(server.pid)
            return found
        finally:
            server.kill()
            server.wait()


def main():
    model, rounds, settings = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[3]), sys.argv[4:]
    rollouts = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
    best = {}
    for _ in range(rounds):
        for setting in settings:
            for name, value in measure(setting, model, rollouts).items():
                choose = max if name == "rollouts/s" else min
                best[setting, name] = choose(value, best.get((setting, name), value))
    for name in dict.fromkeys(name for _, name in best):
        for setting in settings:
            value = best[setting, name]
            print(f"{name}, {setting}: {value:.2f}, {value / best[settings[0], name]:.2f} of the first")


main()
