"""What launchers ask for, heard without launching anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.processes import count_processes, is_first, is_loss_of_process
from chatbot.admin.training.sft import SftLoop, cut_rows
from chatbot.admin.training.sharding import take_sharding_over
from chatbot.admin.training.state import read_random, write_random
from chatbot.errors import LearningError, OutOfMemory
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import small, train

MakeDataset = Callable[..., DatasetFolder]


def test_a_launcher_tells_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, number in (("3", 3), ("0", 1), ("many", 1), ("", 1)):
        monkeypatch.setenv("WORLD_SIZE", said)
        assert count_processes() == number
    monkeypatch.delenv("RANK", raising=False)
    assert is_first()
    monkeypatch.setenv("RANK", "1")
    assert not is_first()


def test_accelerate_does_not_hear_of_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with take_sharding_over() as asked:
        assert not asked
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with take_sharding_over() as asked:
        assert asked
        assert os.environ["ACCELERATE_USE_FSDP"] == "false"
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"
    monkeypatch.setenv("WORLD_SIZE", "1")
    with take_sharding_over() as asked:
        assert not asked, "one process has nobody to share with"


def test_deepspeed_is_refused(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(LearningError, match="--use_fsdp"):
        train(small(), make_dataset(), base, tmp_path / "run", tmp_path / "adapter")


def test_a_sharded_base_that_does_not_fit_says_what_to_set(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("chatbot.admin.training.halving.is_sharded", lambda _: True)
    monkeypatch.setattr(SftLoop, "compute_loss", run_out)
    with pytest.raises(OutOfMemory, match=r"cannot be halved.*more processes"):
        train(small(), make_dataset(), base, tmp_path / "run", tmp_path / "adapter")


def test_a_lost_process_is_told_from_other_faults() -> None:
    assert is_loss_of_process(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"))
    assert is_loss_of_process(torch.distributed.DistBackendError("NCCL communicator was aborted"))
    assert not is_loss_of_process(RuntimeError("shape mismatch"))
    assert not is_loss_of_process(OSError("Connection closed by peer"))


@pytest.mark.parametrize("place", ["build_loop", "_finish"])
def test_a_process_that_is_lost_before_or_after_the_training_is_explained_too(
    place: str, base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: Any, **__: Any) -> Any:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1")

    room = "building" if place == "build_loop" else "run"
    monkeypatch.setattr(f"chatbot.admin.training.{room}.{place}", lose)
    with pytest.raises(LearningError, match=r"Another of the launched processes ended.*--resume"):
        train(small(epochs=1.0), make_dataset(rows=2), base, tmp_path / "run", tmp_path / "adapter")


@pytest.mark.parametrize("pieces", [1, 2, 3, 4, 5, 7, 40])
def test_rows_are_cut_into_as_many_parts_as_there_are_rows_for(pieces: int) -> None:
    rows = [{"input_ids": [0] * (1 + number % 4)} for number in range(12)]
    parts = cut_rows(rows, pieces)
    assert [row for part in parts for row in part] == rows
    assert len(parts) == min(pieces, len(rows))
    if pieces in {2, 3}:
        sizes = [sum(len(row["input_ids"]) for row in part) for part in parts]
        assert max(sizes) - min(sizes) <= 4


def test_random_numbers_are_put_back_from_a_row_among_others() -> None:
    state, others = read_random()
    expected = torch.rand(3)
    write_random(torch.stack([torch.zeros_like(state), state])[1], others)
    assert torch.equal(torch.rand(3), expected)
