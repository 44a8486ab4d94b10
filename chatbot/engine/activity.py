"""What the engine's process must know before it leaves, and the leaving."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

_TIDY_SECONDS = 60.0


class Activity:
    """How many requests run, since when none did, and whether somebody asked the process to leave."""

    def __init__(self) -> None:
        self.running = 0
        self.last = time.monotonic()
        self.asked_to_leave = False
        self.changed = asyncio.Event()
        """Set when the last request ended or somebody asked the process to leave; who waits for it clears it."""

    def __enter__(self) -> None:
        self.running += 1

    def __exit__(self, *_: object) -> None:
        self.running -= 1
        self.last = time.monotonic()
        if not self.running:
            self.changed.set()

    def ask_to_leave(self) -> None:
        self.asked_to_leave = True
        self.changed.set()


async def wait_to_leave(
    activity: Activity,
    idle_seconds: float | None,
    *,
    on_leave: Callable[[], None],
    tidy: Callable[[], None] | None = None,
) -> None:
    """Returns when nothing runs and the process was idle for `idle_seconds` (None: for ever) or asked to leave.

    `on_leave` takes away what newcomers find us by: who comes from now on starts a new engine instead of finding this
    one closing. `tidy` is called about once a minute. In between nothing wakes the process.
    """
    while True:
        if tidy is not None:
            tidy()
        pause = None
        if idle_seconds is not None and not activity.running:
            pause = max(activity.last + idle_seconds - time.monotonic(), 0.0)
        if tidy is not None:
            pause = _TIDY_SECONDS if pause is None else min(pause, _TIDY_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(activity.changed.wait(), pause)
        activity.changed.clear()
        is_idle = idle_seconds is not None and time.monotonic() - activity.last >= idle_seconds
        if (is_idle or activity.asked_to_leave) and not activity.running:
            on_leave()
            await asyncio.sleep(0.05)  # a connection that was made a moment ago may carry a request yet
            if not activity.running:
                return
