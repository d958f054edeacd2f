"""Reward functions of your own: `guerdon.source` turns a function or a class into one that a server can ask.

>>> import guerdon
>>> @guerdon.source
... def brevity(turn):
...     return -len(turn.content) / 100
>>> brevity.name
'brevity'

A function gets a `SourceTurn` and returns a number, a `SourceResult`, or an `Abstain` with a reason. It may be `async`,
take a list of turns (`batched=True`), or be a class whose objects are called. `guerdon.serve_source` or
`python -m guerdon.source FILE:FUNCTION` serves it, and a profile of the server names it:

    [profiles.hotel.sources.brevity]
    kind = "http"
    url = "http://127.0.0.1:9001/score"
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import inspect
import math
import pathlib
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, overload

from guerdon.errors import ConfigError

__all__ = ["Abstain", "Source", "SourceResult", "SourceTurn", "load_source", "source"]


@dataclass(frozen=True)
class SourceTurn:
    """One turn that a source is asked about."""

    messages: Sequence[Mapping[str, Any]]
    """The dialogue up to the turn, which is its last message."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """The facts of the rollout."""
    tools: Sequence[Mapping[str, Any]] = ()
    """The definitions of the tools that the policy has."""
    rollout: str | None = None
    """The id of the rollout."""
    group: str | None = None
    """The group of the rollout."""
    id: str = ""
    """The hash of the turn's content: equal turns have equal ids."""

    @property
    def content(self) -> str:
        """The text of the turn; empty if it only calls tools."""
        return self.messages[-1].get("content") or ""

    @property
    def tool_calls(self) -> Sequence[Mapping[str, Any]]:
        """The tool calls of the turn, in OpenAI's form."""
        return self.messages[-1].get("tool_calls") or ()

    @property
    def prompt(self) -> Sequence[Mapping[str, Any]]:
        """The dialogue before the turn."""
        return self.messages[:-1]


@dataclass(frozen=True)
class SourceResult:
    """A number about a turn, with an explanation."""

    value: float
    """The number, in the source's own units. It is finite."""
    components: Mapping[str, float] = field(default_factory=dict)
    """The numbers that the value is made of, by name."""
    spans: Sequence[tuple[int, int]] = ()
    """Half-open ranges of characters in the turn's content."""
    veto: bool = False
    """True to forbid a reward above the floor."""
    detail: Any = None
    """Anything else that JSON can hold."""


class Abstain(Exception):
    """The reason why there is no number about a turn. It may be returned or raised."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Source:
    """A reward function that can be served. `guerdon.source` makes it."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        version: str | None = None,
        batched: bool = False,
        concurrency: int | None = None,
    ) -> None:
        """Sets up the source.

        - `function`: the function, or a class, whose object is made when the first turn is asked
        - `name`: for messages; by default the function's own
        - `version`: changes when the function does; by default a hash of the file that defines it. A change of a module
          that the file imports, or of data, needs a version of your own.
        - `batched`: set if the function takes a list of turns and returns a list of results
        - `concurrency`: the most turns (or batches) at the same time; by default 1, and 64 for an async function
        """
        self.name = str(name or getattr(function, "__name__", type(function).__name__))
        self.version: str = version or _hash_of(function)
        self.batched = batched
        self._function = function
        self._object: Callable[..., Any] | None = None if inspect.isclass(function) else function
        called = (function, getattr(function, "__call__", None))
        self.is_async: bool = any(map(inspect.iscoroutinefunction, called))
        if concurrency is not None and concurrency < 1:
            raise ConfigError(f"concurrency is {concurrency}; it is at least 1")
        self.concurrency: int = concurrency or (64 if self.is_async else 1)
        self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix=f"source-{self.name}")
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places: asyncio.Semaphore | None = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Calls the function itself; a decorated class makes its object first."""
        return self._callable()(*arguments, **named)

    def results(self, turns: Sequence[SourceTurn]) -> list[dict[str, Any]]:
        """Returns one result for each turn, as the server reads them. A failure is the result of its turn."""
        if not turns:
            return []
        if self.is_async:
            return asyncio.run_coroutine_threadsafe(self._gather(turns), self._own_loop()).result()
        if self.batched:
            return self._pool.submit(self._batch, turns).result()
        return list(self._pool.map(self._one, turns))

    def _callable(self) -> Callable[..., Any]:
        with self._lock:
            if self._object is None:
                self._object = self._function()
            return self._object

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        # One loop for all requests: the function's own clients and locks belong to it.
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name=f"source-{self.name}", daemon=True).start()
            return self._loop

    def _one(self, turn: SourceTurn) -> dict[str, Any]:
        try:
            return _written(self._callable()(turn))
        except Abstain as abstain:
            return {"abstain": abstain.reason}
        except Exception as error:
            return _failure(error)

    def _batch(self, turns: Sequence[SourceTurn]) -> list[dict[str, Any]]:
        try:
            return _each(self._callable()(list(turns)), len(turns))
        except Abstain as abstain:
            return [{"abstain": abstain.reason}] * len(turns)
        except Exception as error:
            return [_failure(error)] * len(turns)

    async def _gather(self, turns: Sequence[SourceTurn]) -> list[dict[str, Any]]:
        function = self._callable()
        if self.batched:
            try:
                return _each(await function(list(turns)), len(turns))
            except Abstain as abstain:
                return [{"abstain": abstain.reason}] * len(turns)
            except Exception as error:
                return [_failure(error)] * len(turns)
        places = self._places = self._places or asyncio.Semaphore(self.concurrency)

        async def one(turn: SourceTurn) -> dict[str, Any]:
            async with places:
                try:
                    return _written(await function(turn))
                except Abstain as abstain:
                    return {"abstain": abstain.reason}
                except Exception as error:
                    return _failure(error)

        return list(await asyncio.gather(*map(one, turns)))


@overload
def source(function: Callable[..., Any], /) -> Source: ...
@overload
def source(
    *,
    name: str | None = None,
    version: str | None = None,
    batched: bool = False,
    concurrency: int | None = None,
) -> Callable[[Callable[..., Any]], Source]: ...
def source(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Turns a function, an async function, or a class into a `Source`. The settings are those of `Source`.

    >>> import guerdon
    >>> @guerdon.source(version="1")
    ... def short(turn):
    ...     return guerdon.SourceResult(1.0 if len(turn.content) < 200 else 0.0, detail={"chars": len(turn.content)})
    """
    if function is None:
        return lambda function: Source(function, **settings)
    return Source(function, **settings)


