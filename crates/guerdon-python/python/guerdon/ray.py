"""Ray Data: scores a dataset of any size with a pool of workers.

>>> import ray
>>> from guerdon.ray import score
>>> rollouts = ray.data.read_parquet("s3://bucket/rollouts/")  # doctest: +SKIP
>>> score(rollouts, config="guerdon.toml", concurrency=8).write_parquet("s3://bucket/rewards/")  # doctest: +SKIP

With `config`, each worker starts a server of its own, the program `guerdon` of `GUERDON_BIN` or of the path, on a port
of its machine. With `url`, the workers ask servers that run already. Ray starts a killed worker again and scores its
batch once more; a server ends with its worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guerdon.client import Client
from guerdon.errors import ConfigError, TransportError
from guerdon.scored import PARTS, mean_part
from guerdon.wire import Result, Rollout

COLUMNS = ("reward", "reward_error", *PARTS, "digest")
"""The columns that `score` adds: the reward and its parts (null if there is none), the reason of a missing reward, and
the digest of the configuration."""

_FIELDS = ("id", "group", "messages", "context", "tools", "score", "profile")
_LISTENS = re.compile(r"https?://\S+:\d+")


def score(
    dataset: Any,
    *,
    url: str | Sequence[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    profile: str | None = None,
    sources: Sequence[str] | None = None,
    fusion: Mapping[str, Any] | None = None,
    rollout: Callable[[dict[str, Any]], Rollout] | None = None,
    batch_size: int = 512,
    concurrency: int | tuple[int, int] = 2,
    num_cpus: float = 1,
    client: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Returns the dataset with the columns of `COLUMNS`; nothing is scored before it is read.

    - `dataset`: a `ray.data.Dataset` whose rows are rollouts in the wire format, or anything that `rollout` reads
    - `url`: servers that run already, as for `guerdon.Client`; `GUERDON_KEY` is their token
    - `config`: the configuration of the servers that the workers start, if there is no `url`. The path is read on every
      machine of the cluster
    - `profile`, `sources`, `fusion`: as for `guerdon.Client.score`
    - `rollout`: makes a rollout of a row; by default the row's columns with the names of a rollout's fields
    - `batch_size`: rows of one call
    - `concurrency`: workers, or their least and greatest number
    - `num_cpus`: the processor cores that Ray reserves for a worker and its server
    - `client`: settings of the client, such as `{"timeout": 600}`
    - `options`: further arguments of `Dataset.map_batches`

    A row whose rollout cannot be scored has a null reward, and the reason in `reward_error`. If no server answers within
    the client's timeout, the batch fails, and Ray's own rules for failed tasks apply.
    """
    if (url is None) == (config is None):
        raise ConfigError("give either `url`, servers that run, or `config`, for servers that the workers start")
    path = None if config is None else str(pathlib.Path(config).resolve())
    given = {"profile": profile, "sources": sources and list(sources), "fusion": fusion and dict(fusion)}
    least, most = (concurrency, concurrency) if isinstance(concurrency, int) else concurrency
    from ray.data import ActorPoolStrategy

    return dataset.map_batches(
        Scorer,
        fn_constructor_kwargs={
            "url": url,
            "config": path,
            "request": {name: value for name, value in given.items() if value is not None},
            "rollout": rollout or rollout_of,
            "client": dict(client or {}),
        },
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=num_cpus,
        **options,
    )


def rollout_of(row: Mapping[str, Any]) -> Rollout:
    """Makes a rollout of the columns that have the names of a rollout's fields. Nulls, which a table has where a row
    has no value, are left out."""
    fields: Any = {name: row[name] for name in _FIELDS if row.get(name) is not None}
    if isinstance(fields.get("context"), Mapping):
        fields["context"] = {name: value for name, value in fields["context"].items() if value is not None}
    fields["messages"] = [
        {name: value for name, value in message.items() if value is not None} for message in row["messages"]
    ]
    rollout: Rollout = fields
    return rollout


