"""What the engine's process must know before it leaves."""

from __future__ import annotations

import time


class Activity:
    """How many requests run, since when none did, and whether somebody asked the process to leave."""

    def __init__(self) -> None:
        self.running = 0
        self.last = time.monotonic()
        self.asked_to_leave = False

    def __enter__(self) -> None:
        self.running += 1

    def __exit__(self, *_: object) -> None:
        self.running -= 1
        self.last = time.monotonic()
