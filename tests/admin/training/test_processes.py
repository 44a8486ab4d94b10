"""Several processes train what one would have trained."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Event, HeldOut, Step, read_events
from chatbot.admin.training.job import settle, write_job
from chatbot.admin.training.run import train
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import small
from tests.conftest import REPOSITORY


def launch(run: Path, target: Path, processes: int) -> None:
    """As `accelerate launch` does: a worker for each rank, told of the others through its environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "chatbot.admin.training.worker", str(run), str(target)]
    workers = []
    for rank in range(processes):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        }
        workers.append(subprocess.Popen(command, cwd=REPOSITORY, env=environment))
    assert [worker.wait(timeout=240) for worker in workers] == [0] * processes


def read_losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step | HeldOut)]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kind"), [("sft", "sft"), ("dpo", "preference")])
def test_two_processes_have_the_loss_of_one(
    method: str, kind: str, base: ModelFolder, make_dataset: Callable[..., DatasetFolder], tmp_path: Path
) -> None:
    dataset = make_dataset(kind, held_out=4)
    config: TrainingConfig = small(method=method, epochs=1.0, accumulation=2)
    alone: list[Event] = []
    train(config, dataset, base, tmp_path / "alone", tmp_path / "a", alone.append)
    together = tmp_path / "together"
    together.mkdir()
    write_job(together, settle(config, dataset, base, None))
    launch(together, tmp_path / "b", 2)
    assert read_losses(list(read_events(together))) == pytest.approx(read_losses(alone), rel=1e-4)
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("a", "b"))
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)
