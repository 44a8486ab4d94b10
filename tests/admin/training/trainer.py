"""A process that trains and may be killed, and what a run has reported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatbot.admin.training.events import HeldOut, Sample, Step, read_events
from tests.conftest import REPOSITORY


def read_curve(run: Path) -> list[tuple[object, ...]]:
    """All that a run reported, without its times."""
    curve: list[tuple[object, ...]] = []
    for event in read_events(run):
        if isinstance(event, Step):
            curve.append((event.step, event.loss, event.gradient, event.learning_rate, event.margin))
        elif isinstance(event, HeldOut | Sample):
            curve.append((event,))
    return curve


class Trainer:
    """A process that trains in forks; see `trained_process`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        self._input, self._output = process.stdin, process.stdout

    def start(self, folder: Path, method: str, seed: int, moment: str = "") -> int:
        """The process id of a run in `folder`, begun or resumed; with a `moment`, in the home `folder`."""
        self._input.write(f"{folder} {method} {seed} {moment}\n")
        self._input.flush()
        return int(self._output.readline())

    def wait(self) -> int:
        return int(self._output.readline())

    def finish(self, folder: Path, method: str, seed: int, moment: str = "") -> None:
        self.start(folder, method, seed, moment)
        assert self.wait() == 0, (folder / "error").read_text()


@contextmanager
def start_trainer() -> Iterator[Trainer]:
    command = [sys.executable, "-m", "tests.admin.training.trained_process"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Trainer(process)


def wait_for_steps(run: Path, steps: int) -> None:
    """Until the run has reported so many steps."""
    deadline = time.monotonic() + 60
    while sum(isinstance(event, Step) for event in read_events(run)) < steps and time.monotonic() < deadline:
        time.sleep(0.002)
