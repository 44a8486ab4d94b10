"""How a long fetch tells what it does: one small protocol, so that nothing here knows of terminals."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

_INTERVAL = 0.2  # seconds between two looks


class Reporter(Protocol):
    """Hears what happens."""

    def say(self, line: str) -> None:
        """One line for a person."""
        ...

    def begin(self, title: str, total: int) -> None:
        """A step of `total` bytes begins; 0 if nobody knows how many."""
        ...

    def update(self, done: int) -> None:
        """So many bytes of the step are done."""
        ...

    def end(self) -> None:
        """The step is over, well or not."""
        ...


class SilentReporter:
    """Hears and says nothing."""

    def say(self, line: str) -> None:
        pass

    def begin(self, title: str, total: int) -> None:
        pass

    def update(self, done: int) -> None:
        pass

    def end(self) -> None:
        pass


@contextmanager
def report_step(reporter: Reporter, title: str, total: int) -> Iterator[None]:
    reporter.begin(title, total)
    try:
        yield
    finally:
        reporter.end()


@contextmanager
def report_growth(reporter: Reporter, title: str, folder: Path, total: int) -> Iterator[None]:
    """Within the block, tells how many bytes lie in `folder`: the clients of hub and registry write files but tell
    no machine how far they are."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_INTERVAL):
            reporter.update(min(measure_folder(folder), total) if total else measure_folder(folder))

    with report_step(reporter, title, total):
        thread = threading.Thread(target=watch, name="growth", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def measure_folder(folder: Path) -> int:
    """Bytes in all files below `folder`, which may be changing meanwhile."""
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118  called five times a second
            except OSError:
                continue
    return size
