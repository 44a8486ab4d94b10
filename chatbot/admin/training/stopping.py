"""Asking a run to stop: by Ctrl-C, by SIGTERM, or by a file `stop` in its folder.

The first request lets the step end and a checkpoint be written; a second Ctrl-C aborts at once, which loses no more
than the steps since the last checkpoint.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

STOP_FILE = "stop"


class StopRequest:
    """Whether the run in `folder` was asked to stop."""

    def __init__(self, folder: Path, on_ask: Callable[[], None] = lambda: None) -> None:
        """`on_ask` is called inside a signal's handler: it must not wait for anything."""
        self._file = folder / STOP_FILE
        self._asked = False
        self._on_ask = on_ask

    @property
    def asked(self) -> bool:
        return self._asked or self._file.exists()

    def ask(self) -> None:
        self._asked = True

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Turns SIGINT and SIGTERM into requests while the block runs; only a process's main thread can."""
        self._file.unlink(missing_ok=True)
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before: dict[int, Any] = {}
        for name in (signal.SIGINT, signal.SIGTERM):
            before[name] = signal.signal(name, self._receive)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, *_: int | FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._on_ask()
