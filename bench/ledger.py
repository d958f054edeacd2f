"""Measures scoring with and without the ledger: `bench/run.sh ledger GUERDON [rules|model] [FULL]`.

One release binary serves with `[ledger]` and without it in turn, and four connections post batches of 32 rollouts for some
seconds each. `rules` has the shipped packs alone, `model` also the bundled reward model, with replies that are not in its
cache. FULL is `drop` (default) or `wait`. ROUNDS (3) and SECONDS_EACH (8) in the environment change the length. Prints rollouts
per second of each round, what the ledger wrote and dropped, and the ratio of the sums.
"""

import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCH = 32
CONNECTIONS = 4


def main() -> None:
    binary = pathlib.Path(sys.argv[1]).resolve()
    kind = sys.argv[2] if len(sys.argv) > 2 else "rules"
    full = sys.argv[3] if len(sys.argv) > 3 else "drop"
    rounds, seconds = int(os.environ.get("ROUNDS", "3")), float(os.environ.get("SECONDS_EACH", "8"))
    model = f'[models.e5]\npath = "{ROOT}/models/e5-hh"\nruntime = "{ROOT}/.guerdon/onnxruntime"\n' if kind == "model" else ""
    profile = 'model = "e5"\n' if kind == "model" else ""
    method = "repo" if kind == "model" else "weighted_sum"
    base = f'{model}[profiles.light]\n{profile}rules = ["{ROOT}/rules"]\n[profiles.light.fusion]\nmethod = "{method}"\n'
    sums = {"off": 0.0, "on": 0.0}
    for round_ in range(rounds):
        for name in ("off", "on") if round_ % 2 == 0 else ("on", "off"):
            with tempfile.TemporaryDirectory() as folder:
                ledger = f'[ledger]\npath = "{folder}/ledger.sqlite"\nfull = "{full}"\n' if name == "on" else ""
                rate, written, dropped = measure(binary, pathlib.Path(folder), ledger + base, seconds)
            sums[name] += rate
            rows = f"  written {written:.0f}, dropped {dropped:.0f}" if name == "on" else ""
            print(f"ledger {name:<3}  {rate:8.0f} rollouts/s{rows}", flush=True)
    print(f"{kind}, full = {full}: ratio of the sums {sums['on'] / sums['off']:.3f}")


def measure(binary: pathlib.Path, folder: pathlib.Path, config: str, seconds: float) -> tuple[float, float, float]:
    (folder / "guerdon.toml").write_text(config)
    command = [binary, "serve", "--listen", "127.0.0.1:0"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = next(found.group(1) for line in server.stdout if (found := re.search(r"http://(127\.0\.0\.1:\d+)", line)))
        threading.Thread(target=server.stdout.read, daemon=True).start()
        counts = [0] * CONNECTIONS
        # The first second is not counted.
        start = time.monotonic() + 1.0
        clients = [
            threading.Thread(target=post, args=(address, number, counts, start, start + seconds)) for number in range(CONNECTIONS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        metrics = read(address)
        return sum(counts) / seconds, metrics("guerdon_ledger_rows_total"), metrics("guerdon_ledger_dropped_total")
    finally:
        server.terminate()
        server.wait()


def post(address: str, number: int, counts: list[int], start: float, end: float) -> None:
    connection = http.client.HTTPConnection(address, timeout=60)
    step = 0
    while (now := time.monotonic()) < end:
        step += 1
        body = json.dumps({"rollouts": [rollout(number, step, sample) for sample in range(BATCH)], "run": "bench", "step": step})
        connection.request("POST", "/v1/score", body, {"content-type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        if reply.status != 200:
            sys.exit(f"status {reply.status}")
        if now >= start:
            counts[number] += BATCH


def rollout(number: int, step: int, sample: int) -> dict:
    reply = f"I can offer {400 + sample} yuan with breakfast, and you may cancel until day {number}-{step}."
    dialogue = [
        {"role": "user", "content": "Could I have the room for 420 yuan? " * 5},
        {"role": "assistant", "content": "Let me look. " * 10},
        {"role": "user", "content": "Thank you, we would be four people for three nights."},
        {"role": "assistant", "content": reply},
    ]
    facts = {"target_price": 420, "language": "en", "sop_stage": "negotiate"}
    return {"id": f"{number}-{step}-{sample}", "group": f"{number}-{step}-{sample // 8}", "messages": dialogue, "context": facts}


def read(address: str):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()

    def value(name: str) -> float:
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    return value


if __name__ == "__main__":
    main()
