"""The worker of `guerdon.ray`, without Ray; scripts/test_ray.py runs it in Ray."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from scripted import FAST, Scripted

from guerdon import errors

pyarrow = pytest.importorskip("pyarrow")

from guerdon import ray  # noqa: E402

ROWS = [
    {"id": str(n), "messages": [{"role": "assistant", "content": str(n), "name": None}], "context": {"a": n, "b": None}}
    for n in range(3)
]


def scorer(**given):
    defaults = {"url": None, "config": None, "request": {}, "rollout": ray.rollout_of, "client": FAST}
    return ray.Scorer(**{**defaults, **given})


def test_a_row_is_a_rollout_without_the_nulls_of_the_table():
    row = pyarrow.Table.from_pylist([*ROWS, {"id": None, "messages": []}]).to_pylist()[0]
    expected = {"id": "0", "messages": [{"role": "assistant", "content": "0"}], "context": {"a": 0}}
    assert ray.rollout_of({**row, "other": 1}) == expected


def test_a_batch_gets_rewards_and_keeps_its_columns():
    table = pyarrow.Table.from_pylist(ROWS)
    with Scripted() as server:
        scored = scorer(url=server.url)(table)
    assert scored.column_names == [*table.column_names, *ray.COLUMNS]
    assert scored["reward"].to_pylist() == [0.0, 1.0, 2.0]
    assert scored["reward_error"].to_pylist() == scored["rm"].to_pylist() == [None] * 3
    with pytest.raises(errors.ConfigError, match="column `digest`"), Scripted() as server:
        scorer(url=server.url)(scored)


def test_settings_and_the_program_are_checked(monkeypatch, tmp_path):
    for given in ({}, {"url": "http://a", "config": "guerdon.toml"}):
        with pytest.raises(errors.ConfigError, match="either"):
            ray.score(None, **given)
    monkeypatch.delenv("GUERDON_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.ConfigError, match="GUERDON_BIN"):
        ray.program()
    monkeypatch.setenv("GUERDON_BIN", "/bin/false")
    with pytest.raises(errors.ConfigError, match="ended with status 1"):
        ray.Server("guerdon.toml")


CONFIG = '[profiles.p]\nrules = ["{rules}"]\n[profiles.p.fusion]\nmethod = "weighted_sum"\n'
ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def config(monkeypatch, tmp_path):
    monkeypatch.setenv("GUERDON_BIN", str(os.environ.get("GUERDON_BINARY", ROOT / "target/debug/guerdon")))
    path = tmp_path / "guerdon.toml"
    path.write_text(CONFIG.format(rules=ROOT / "rules"))
    return str(path)


def test_a_worker_starts_its_server_and_starts_it_again(config):
    worker = scorer(config=config)
    table = pyarrow.Table.from_pylist(ROWS)
    first = worker(table)
    assert None not in first["reward"].to_pylist() and first["digest"][0].as_py().startswith("sha256:")
    os.kill(worker._server.pid, signal.SIGKILL)
    assert worker(table)["reward"].to_pylist() == first["reward"].to_pylist()


def test_a_server_ends_with_a_worker_that_is_killed(config):
    code = "import sys, time; from guerdon import ray; s = ray.Server(sys.argv[1]); print(s.pid, flush=True); time.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", code, config], stdout=subprocess.PIPE, text=True)
    server = int(worker.stdout.readline())
    worker.kill()
    worker.wait()
    for _ in range(300):
        try:
            os.kill(server, 0)
        except ProcessLookupError:
            return
        if pathlib.Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the server outlived its worker")

