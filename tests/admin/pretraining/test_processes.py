"""Two processes do what one does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chatbot.admin.training.checkpoints import find_checkpoint
from chatbot.admin.training.events import HeldOut, Step, read_events
from tests.admin.pretraining.texts import make_config, make_loop


@pytest.mark.slow
def test_two_processes_give_the_losses_and_weights_of_one(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    for folder in (alone, shared):
        folder.mkdir()
    make_loop(make_config(), alone).run(None, checkpoint_every=100)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.admin.pretraining.shared_process", str(shared)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=Path(__file__).parents[3]
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = [
        [(event.step, event.loss) for event in read_events(folder) if isinstance(event, Step | HeldOut)]
        for folder in (alone, shared)
    ]
    assert [step for step, _ in figures[0]] == [step for step, _ in figures[1]]
    assert [loss for _, loss in figures[0]] == pytest.approx([loss for _, loss in figures[1]], rel=1e-4)
    found = [find_checkpoint(folder) for folder in (alone, shared)]
    assert found[0] is not None
    assert found[1] is not None
    first, second = (one.read_tensors("weights") for one in found if one is not None)
    for name, weight in first.items():
        assert torch.allclose(weight, second[name], atol=1e-4), name