def load_source(target: str) -> Source:
    """Loads `FILE.py:FUNCTION` or `MODULE:FUNCTION`. Without a function: the only source of the file."""
    place, _, name = target.rpartition(":") if ":" in target and not target.endswith(".py") else (target, "", "")
    module = _module(place)
    if name:
        found = getattr(module, name, None)
        if found is None:
            known = ", ".join(key for key, value in vars(module).items() if isinstance(value, Source)) or "none"
            raise ConfigError(f"{place} has no `{name}`; its sources: {known}")
        return found if isinstance(found, Source) else Source(found)
    sources = {key: value for key, value in vars(module).items() if isinstance(value, Source)}
    if len(sources) != 1:
        known = ", ".join(sources) or "none"
        raise ConfigError(f"name the function, as in `{place}:FUNCTION`; sources of {place}: {known}")
    return next(iter(sources.values()))


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = pathlib.Path(place).resolve()
    if not path.is_file():
        raise ConfigError(f"there is no file {place}")
    # Imports of neighbours work as when the file is run.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{place} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _hash_of(function: Any) -> str:
    try:
        text = pathlib.Path(inspect.getfile(inspect.unwrap(function))).read_bytes()
    except (OSError, TypeError):
        try:
            text = inspect.getsource(function).encode()
        except (OSError, TypeError):
            code = getattr(function, "__code__", None)
            text = repr((getattr(code, "co_code", b""), getattr(code, "co_consts", ()))).encode()
    return "sha256:" + hashlib.sha256(text).hexdigest()[:16]


def _each(returned: Any, turns: int) -> list[dict[str, Any]]:
    returned = list(returned)
    if len(returned) != turns:
        raise ValueError(f"the function returned {len(returned)} results for {turns} turns")
    results = []
    for one in returned:
        try:
            results.append(_written(one))
        except Exception as error:
            results.append(_failure(error))
    return results


def _written(returned: Any) -> dict[str, Any]:
    """The result of a turn, as the server reads it."""
    if isinstance(returned, Abstain):
        return {"abstain": returned.reason}
    if returned is None:
        return {"abstain": "the function returned None"}
    if isinstance(returned, Mapping):
        if "abstain" in returned:
            return {"abstain": str(returned["abstain"])}
        returned = SourceResult(**returned)
    if not isinstance(returned, SourceResult):
        returned = SourceResult(_number(returned))
    written: dict[str, Any] = {"value": _number(returned.value)}
    if not math.isfinite(written["value"]):
        return {"abstain": f"the value is {written['value']}"}
    if returned.components:
        written["components"] = {str(name): _number(value) for name, value in returned.components.items()}
        for name, value in written["components"].items():
            if not math.isfinite(value):
                return {"abstain": f"the component {name} is {value}"}
    if returned.spans:
        written["spans"] = [[int(start), int(end)] for start, end in returned.spans]
    if returned.veto:
        written["veto"] = True
    if returned.detail is not None:
        written["detail"] = returned.detail
    return written


def _number(value: Any) -> float:
    # A text that holds a number is a mistake of the function.
    if isinstance(value, (str, bytes)):
        raise TypeError(f"a number is needed, and the function returned {value!r}"[:200])
    return float(value)


def _failure(error: Exception) -> dict[str, Any]:
    traceback.print_exception(error)
    return {"abstain": f"the function raised {type(error).__name__}: {error}"[:300]}