class Scorer:
    """One worker: a client, and with `config` a server that it started."""

    def __init__(
        self,
        *,
        url: str | Sequence[str] | None,
        config: str | None,
        request: Mapping[str, Any],
        rollout: Callable[[dict[str, Any]], Rollout],
        client: Mapping[str, Any],
    ) -> None:
        self._config, self._request, self._rollout, self._settings = config, request, rollout, client
        self._server: Server | None = None
        self._client = None if url is None else Client(url, **{"key": os.environ.get("GUERDON_KEY"), **client})

    def __call__(self, batch: Any) -> Any:
        """Scores a batch, a `pyarrow.Table`, and returns it with the columns of `COLUMNS`."""
        import pyarrow

        taken = sorted(set(COLUMNS) & set(batch.column_names))
        if taken:
            raise ConfigError(f"the dataset has a column `{taken[0]}`, which the rewards would replace; rename it")
        rollouts = [self._rollout(row) for row in batch.to_pylist()]
        scored = self._score(rollouts)
        digests = [version.get("digest") for version in scored.versions]
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for result, version in zip(scored.results, scored.version_of, strict=True):
            columns["reward"].append(result["reward"])
            columns["reward_error"].append(_reason(result))
            columns["digest"].append(digests[version])
            for part in PARTS:
                value = mean_part(result, part)
                columns[part].append(None if math.isnan(value) else value)
        for name, values in columns.items():
            kind = pyarrow.string() if name in ("reward_error", "digest") else pyarrow.float64()
            batch = batch.append_column(name, pyarrow.array(values, kind))
        return batch

    def _score(self, rollouts: list[Rollout]) -> Any:
        if self._config is None:
            assert self._client is not None
            return self._client.score(rollouts, **self._request)
        if self._server is None or not self._server.runs():
            self._restart()
        assert self._client is not None
        try:
            return self._client.score(rollouts, **self._request)
        except TransportError:
            # A server that ended is started again, once for each batch.
            if self._server is not None and self._server.runs():
                raise
            self._restart()
            return self._client.score(rollouts, **self._request)

    def _restart(self) -> None:
        assert self._config is not None
        self._server = _started(self._config)
        # A short time: the server of this worker is up, or it has ended.
        self._client = Client(self._server.url, **{"retries": 5, **self._settings})


def _reason(result: Result) -> str | None:
    if result["reward"] is not None:
        return None
    problem = result.get("error")
    return problem["detail"] if problem else "the server gave no reason"


class Server:
    """A server that this process started. It ends with the process, also if that is killed."""

    def __init__(self, config: str) -> None:
        """Starts a server and waits until it listens.

        Raises `ConfigError` if there is no program, or if the server ends before it listens.
        """
        self._command = [program(), "serve", "--config", config, "--listen", "127.0.0.1:0"]
        self._started: queue.SimpleQueue[subprocess.Popen[str] | OSError] = queue.SimpleQueue()
        self._found: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # The signal at the end of the parent is one at the end of the thread that starts the server, so that this
        # thread lives as long as the server.
        threading.Thread(target=self._run, daemon=True).start()
        started = self._started.get()
        if isinstance(started, OSError):
            raise ConfigError(f"cannot run {self._command[0]}: {started}")
        self._process = started
        url = self._found.get()
        if url is None:
            code = self._process.wait()
            kind = _Killed if code < 0 else ConfigError
            raise kind(
                f"`{' '.join(self._command)}` ended with status {code} before it listened; its log has the reason"
            )
        self.url = url
        """The address of the server."""

    def _run(self) -> None:
        """Starts the server, and reads its output to the end: a full pipe would block it."""
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=_ends_with_parent,
            )
        except OSError as error:
            self._started.put(error)
            return
        self._started.put(process)
        with contextlib.suppress(ValueError):
            for line in process.stdout or ():
                found = _LISTENS.search(line)
                if found:
                    self._found.put(found.group())
        self._found.put(None)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def runs(self) -> bool:
        """Reports whether the process runs."""
        return self._process.poll() is None

    def __del__(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            process.terminate()


class _Killed(ConfigError):
    """A server that a signal ended before it listened, as when a machine has no memory left."""


def _started(config: str, starts: int = 3) -> Server:
    """Starts a server. One that is killed meanwhile is started again."""
    for _ in range(starts - 1):
        with contextlib.suppress(_Killed):
            return Server(config)
    return Server(config)


def program() -> str:
    """Returns the path of the program: `GUERDON_BIN`, or `guerdon` of the path.

    Raises `ConfigError` if there is none.
    """
    found = os.environ.get("GUERDON_BIN") or shutil.which("guerdon")
    if found and os.access(found, os.X_OK):
        return found
    raise ConfigError("there is no program `guerdon`: install 'guerdon[server]', or set GUERDON_BIN to its path")


def _ends_with_parent() -> None:
    """Linux: the child gets SIGTERM when the parent ends, also if that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
