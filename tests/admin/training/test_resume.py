"""A run that was killed goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.checkpoints import find_checkpoint
from chatbot.admin.training.events import METRICS, Step, read_events
from chatbot.errors import LearningError, ModelDamaged, RunDamaged
from chatbot.models.installation import write_adapter
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import build_dataset, go_on, small, train
from tests.admin.training.trainer import Trainer, read_curve, wait_for_steps


def prepare(place: Path, base: ModelFolder, method: str) -> None:
    shutil.copytree(base.path, place / "tiny")
    kind = {"sft": "sft", "dpo": "preference", "kto": "label"}[method]
    build_dataset(place / "dataset", base, kind, 12)


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_a_run_killed_at_any_moment_ends_with_the_same_curve_and_the_same_bytes(
    method: str, trainer: Trainer, base: ModelFolder, tmp_path: Path, kills: int
) -> None:
    dice = random.Random(method)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    prepare(whole, base, method)
    prepare(killed, base, method)
    trainer.finish(whole, method, 1)
    for _ in range(max(2, kills // 3)):
        done = sum(isinstance(event, Step) for event in read_events(killed / "run"))
        process = trainer.start(killed, method, 1)
        wait_for_steps(killed / "run", min(max(done - 2, 1) + dice.randint(0, 3), 11))
        time.sleep(dice.random() * 0.05)
        os.kill(process, signal.SIGKILL)
        trainer.wait()
        shutil.rmtree(killed / "adapter", ignore_errors=True)
    trainer.finish(killed, method, 1)
    assert read_curve(killed / "run") == read_curve(whole / "run")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (killed / "adapter" / name).read_bytes() == (whole / "adapter" / name).read_bytes()


def test_ctrl_c_saves_and_the_run_goes_on_to_the_same_adapter(
    trainer: Trainer, base: ModelFolder, tmp_path: Path
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for place in (whole, stopped):
        prepare(place, base, "sft")
    trainer.finish(whole, "sft", 2)
    process = trainer.start(stopped, "sft", 2)
    wait_for_steps(stopped / "run", 3)
    os.kill(process, signal.SIGINT)
    assert trainer.wait() == 0, (stopped / "error").read_text()
    assert not (stopped / "adapter").exists()
    checkpoint = find_checkpoint(stopped / "run")
    assert checkpoint is not None
    assert checkpoint.step >= 3
    assert b'"stopped"' in (stopped / "run" / METRICS).read_bytes()
    trainer.finish(stopped, "sft", 2)
    assert read_curve(stopped / "run") == read_curve(whole / "run")
    adapters = [(place / "adapter" / "adapter_model.safetensors").read_bytes() for place in (whole, stopped)]
    assert adapters[0] == adapters[1]


@pytest.mark.parametrize("changes", [{"epochs": 0.5}, {"epochs": 20.0, "learning_rate": 5e-2, "patience": 1}])
def test_a_run_that_had_ended_makes_no_further_step(
    changes: dict[str, Any], base: ModelFolder, make_dataset: Callable[..., DatasetFolder], tmp_path: Path
) -> None:
    config, dataset, run = small(**changes), make_dataset(), tmp_path / "run"
    outcome = train(config, dataset, base, run, tmp_path / "adapter")
    curve = read_curve(run)
    again = go_on(run, tmp_path / "again")
    assert (again.status, again.step, again.best_step) == (outcome.status, outcome.step, outcome.best_step)
    assert read_curve(run) == curve
    adapters = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("adapter", "again")]
    assert adapters[0] == adapters[1]


def test_nothing_in_a_run_is_a_pickle(
    base: ModelFolder, make_dataset: Callable[..., DatasetFolder], tmp_path: Path
) -> None:
    train(small(epochs=1.0), make_dataset(), base, tmp_path / "run", tmp_path / "adapter")
    names = {path.suffix for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert names == {".json", ".jsonl", ".safetensors"}
    assert not list((tmp_path / "run").rglob(".*"))


def test_a_damaged_checkpoint_is_passed_over_and_named_when_none_is_whole(
    base: ModelFolder, make_dataset: Callable[..., DatasetFolder], tmp_path: Path
) -> None:
    run, dataset = tmp_path / "run", make_dataset()
    train(small(), dataset, base, run, tmp_path / "adapter")
    expected = (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()
    older, newest = sorted((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    content = bytearray((newest / "adapter.safetensors").read_bytes())
    content[-5] ^= 1
    (newest / "adapter.safetensors").write_bytes(content)
    found = find_checkpoint(run)
    assert found is not None
    assert found.path == older
    go_on(run, tmp_path / "again")
    assert (tmp_path / "again" / "adapter_model.safetensors").read_bytes() == expected
    for path in (run / "checkpoints").iterdir():
        (path / "state.json").write_text("{}")
    with pytest.raises(RunDamaged, match=r"state\.json differs"):
        go_on(run, tmp_path / "third")


def test_a_run_does_not_go_on_with_other_data(
    base: ModelFolder, make_dataset: Callable[..., DatasetFolder], tmp_path: Path
) -> None:
    dataset, run = make_dataset(), tmp_path / "run"
    train(small(epochs=1.0), dataset, base, run, tmp_path / "adapter")
    shutil.rmtree(dataset.path)
    build_dataset(dataset.path, base, "sft", 13)
    with pytest.raises(LearningError, match="dataset is not the one"):
        go_on(run, tmp_path / "other")


def test_a_run_goes_on_from_the_parent_that_it_began_with_or_says_what_became_of_it(
    base: ModelFolder, make_dataset: Callable[..., DatasetFolder], tmp_path: Path
) -> None:
    dataset, run, parent = make_dataset(rows=4), tmp_path / "run", tmp_path / "parent"
    train(small(rank=2, epochs=1.0), dataset, base, tmp_path / "first", parent)
    train(small(epochs=1.0), dataset, base, run, tmp_path / "adapter", parent=parent)
    assert go_on(run, tmp_path / "again").status == "finished"
    whole = shutil.copytree(parent, tmp_path / "whole")
    settings = json.loads((parent / "adapter_config.json").read_text())
    (parent / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 64}))
    with pytest.raises(ModelDamaged, match=r"adapter_config\.json differs"):
        go_on(run, tmp_path / "other")
    shutil.rmtree(parent)
    write_adapter(parent, _change_alpha(whole, tmp_path / "changed"), base=base, source="run:other")
    with pytest.raises(LearningError, match="parent adapter is not the one"):
        go_on(run, tmp_path / "other")
    shutil.rmtree(parent)
    with pytest.raises(RunDamaged, match=r"parent.*not there any more.*Put it back"):
        go_on(run, tmp_path / "other")
    whole.rename(parent)
    assert go_on(run, tmp_path / "third").status == "finished"


def _change_alpha(parent: Path, folder: Path) -> Path:
    """The two files of an adapter with the same weights, used in another strength."""
    folder.mkdir()
    shutil.copy(parent / "adapter_model.safetensors", folder)
    settings = json.loads((parent / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 64}))
    return folder
