"""What a run reports, kept as rows while it trains.

The run's folder has all of it anyway, line by line. So a database that is busy, full or away for a while must not end
a training of hours: what could not be written waits, and is written later with what came since, at the latest from the
folder when the run ends or goes on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chatbot.admin.training.events import Event, HeldOut, Step, read_events
from chatbot.errors import StoreError
from chatbot.store.database import Store

_PAUSE = 30.0
"""Seconds after which a database that refused is asked again: each refusal of a busy one takes five."""
_MEASURES = ("loss", "tokens_per_second", "learning_rate", "gradient", "margin", "accuracy")


class Recorder:
    """Hears a run's events, writes their figures to its row and passes them on."""

    def __init__(self, store: Store, run_id: str, report: Callable[[Event], None], *, pause: float = _PAUSE) -> None:
        self._store = store
        self._run_id = run_id
        self._report = report
        self._pause = pause
        self._waiting: list[tuple[str, int, float]] = []
        self._again = 0.0

    def hear(self, event: Event) -> None:
        self._waiting += read_metrics(event)
        if time.monotonic() >= self._again:
            self._write()
        self._report(event)

    def catch_up(self, folder: Path, *, attempts: int = 1) -> None:
        """Writes all that stands in the run's `folder`, if the database takes it; a busy one makes each attempt wait
        some seconds."""
        self._waiting = [figure for event in read_events(folder) for figure in read_metrics(event)]
        for _ in range(attempts):
            if self._write():
                return

    def _write(self) -> bool:
        try:
            self._store.runs.set_metrics(self._run_id, self._waiting)
        except StoreError:
            self._again = time.monotonic() + self._pause
            return False
        self._waiting = []
        return True


def read_metrics(event: Event) -> list[tuple[str, int, float]]:
    """(name, step, value) of what an event tells; what is no finite number has no place in a database."""
    if not isinstance(event, Step | HeldOut):
        return []
    prefix = "held-out " if isinstance(event, HeldOut) else ""
    values: dict[str, Any] = asdict(event)
    found = [(name, values.get(name)) for name in _MEASURES]
    return [
        (f"{prefix}{name}", event.step, float(value))
        for name, value in found
        if value is not None and math.isfinite(value)
    ]
