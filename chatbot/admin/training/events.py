"""What a run reports while it trains, and the file in which others can follow it.

The same events go to the caller and, a line of JSON each, to metrics.jsonl in the run's folder: `admin watch` reads
that file, whoever started the run and from wherever. A resumed run first cuts the file back to its checkpoint, so that
no step stands there twice and the curve is that of a run never interrupted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from chatbot.files import write_file

METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the optimizer. `loss` is the mean over its learnt tokens (SFT) or rows (DPO, KTO)."""

    step: int
    of: int
    loss: float
    tokens_per_second: float
    seconds_left: float
    learning_rate: float
    gradient: float = 0.0
    """The norm before clipping."""
    margin: float | None = None
    """DPO, KTO: reward of the better reply minus that of the worse."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A look at rows that are not trained on. Step 0 is before training."""

    step: int
    loss: float
    best: bool = False
    margin: float | None = None
    accuracy: float | None = None
    """DPO: share of pairs whose better reply has the higher reward."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the model answers by now, greedily. Hostile text: print it through `printable`."""

    step: int
    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is whole on the disk."""

    step: int


@dataclass(frozen=True, slots=True)
class Halved:
    """Memory ran out: each forward pass is now made in `pieces`, whose gradients add up to the same."""

    step: int
    pieces: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run ended before its last step. `reason`: `asked` or `no improvement`."""

    step: int
    reason: str


Event = Step | HeldOut | Sample | Saved | Halved | Stopped
_KINDS: dict[str, Callable[..., Event]] = {
    "step": Step, "held_out": HeldOut, "sample": Sample, "saved": Saved, "halved": Halved, "stopped": Stopped,
}  # fmt: skip
_NAMES = {kind: name for name, kind in _KINDS.items()}


class MetricsLog:
    """Appends events to metrics.jsonl in `folder`; `path` is the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def append(self, event: Event) -> None:
        """One line, handed to the system at once. Raises OSError."""
        line = json.dumps({"event": _NAMES[type(event)], "time": round(time.time(), 3), **asdict(event)})
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)

    def truncate(self, step: int) -> None:
        """Forgets what came after the checkpoint of `step`, and every stop: the run goes on from there."""
        kept = [
            json.dumps(record)
            for record in _read_records(self.path)
            if record.get("step", 0) <= step and record.get("event") != "stopped"
        ]
        write_file(self.path, "".join(f"{line}\n" for line in kept))


def read_events(folder: Path) -> Iterator[Event]:
    """The events of a run in their order; lines that are torn or of another version are passed over."""
    for record in _read_records(folder / METRICS):
        if kind := _KINDS.get(str(record.get("event"))):
            names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
            try:
                yield kind(**{name: value for name, value in record.items() if name in names})
            except TypeError:
                continue


def _read_records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("step", 0), int):
            yield record
