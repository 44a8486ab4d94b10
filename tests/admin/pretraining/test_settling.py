"""What is settled before a pretraining starts, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.pretraining import plan, run, settling
from chatbot.admin.pretraining.config import PretrainingConfig
from chatbot.admin.pretraining.plan import Pace, fit_budget, space_checkpoints
from chatbot.config import Home
from chatbot.errors import InvalidInput, LearningError, OutOfMemory
from chatbot.store.database import Store
from tests.admin.pretraining.readers import prepare
from tests.admin.pretraining.texts import TINY, make_config

PACE = Pace(pass_seconds=0.1, step_seconds=0.02, rows=8, memory=1, peak_flops=1e12, flops_per_token=1e6)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1 << 63},
        {"seed": -1},
        {"looks": -1},
        {"threads": -1},
        {"lora_rank": -1},
        {"weight_decay": float("nan")},
        {"learning_rate": float("nan")},
        {"optimizer": "sgd"},
        {"dtype": "float8"},
        {"checkpoint_every": -1},
    ],
)
def test_settings_without_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(LearningError, match="makes no sense"):
        make_config(**changes)
    with pytest.raises(LearningError):
        PretrainingConfig.from_fields(make_config().describe() | changes)


@pytest.mark.parametrize("base", [float("nan"), float("inf"), 1.0])
def test_a_rotary_base_is_a_number_above_one(base: float) -> None:
    with pytest.raises(InvalidInput, match="rotary_base"):
        replace(TINY, rotary_base=base).check()


def test_a_length_beyond_every_model_is_refused(store: Store, home: Home, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="context of a model"):
        prepare(store, home, tmp_path, length=(1 << 20) + 1)


def test_a_budget_is_measured_with_the_pass_that_is_made(
    store: Store, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch grows with the tokens that a budget allows, and a pass with it, up to what suits the device."""
    measured = []

    def measure(job: Any, _model: Any) -> Pace:
        measured.append(job.config.pass_rows)
        return replace(PACE, rows=job.config.pass_rows, pass_seconds=1e-4 * job.config.pass_rows, step_seconds=0.0)

    monkeypatch.setattr(settling, "measure_pace", measure)
    job, _ = prepare(store, home, tmp_path, tokens=0, rows=0, budget=3600.0)
    assert job.config.rows > 64
    assert job.config.pass_rows == 64 == measured[-1]  # 2,048 tokens in windows of 32
    job, _ = prepare(store, home, tmp_path, tokens=0, rows=0, budget=1.0)
    assert job.config.pass_rows == job.config.rows == measured[-1] < 64
    job, _ = prepare(store, home, tmp_path, tokens=0, rows=16, budget=60.0)
    assert (job.config.rows, job.config.pass_rows) == (16, 16)


def test_a_pass_that_memory_does_not_hold_is_halved(
    store: Store, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(job: Any, _model: Any) -> Pace:
        if job.config.pass_rows > 2:
            raise OutOfMemory("Too much.")
        return replace(PACE, rows=job.config.pass_rows)

    monkeypatch.setattr(settling, "measure_pace", measure)
    assert prepare(store, home, tmp_path)[0].config.pass_rows == 2
    with pytest.raises(OutOfMemory):
        prepare(store, home, tmp_path, pass_rows=4)


def test_a_budget_that_is_too_short_is_told(
    store: Store, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = replace(PACE, pass_seconds=10.0, rows=1)
    monkeypatch.setattr(settling, "measure_pace", lambda _job, _model: slow)
    job, made = _settle(store, home, tmp_path, tokens=0, rows=0, budget=60.0)
    assert job.config.steps == 20
    assert any("longer than the 60 s of the budget" in line for line in made.problems)
    assert not any("budget" in line for line in replace(made, seconds=71.0).problems)


def test_compiling_that_fails_or_is_slower_is_left_out(
    store: Store, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: Any, _model: Any) -> Pace:
        if job.config.compile:
            raise RuntimeError("no compiler")
        return replace(PACE, rows=job.config.pass_rows)

    for measure, why in ((fail, "cannot compile"), (lambda job, _: replace(PACE, rows=job.config.pass_rows), "slower")):
        with monkeypatch.context() as patch:
            for module in (plan, settling):
                patch.setattr(module, "measure_pace", measure)
            job, made = _settle(store, home, tmp_path, compile=True)
        assert not job.config.compile
        assert any(why in line for line in made.problems)

    def gain(job: Any, _model: Any) -> Pace:
        return replace(PACE, rows=job.config.pass_rows, pass_seconds=0.05 if job.config.compile else 0.1)

    for module in (plan, settling):
        monkeypatch.setattr(module, "measure_pace", gain)
    job, made = _settle(store, home, tmp_path, compile=True)
    assert job.config.compile
    assert made.pace.pass_seconds == 0.05


def test_checkpoints_are_never_more_than_a_tenth_of_the_run_apart() -> None:
    config = make_config(tokens=1000 * 64, rows=4)
    assert space_checkpoints(config, replace(PACE, rows=4, pass_seconds=1.98), 1000) == 30
    assert space_checkpoints(config, replace(PACE, rows=4, pass_seconds=1e-3), 1000) == 100
    assert space_checkpoints(config, replace(PACE, rows=4, pass_seconds=500.0), 1000) == 1


def test_a_fit_keeps_the_rows_that_were_given() -> None:
    fitted = fit_budget(make_config(pass_rows=8), PACE, 100.0, rows=6)
    assert (fitted.rows, fitted.pass_rows) == (6, 6)
    assert fitted.steps == int(94.0 / PACE.time_step(fitted))


def test_a_model_that_memory_does_not_hold_is_told(
    store: Store, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatbot.admin.pretraining import network

    job, _ = prepare(store, home, tmp_path)

    def refuse(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(network, "make_model", refuse)
    with pytest.raises(OutOfMemory, match="does not fit into memory"):
        run.open_model(job, 300, 0)


def _settle(store: Store, home: Home, tmp_path: Path, **wishes: Any) -> tuple[Any, Any]:
    job, _ = prepare(store, home, tmp_path)
    chosen = {"architecture": TINY, "tokens": 12 * 8 * 32, "rows": 8, "threads": 1} | wishes
    return settling.settle(home, job.corpus, settling.Wishes(**chosen))  # type: ignore[arg-type]
