"""What a run reports while it trains, and the file in which others can follow it.

The same events go to the caller and, a line of JSON each, to metrics.jsonl in the run's folder: `admin watch` reads
that file, whoever started the run and from wherever. A resumed run first cuts the file back to its checkpoint, so that
no step stands there twice and the curve is that of a run never interrupted.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from chatbot.admin.training.writing import explain_writing
from chatbot.errors import LearningError
from chatbot.files import write_file

METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Data:
    """What the run trains on, told once at its beginning."""

    step: int
    """0."""
    rows: int
    left_out: int
    """Rows that are longer than `max_length` tokens."""
    max_length: int
    held_out: int
    """Held-out rows that are looked at."""
    held_out_left_out: int
    missing: str = ""
    """KTO: `good` or `bad`, if no held-out reply is that; there is then no held-out margin."""


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
    peak_share: float | None = None
    """Pretraining: what part of the machine's arithmetic at its best was used."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A look at rows that are not trained on. Step 0 is before training."""

    step: int
    loss: float
    best: bool = False
    margin: float | None = None
    accuracy: float | None = None
    """DPO: share of pairs whose better reply has the higher reward."""
    bits_per_byte: float | None = None
    """Pretraining: of the held-out text, whatever the tokenizer."""


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


Event = Data | Step | HeldOut | Sample | Saved | Halved | Stopped
_KINDS: dict[str, Callable[..., Event]] = {
    "data": Data, "step": Step, "held_out": HeldOut, "sample": Sample, "saved": Saved, "halved": Halved,
    "stopped": Stopped,
}  # fmt: skip
_NAMES = {kind: name for name, kind in _KINDS.items()}


class MetricsLog:
    """Appends events to metrics.jsonl in `folder`; `path` is the file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def append(self, event: Event) -> None:
        """One line, handed to the system at once. Raises LearningError if the disk refuses, or if a loss is no number:
        what is trained on from there is lost, and a line that says so is no JSON."""
        _check_loss(event)
        line = json.dumps({"event": _NAMES[type(event)], "time": round(time.time(), 3), **asdict(event)})
        with explain_writing("The figures of the run", self.path):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line.encode() + b"\n")
            finally:
                os.close(descriptor)

    def truncate(self, step: int) -> None:
        """Forgets what came after the checkpoint of `step`, and every stop: the run goes on from there."""
        content = self.path.read_bytes() if self.path.exists() else b""
        kept = [
            json.dumps(record)
            for record in _parse(content)
            if record.get("step", 0) <= step and record.get("event") != "stopped"
        ]
        write_file(self.path, "".join(f"{line}\n" for line in kept))


def _check_loss(event: Event) -> None:
    if isinstance(event, Step | HeldOut) and not math.isfinite(event.loss):
        kind = "held-out loss" if isinstance(event, HeldOut) else "loss"
        raise LearningError(
            f"The {kind} is no number at step {event.step:,}: the training went astray.",
            hint="Start a new run with a lower --learning-rate; `chatbot admin runs show` tells that of this one.",
        )


def read_events(folder: Path) -> Iterator[Event]:
    """The events of a run in their order; lines that are torn or of another version are passed over."""
    try:
        content = (folder / METRICS).read_bytes()
    except FileNotFoundError:
        return
    yield from _make_events(_parse(content))


class EventTail:
    """Follows metrics.jsonl in `folder`, reading each byte once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS
        self._file: tuple[int, int] | None = None
        self._read = 0

    def read(self) -> tuple[bool, list[Event]]:
        """(whether the run began again from an earlier step, so that these are all its events; the new events)."""
        try:
            with self._path.open("rb") as file:
                state = os.fstat(file.fileno())
                anew = (state.st_dev, state.st_ino) != self._file or state.st_size < self._read
                if anew:  # a resumed run replaces the file
                    self._file, self._read = (state.st_dev, state.st_ino), 0
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            return False, []
        whole = content.rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        return anew, list(_make_events(_parse(whole)))


def _make_events(records: Iterator[dict[str, Any]]) -> Iterator[Event]:
    for record in records:
        if kind := _KINDS.get(str(record.get("event"))):
            names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
            try:
                yield kind(**{name: value for name, value in record.items() if name in names})
            except TypeError:
                continue


def _parse(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("step", 0), int):
            yield record
