"""Several processes train what one would have trained: the same rows in the same steps, the same losses and weights.

A launch takes longer than its runs, so all that can share one does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.events import Halved
from chatbot.admin.training.job import Job, settle
from chatbot.admin.training.run import run_job
from chatbot.models.library import ModelFolder
from tests.admin.training.launched import Pair, launch
from tests.admin.training.samples import build_dataset, small, train

KINDS = {"sft": "sft", "dpo": "preference", "kto": "label"}
Pairs = dict[str, Pair]

pytestmark = pytest.mark.slow


class Maker:
    """Jobs on datasets of an odd number of rows: no process has as many as the other."""

    def __init__(self, place: Path, base: ModelFolder) -> None:
        self.place, self.base = place, base
        self._datasets: dict[str, DatasetFolder] = {}

    def find_dataset(self, method: str) -> DatasetFolder:
        if method not in self._datasets:
            folder = self.place / f"dataset-{method}"
            self._datasets[method] = build_dataset(folder, self.base, KINDS[method], 13, held_out=5)
        return self._datasets[method]

    def make(self, method: str = "sft", parent: Path | None = None, **changes: Any) -> Job:
        return settle(small(method=method, **changes), self.find_dataset(method), self.base, parent)

    def pair(self, name: str, job: Job, **files: str) -> Pair:
        return Pair(self.place / name, job, **files)


@pytest.fixture(scope="module")
def maker(base: ModelFolder, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("processes"), base)


@pytest.fixture(scope="module")
def shared(maker: Maker) -> Pairs:
    """Batches that do not divide, passes of one row, steps of which the last is smaller; runs that were stopped; runs
    in which memory ran out in one process."""
    pair, make = maker.pair, maker.make
    pairs = {
        "packed": pair("packed", make(batch_tokens=200)),
        "single": pair("single", make(epochs=1.0, accumulation=3)),
        "pairs": pair("pairs", make("dpo", batch_rows=3)),
        "labels": pair("labels", make("kto", batch_rows=5, accumulation=2)),
        "stopped": pair("stopped", make(batch_tokens=200), stops="3"),
        "begun": pair("begun", make(batch_tokens=200), stops="3"),
        "look at pairs": pair("look-pairs", make("dpo", batch_rows=5), fails_look="0"),
        "look at labels": pair("look-labels", make("kto", batch_rows=5), fails_look="1"),
        "full": pair("full", make(batch_tokens=400, accumulation=2), fails="1 2"),
        "full pairs": pair("full-pairs", make("dpo", batch_rows=5), fails="0 2"),
        "full labels": pair("full-labels", make("kto", batch_rows=8, accumulation=2), fails="1 2"),
    }
    folders = [one.together for one in pairs.values()]
    done = launch([*folders, pairs["stopped"].together], "--multi_gpu")
    assert done.returncode == 0, done.stderr[-3000:]
    return pairs


def check(pair: Pair) -> None:
    assert pair.read_losses(pair.together) == pytest.approx(pair.read_losses(pair.alone), rel=1e-5)
    assert pair.read_margins(pair.together) == pytest.approx(pair.read_margins(pair.alone), rel=1e-4, abs=1e-5)
    assert pair.compare_adapters() < 1e-4


@pytest.mark.parametrize("name", ["packed", "single", "pairs", "labels", "stopped", "look at pairs", "look at labels"])
def test_two_processes_have_the_losses_of_one(name: str, shared: Pairs) -> None:
    check(shared[name])


def test_a_run_that_two_began_is_ended_by_one(shared: Pairs) -> None:
    pair = shared["begun"]
    run_job(pair.job, pair.together, pair.together.with_name("together-adapter"), resume=True)
    check(pair)


@pytest.mark.parametrize("name", ["full", "full pairs", "full labels"])
def test_when_memory_runs_out_in_one_process_all_of_them_halve(name: str, shared: Pairs) -> None:
    pair = shared[name]
    assert [halving.pieces for halving in pair.read_halvings()] == [2]
    assert pair.read_losses(pair.together) == pytest.approx(pair.read_losses(pair.alone), rel=1e-4)


def test_halving_begins_in_the_step_that_did_not_fit(shared: Pairs) -> None:
    assert shared["full"].read_halvings() == [Halved(0, 2)]


def test_a_sharded_base_gives_the_losses_of_a_whole_one(maker: Maker) -> None:
    parent = maker.place / "parent"
    train(small(rank=2), maker.find_dataset("sft"), maker.base, maker.place / "first", parent)
    pair, make = maker.pair, maker.make
    pairs = {
        "packed": pair("sharded", make(batch_tokens=200)),
        "stopped": pair("sharded-stopped", make(accumulation=3, recompute=True), stops="2"),
        "pairs": pair("sharded-pairs", make("dpo", parent=parent, batch_rows=3)),
        "labels": pair("sharded-labels", make("kto", batch_rows=5)),
        "rounded": pair("sharded-rounded", make(epochs=1.0, batch_tokens=200, base_dtype="bfloat16")),
    }
    folders = [one.together for one in pairs.values()]
    done = launch([*folders, pairs["stopped"].together], "--use_fsdp", "--fsdp_version", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    rounded = pairs.pop("rounded")
    for one in pairs.values():
        check(one)
    assert rounded.read_losses(rounded.together) == pytest.approx(rounded.read_losses(rounded.alone), rel=1e-2)
    held = [json.loads((pairs["packed"].together / f"base-{rank}.json").read_text()) for rank in (0, 1)]
    assert held[0][0] + held[1][0] == held[0][1]
    assert held[0][0] < 0.6 * held[0][1]


def test_a_process_that_dies_takes_the_others_along_and_the_run_goes_on(maker: Maker) -> None:
    pair = maker.pair("dying", maker.make(batch_tokens=200), fails="1 -8")
    done = launch([pair.together], "--multi_gpu")
    assert done.returncode != 0
    assert "LearningError: Another of the launched processes ended" in (pair.together / "error-0").read_text()
    run_job(pair.job, pair.together, pair.together.with_name("together-adapter"), resume=True)
    check(pair)


def test_a_first_process_that_cannot_keep_the_adapter_is_explained_by_the_others(maker: Maker) -> None:
    pair = maker.pair("unkept", maker.make(epochs=1.0, batch_tokens=200), unkept="")
    done = launch([pair.together], "--multi_gpu")
    assert done.returncode != 0
    assert "The disk is full" in (pair.together / "error-0").read_text()
    assert "LearningError: Another of the launched processes ended" in (pair.together / "error-1").read_text()
