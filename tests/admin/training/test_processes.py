"""Several processes train what one would have trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Event, HeldOut, Step, read_events
from chatbot.admin.training.job import settle
from chatbot.admin.training.launching import launch_processes
from chatbot.admin.training.run import train
from chatbot.errors import LearningError
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import small


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
    launch_processes(settle(config, dataset, base, None), together, tmp_path / "b", 2)
    assert read_losses(list(read_events(together))) == pytest.approx(read_losses(alone), rel=1e-4)
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("a", "b"))
    assert all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)


def test_processes_that_cannot_share_a_step_are_refused(
    base: ModelFolder, make_dataset: Callable[..., DatasetFolder], tmp_path: Path
) -> None:
    job = settle(small(accumulation=3), make_dataset(), base, None)
    with pytest.raises(LearningError, match="cannot be shared by 2"):
        launch_processes(job, tmp_path / "run", tmp_path / "adapter", 2)
