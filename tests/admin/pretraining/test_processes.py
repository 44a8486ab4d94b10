"""Two processes do what one does, and say so when one of them is lost."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from chatbot.admin.pretraining.loop import Loop
from chatbot.admin.pretraining.run import join_processes
from chatbot.admin.training.checkpoints import find_checkpoint
from chatbot.admin.training.events import HeldOut, Step, read_events
from chatbot.admin.training.processes import PATIENCE
from chatbot.config import Home
from chatbot.errors import LearningError
from chatbot.store.database import Store
from tests.admin.pretraining.readers import do, prepare
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


def test_the_loss_of_another_process_is_told(
    store: Store, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object, **__: object) -> str:
        raise RuntimeError("Connection closed by peer [127.0.0.1]:1234")

    job, corpus = prepare(store, home, tmp_path)
    monkeypatch.setattr(Loop, "run", lose)
    with pytest.raises(LearningError, match="Another of the launched processes ended"):
        do(store, home, job, corpus)


def test_a_process_waits_for_the_others_with_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    given: dict[str, object] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **options: given.update(options))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    with join_processes("cpu"):
        assert given == {"timeout": timedelta(seconds=PATIENCE)}
