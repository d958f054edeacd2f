"""Adapts calls with a callback to `await`, on the running event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from guerdon import _guerdon

T = TypeVar("T")
Done: TypeAlias = Callable[[T | None, BaseException | None], object]


async def awaited(start: Callable[[Done[T]], _guerdon.Task]) -> T | None:
    """Returns the result that `start` passes to its callback. Cancelling the caller cancels the call."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[T | None] = loop.create_future()

    def settle(answer: T | None, error: BaseException | None) -> None:
        if answered.done():
            return
        if error is not None:
            answered.set_exception(error)
        else:
            answered.set_result(answer)

    # The callback runs on a thread of the client's runtime, but a future must be set on its loop.
    task = start(lambda answer, error: loop.call_soon_threadsafe(settle, answer, error))
    try:
        return await answered
    finally:
        task.cancel()
