"""Runs that are trained alone and by two launched processes, to be compared."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from chatbot.admin.training.events import Halved, HeldOut, Step, read_events
from chatbot.admin.training.job import Job, write_job
from chatbot.admin.training.run import run_job
from tests.conftest import REPOSITORY


class Pair:
    """The same run twice: in `alone` by this process, in `together` by two."""

    def __init__(self, place: Path, job: Job, **files: str) -> None:
        self.alone, self.together = place / "alone", place / "together"
        self.job = job
        for folder in (self.alone, self.together):
            folder.mkdir(parents=True)
            write_job(folder, job)
        for name, content in files.items():
            (self.together / name).write_text(content)
        run_job(job, self.alone, place / "alone-adapter")

    def read_losses(self, which: Path) -> list[float]:
        """Of every step and every look at the held-out part."""
        return [event.loss for event in read_events(which) if isinstance(event, Step | HeldOut)]

    def read_margins(self, which: Path) -> list[float]:
        found = [event.margin for event in read_events(which) if isinstance(event, Step | HeldOut)]
        return [margin for margin in found if margin is not None]

    def read_halvings(self) -> list[Halved]:
        return [event for event in read_events(self.together) if isinstance(event, Halved)]

    def compare_adapters(self) -> float:
        """The largest difference of a weight."""
        first, second = (
            load_file(folder.with_name(f"{folder.name}-adapter") / "adapter_model.safetensors")
            for folder in (self.alone, self.together)
        )
        assert set(first) == set(second)
        return max(float(torch.max(torch.abs(first[name] - second[name]))) for name in first)


def launch(folders: Sequence[Path], *flags: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Trains the runs in `folders`, one after the other, as `accelerate launch FLAGS` does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [
        sys.executable, "-m", "accelerate.commands.launch", *flags, "--num_processes", str(processes),
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", port,
        "-m", "tests.admin.training.shared_process", *map(str, folders),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, check=False, capture_output=True, text=True, timeout=300
    )
