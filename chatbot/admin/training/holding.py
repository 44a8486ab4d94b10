"""One trainer for a run at a time.

Whoever trains holds a lock on a file in the run's folder; the kernel frees it when its holder dies, however it dies. So
the lock tells what no row in a database can: whether the run that was "running" when it was last heard of still is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from chatbot.admin.training.writing import explain_writing
from chatbot.errors import LearningError
from chatbot.files import write_file

LOCK = "lock"
_HOLDER = "holder.json"
_PATIENCE = 1.0
"""Seconds: longer than `is_held` of another process keeps the lock."""


@contextmanager
def hold_run(folder: Path) -> Iterator[None]:
    """Holds the run in `folder` while the block runs. Raises LearningError if another process does."""
    lock = FileLock(folder / LOCK, mode=0o600)
    with explain_writing("The lock of the run", folder):
        try:
            lock.acquire(timeout=_PATIENCE, poll_interval=0.02)
        except Timeout:
            holder = _read_holder(folder)
            raise LearningError(
                f"The run {folder.name} is running already" + (f", in the process {holder}." if holder else "."),
                hint=f"`chatbot admin watch {folder.name}` shows it"
                + (f"; `kill {holder}` saves and stops it." if holder else "."),
            ) from None
    try:
        with explain_writing("The lock of the run", folder):
            write_file(folder / _HOLDER, json.dumps({"process": os.getpid()}))
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process trains the run in `folder` now; true also if that cannot be found out."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _read_holder(folder: Path) -> int:
    """The number of the process that holds the run, 0 if it has not said so yet."""
    try:
        content = json.loads((folder / _HOLDER).read_bytes())
        return int(content["process"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0
