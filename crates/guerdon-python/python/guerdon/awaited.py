"""From a call that calls back to one that is awaited, on whichever event loop runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from guerdon import _guerdon

T = TypeVar("T")
Done: TypeAlias = Callable[[T | None, BaseException | None], object]


async def awaited(start: Callable[[Done[T]], _guerdon.Task]) -> T | None:
    """What `start` calls back with. A caller that is cancelled hangs up."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[T | None] = loop.create_future()

    def settle(answer: T | None, error: BaseException | None) -> None:
        if answered.done():
            return
        if error is not None:
            answered.set_exception(error)
        else:
            answered.set_result(answer)

    # Called on a thread of the client's; a future belongs to its loop.
    task = start(lambda answer, error: loop.call_soon_threadsafe(settle, answer, error))
    try:
        return await answered
    finally:
        task.cancel()
