"""Scores a dataset with Ray Data on this machine: the rewards of a plain `guerdon score`, with one worker and with two,
of which one is killed; and rows per second of each.

    python scripts/test_ray.py BINARY [ROWS]      ROWS defaults to 20000

Run by `make test-ray` in a virtual environment with Ray and the package `guerdon`.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pyarrow
import pyarrow.parquet
import ray

from guerdon.ray import score

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIG = """
[server]
listen = "127.0.0.1:0"
log = "warn"
[profiles.p]
rules = ["{root}/rules"]
[profiles.p.fusion]
method = "weighted_sum"
"""
TEXTS = [
    "Thank you. Could we meet at 420 for this weekend only?",
    "Our target price is 420, the work order says so.",
    "480 is too much for us. We can book three nights at 430.",
    "OK",
]


def rollouts(rows):
    """Rollouts of known texts. Every thousandth has no reply of the policy, so that it has no reward."""
    for n in range(rows):
        last = {"role": "user" if n % 1000 == 999 else "assistant", "content": f"{TEXTS[n % len(TEXTS)]} ({n})"}
        messages = [{"role": "user", "content": "480 is our best price."}, last]
        yield {"id": f"r{n}", "group": f"g{n // 8}", "messages": messages, "context": {"target_price": 420}}


def plain(binary, folder, table):
    """The rewards of `guerdon score`, and its seconds."""
    pyarrow.parquet.write_table(table, folder / "in.parquet", row_group_size=10_000)
    begun = time.monotonic()
    command = [binary, "score", "in.parquet", "--out", "out.jsonl", "--local", "--config", folder / "guerdon.toml"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    took = time.monotonic() - begun
    assert run.returncode in (0, 1), run.stderr  # 1: some rollouts have no reward
    results = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return {result["id"]: result["reward"] for result in results}, took


def servers(binary):
    """The servers of workers: processes that run `BINARY serve`."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [os.fsencode(binary), b"serve"]:
            found.append(int(path.parent.name))
    return found


def parent(process):
    return int(pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def scored(table, folder, workers, kill=None):
    """The rewards by Ray, and the seconds."""
    dataset = ray.data.from_arrow([table.slice(at, 500) for at in range(0, table.num_rows, 500)])
    begun = time.monotonic()
    rows = score(dataset, config=folder / "guerdon.toml", concurrency=workers, num_cpus=0.5, batch_size=500)
    if kill is not None:
        threading.Thread(target=kill, daemon=True).start()
    found = [row for batch in rows.iter_batches(batch_format="pyarrow") for row in batch.to_pylist()]
    took = time.monotonic() - begun
    rewards = {row["id"]: row["reward"] for row in found}
    assert len(found) == len(rewards) == table.num_rows, (len(found), len(rewards))
    assert all((row["reward"] is None) == (row["reward_error"] is not None) for row in found)
    assert len({row["digest"] for row in found}) == 1
    return rewards, took


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    os.environ["GUERDON_BIN"] = binary
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    table = pyarrow.Table.from_pylist(list(rollouts(rows)))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "guerdon.toml").write_text(CONFIG.format(root=ROOT))
        expected, took = plain(binary, folder, table)
        assert sum(reward is None for reward in expected.values()) == rows // 1000
        print(f"guerdon score: {rows / took:.0f} rows/s")
        for workers in (1, 2):
            rewards, took = scored(table, folder, workers)
            assert rewards == expected
            print(f"ray, {workers} worker(s): {rows / took:.0f} rows/s, with the start of the workers")

        killed = []

        def kill():
            """Kills a worker with its server, and then the server of another worker."""
            while len(servers(binary)) < 2:
                time.sleep(0.01)
            time.sleep(0.5)
            first, *_ = servers(binary)
            os.kill(parent(first), signal.SIGKILL)
            killed.append(first)
            while first in servers(binary):
                time.sleep(0.01)
            rest = servers(binary)
            if rest:
                os.kill(rest[0], signal.SIGKILL)
                killed.append(rest[0])

        rewards, took = scored(table, folder, 2, kill)
        assert killed, "no worker was killed before the end; give more ROWS"
        assert rewards == expected
        print(f"ray, 2 workers, {len(killed)} processes killed: {rows / took:.0f} rows/s, every row once, same rewards")
    ray.shutdown()
    for _ in range(100):
        if not servers(binary):
            break
        time.sleep(0.1)
    assert not servers(binary), "a server outlived its worker"
    print("ok")


if __name__ == "__main__":
    main()
