"""Store calls from asynchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def run_in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs `call` in a worker thread, to its end.

    `asyncio.to_thread` alone returns at once when its task is cancelled, while the thread goes on: the caller would
    clean up after a transaction that is yet to be committed. Here a cancellation waits for the call, then is raised.
    """
    task = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: BLE001, S110  raised by result() below
            pass
    if cancelled is not None and task.exception() is None:
        raise cancelled
    return task.result()
