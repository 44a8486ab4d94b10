"""Memory that runs out: while the base is loaded, in a look at the held-out part, and in a sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.events import Event, Halved, HeldOut, Sample
from chatbot.admin.training.plan import make_plan
from chatbot.errors import OutOfMemory
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import small, train

MakeDataset = Callable[..., DatasetFolder]
FULL = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
KINDS = [("sft", "sft"), ("dpo", "preference"), ("kto", "label")]


def find_loop(method: str) -> Any:
    from chatbot.admin.training.preference import DpoLoop, KtoLoop
    from chatbot.admin.training.sft import SftLoop

    return {"sft": SftLoop, "dpo": DpoLoop, "kto": KtoLoop}[method]


def read_looks(events: list[Event]) -> list[tuple[float, float | None, float | None]]:
    return [(event.loss, event.margin, event.accuracy) for event in events if isinstance(event, HeldOut)]


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("transformers.AutoModelForCausalLM.from_pretrained", RuntimeError(FULL)),
        ("transformers.AutoModelForCausalLM.from_pretrained", MemoryError()),
        ("peft.PeftModel.from_pretrained", RuntimeError(FULL)),
        ("transformers.Trainer.__init__", torch.OutOfMemoryError("CUDA out of memory")),
    ],
)
def test_a_base_that_does_not_fit_is_no_damaged_one(
    place: str,
    error: Exception,
    base: ModelFolder,
    make_dataset: MakeDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, parent = make_dataset(rows=2), None
    if place.startswith("peft"):
        parent = tmp_path / "parent"
        train(small(epochs=1.0), dataset, base, tmp_path / "first", parent)

    def run_out(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(place, run_out)
    with pytest.raises(OutOfMemory, match=r"tiny with its adapter does not fit into memory.*smaller base"):
        train(small(), dataset, base, tmp_path / "run", tmp_path / "adapter", parent=parent)
    plan = make_plan(small(), dataset, base, parent=parent)
    assert any("does not fit into memory" in problem for problem in plan.problems)


def test_a_plan_whose_model_does_not_fit_on_the_device_says_so(
    base: ModelFolder, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("peft.PeftModel.to", run_out, raising=False)
    monkeypatch.setattr("transformers.Trainer._move_model_to_device", lambda *_: None)
    plan = make_plan(small(), make_dataset(rows=2), base)
    assert any("does not fit into memory" in problem for problem in plan.problems)


def test_an_optimizer_that_does_not_fit_is_no_traceback(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("torch.optim.AdamW.step", run_out)
    with pytest.raises(OutOfMemory, match="A step of the run does not fit"):
        train(small(), make_dataset(rows=2), base, tmp_path / "run", tmp_path / "adapter")


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_a_look_that_does_not_fit_is_made_in_pieces_and_finds_the_same(
    method: Any,
    kind: str,
    base: ModelFolder,
    make_dataset: MakeDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, loop = make_dataset(kind, held_out=7), find_loop(method)
    config = small(method=method, epochs=2.0, batch_rows=4, batch_tokens=400)
    whole: list[Event] = []
    expected = train(config, dataset, base, tmp_path / "whole", tmp_path / "a", whole.append)
    name = "_sum_losses" if method == "sft" else "compute_loss"
    measure, failures = getattr(loop, name), 0

    def run_out(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal failures
        found = measure(self, *arguments, **options)  # what it counted must be taken back
        inputs = arguments[-1] if method == "sft" else arguments[1]
        rows = len(inputs["cu_seq_lens_q"]) - 1 if method == "sft" else len(inputs["input_ids"])
        most = 2 if method == "dpo" else 1  # DPO lays both replies of a pair there
        if not self.model.training and rows > most and self.state.global_step:  # margins are 0 before the first step
            failures += 1
            raise MemoryError
        return found

    monkeypatch.setattr(loop, name, run_out)
    events: list[Event] = []
    outcome = train(config, dataset, base, tmp_path / "run", tmp_path / "b", events.append)
    assert 2 <= failures < 8, "once for each halving, and never again"
    assert outcome.best_step == expected.best_step
    for found, wanted in zip(read_looks(events), read_looks(whole), strict=True):
        assert [one is None for one in found] == [one is None for one in wanted]
        assert [one or 0 for one in found] == pytest.approx([one or 0 for one in wanted], rel=1e-4, abs=1e-5)
    assert not any(isinstance(event, Halved) for event in events), "training itself is made as it was"


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_a_held_out_row_that_does_not_fit_by_itself_is_an_error_that_says_what_to_do(
    method: Any,
    kind: str,
    base: ModelFolder,
    make_dataset: MakeDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_out(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(find_loop(method), "_sum_losses" if method == "sft" else "compute_loss", run_out)
    with pytest.raises(OutOfMemory, match=r"One row by itself.*max-tokens"):
        train(small(method=method), make_dataset(kind), base, tmp_path / "run", tmp_path / "adapter")


def test_a_sample_that_does_not_fit_is_left_out(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("chatbot.admin.training.samples.generate", run_out)
    events: list[Event] = []
    outcome = train(small(epochs=1.0), make_dataset(), base, tmp_path / "run", tmp_path / "adapter", events.append)
    assert outcome.status == "finished"
    assert read_looks(events)
    assert not any(isinstance(event, Sample) for event in events)
