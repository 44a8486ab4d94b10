"""From a dataset to an adapter: what each method learns, when it stops, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.events import METRICS, Event, Halved, HeldOut, MetricsLog, Sample, Step, read_events
from chatbot.admin.training.run import quiet
from chatbot.admin.training.stopping import STOP_FILE
from chatbot.errors import LearningError, OutOfMemory
from chatbot.models.installation import write_adapter
from chatbot.models.library import ModelFolder
from chatbot.models.manifest import read_manifest
from tests.admin.training.samples import small, train

MakeDataset = Callable[..., DatasetFolder]


def read_looks(events: list[Event]) -> list[HeldOut]:
    return [event for event in events if isinstance(event, HeldOut)]


def read_losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


def test_sft_lowers_the_held_out_loss_and_leaves_an_adapter_that_peft_loads(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    events: list[Event] = []
    target = tmp_path / "models" / "tiny-1"

    def keep(made: Path) -> Path:
        write_adapter(target, made, base=base, source="run:run")
        return target

    outcome = train(small(epochs=3.0), make_dataset(), base, tmp_path / "run", keep, events.append)
    assert outcome.status == "finished"
    assert outcome.adapter == target
    assert outcome.loss is not None
    assert outcome.first_loss is not None
    assert outcome.loss < outcome.first_loss - 1
    assert [event.step for event in events if isinstance(event, Step)] == list(range(1, outcome.steps + 1))
    assert any(isinstance(event, Sample) and event.prompt.startswith("Why is the sky blue?") for event in events)
    assert events == list(read_events(tmp_path / "run"))
    manifest = read_manifest(target)
    assert manifest.source == "run:run"
    assert (manifest.kind, manifest.base, manifest.base_sha256) == ("adapter", base.name, base.sha256)
    settings = json.loads((target / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "tiny"
    assert str(tmp_path) not in (target / "adapter_config.json").read_text()
    assert set(settings["target_modules"]) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
    }  # fmt: skip
    weights = load_file(target / "adapter_model.safetensors")
    assert manifest.parameters == sum(weight.numel() for weight in weights.values())
    plain = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    ids = torch.tensor([[5, 6, 7]])
    before = plain(input_ids=ids).logits
    with quiet():
        loaded = PeftModel.from_pretrained(plain, target)
    assert not torch.allclose(loaded(input_ids=ids).logits, before)


def test_no_library_reports_to_its_maker(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **what: sent.append(what))
    train(small(epochs=0.5), make_dataset(), base, tmp_path / "run", tmp_path / "adapter")
    assert sent == []


def test_the_adapter_is_that_of_the_best_look_and_the_run_stops_when_nothing_gets_better(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    events: list[Event] = []
    config = small(epochs=40.0, learning_rate=5e-2, patience=2, evaluate_every=4, checkpoint_every=100)
    outcome = train(config, make_dataset(rows=6), base, tmp_path / "run", tmp_path / "adapter", events.append)
    looks = read_looks(events)
    best = min(looks[1:], key=lambda look: look.loss)
    assert outcome.status == "early"
    assert outcome.step < outcome.steps
    assert (outcome.best_step, outcome.loss) == (best.step, best.loss)
    assert [look.step for look in looks].index(best.step) == len(looks) - 3
    again = train(replace(config, epochs=40.0), make_dataset(rows=6), base, tmp_path / "r2", tmp_path / "a2")
    assert again.best_step == outcome.best_step
    names = [tmp_path / name / "adapter_model.safetensors" for name in ("adapter", "a2")]
    assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize(("method", "kind"), [("dpo", "preference"), ("kto", "label")])
def test_preferences_move_the_reward_margin_on_held_out_pairs(
    method: Any, kind: str, base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    events: list[Event] = []
    config = small(method=method, epochs=3.0, batch_rows=4)
    outcome = train(config, make_dataset(kind, held_out=6), base, tmp_path / "run", tmp_path / "adapter", events.append)
    looks = read_looks(events)
    assert looks[0].margin == pytest.approx(0, abs=1e-5)
    assert outcome.margin is not None
    assert outcome.margin > 0.5
    assert looks[-1].loss < looks[0].loss
    names = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert not [name for name in names if "ref" in name]


@pytest.mark.parametrize(("method", "kind"), [("sft", "sft"), ("dpo", "preference"), ("kto", "label")])
def test_training_goes_on_from_a_parent(
    method: Any, kind: str, base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    parent = tmp_path / "parent"
    train(small(rank=2), make_dataset(), base, tmp_path / "first", parent)
    before = load_file(parent / "adapter_model.safetensors")
    events: list[Event] = []
    config = small(method=method, epochs=1.0, learning_rate=1e-4)
    dataset = make_dataset(kind)
    train(config, dataset, base, tmp_path / "second", tmp_path / "adapter", events.append, parent=parent)
    after = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {name: weight.shape for name, weight in after.items()} == {n: w.shape for n, w in before.items()}
    told = json.loads((tmp_path / "second" / "config.json").read_text())["config"]
    assert (told["rank"], told["alpha"], told["rslora"]) == (2, 8, True), "those of the weights, not the config's 4"
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert all(torch.allclose(after[name], before[name], atol=0.01) for name in before)
    if method != "sft":  # the reference is the parent, so nothing is preferred yet
        assert read_looks(events)[0].margin == pytest.approx(0, abs=1e-5)
        assert json.loads((tmp_path / "second" / "config.json").read_text())["parent"]["path"] == str(parent)


@pytest.mark.parametrize(
    ("method", "kind", "error"),
    [
        ("sft", "sft", RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")),
        ("sft", "sft", torch.OutOfMemoryError("CUDA out of memory")),
        ("dpo", "preference", MemoryError()),
        ("kto", "label", MemoryError()),
    ],
)
def test_when_memory_runs_out_the_batch_is_halved_and_the_curve_stays(
    method: Any,
    kind: str,
    error: Exception,
    base: ModelFolder,
    make_dataset: MakeDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from chatbot.admin.training.preference import DpoLoop, KtoLoop
    from chatbot.admin.training.sft import SftLoop

    dataset = make_dataset(kind)
    config = small(method=method, epochs=1.0, accumulation=2, batch_rows=2, batch_tokens=256)
    whole: list[Event] = []
    train(config, dataset, base, tmp_path / "whole", tmp_path / "a", whole.append)
    loops: dict[str, Any] = {"sft": SftLoop, "dpo": DpoLoop, "kto": KtoLoop}
    loop = loops[method]
    backward, passes = loop.compute_loss, 0

    def fail_once(self: Any, model: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        nonlocal passes
        loss = backward(self, model, inputs, *rest, **options)
        if model.training:
            passes += 1
            if passes == 2:  # with the gradient of the first pass already there
                loss.backward()
                raise error
        return loss

    monkeypatch.setattr(loop, "compute_loss", fail_once)
    events: list[Event] = []
    train(config, dataset, base, tmp_path / "halved", tmp_path / "b", events.append)
    assert [event for event in events if isinstance(event, Halved)] == [Halved(0, 2)]
    assert read_losses(events) == pytest.approx(read_losses(whole), rel=1e-4)


def test_a_row_that_does_not_fit_by_itself_is_an_error_that_says_what_to_do(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatbot.admin.training.sft import SftLoop

    def fail(self: Any, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(SftLoop, "compute_loss", fail)
    with pytest.raises(OutOfMemory, match="max-tokens"):
        train(small(), make_dataset(), base, tmp_path / "run", tmp_path / "adapter")


def test_a_file_stops_a_run_from_outside(base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            (tmp_path / "run" / STOP_FILE).touch()

    outcome = train(small(), make_dataset(), base, tmp_path / "run", tmp_path / "adapter", stop)
    assert outcome.status == "stopped"
    assert outcome.step in {2, 3}
    assert outcome.adapter is None


def test_samples_and_looks_change_nothing(base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path) -> None:
    curves = []
    for number, changes in enumerate(({}, {"samples": 3, "evaluate_every": 1}, {"checkpoint_every": 50})):
        events: list[Event] = []
        config = small(epochs=1.0, dropout=0.2, **changes)
        train(config, make_dataset(), base, tmp_path / f"run{number}", tmp_path / f"adapter{number}", events.append)
        curves.append(read_losses(events))
    assert curves[0] == curves[1] == curves[2]


def test_without_held_out_rows_the_last_weights_are_taken(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    outcome = train(small(epochs=1.0), make_dataset(held_out=0), base, tmp_path / "run", tmp_path / "adapter")
    assert outcome.loss is None
    assert outcome.best_step == outcome.step == outcome.steps


def test_what_does_not_belong_together_is_refused_at_once(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    with pytest.raises(LearningError, match="kind preference"):
        train(small(method="dpo"), make_dataset(), base, tmp_path / "run", tmp_path / "adapter")
    dataset = make_dataset()
    other = DatasetFolder(dataset.path, dataset.manifest.model_copy(update={"template_sha256": "0" * 64}))
    with pytest.raises(LearningError, match="template"):
        train(small(), other, base, tmp_path / "run", tmp_path / "adapter")
    with pytest.raises(LearningError, match="nothing to learn"):
        train(small(max_length=16), dataset, base, tmp_path / "run", tmp_path / "adapter")
    with pytest.raises(LearningError, match="QLoRA"):
        train(small(quantize=True), dataset, base, tmp_path / "other", tmp_path / "adapter")


def test_metrics_that_came_after_the_checkpoint_and_torn_lines_are_forgotten(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    steps = [Step(number, 9, 1.0, 1.0, 1.0, 0.1) for number in range(1, 5)]
    for step in steps:
        log.append(step)
    with (tmp_path / METRICS).open("ab") as file:
        file.write(b'{"event": "step", "st')
    assert list(read_events(tmp_path)) == steps
    log.truncate(2)
    assert list(read_events(tmp_path)) == steps[:2]
    assert (tmp_path / METRICS).read_bytes().count(b"\n") == 2
