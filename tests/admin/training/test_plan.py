"""The plan before a run, and the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.building import balance
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.plan import make_plan
from chatbot.errors import LearningError
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import small, train


@pytest.mark.parametrize(("method", "kind"), [("sft", "sft"), ("dpo", "preference"), ("kto", "label")])
def test_a_plan_tells_the_steps_and_size_that_the_run_then_has(
    method: str, kind: str, base: ModelFolder, make_dataset: Callable[..., DatasetFolder], tmp_path: Path
) -> None:
    dataset, config = make_dataset(kind), small(method=method)
    plan = make_plan(config, dataset, base)
    outcome = train(config, dataset, base, tmp_path / "run", tmp_path / "adapter")
    assert plan.steps == outcome.steps
    assert plan.rows == 12
    assert 0 < plan.learned < plan.tokens
    weights = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    assert plan.trained_parameters * 4 == pytest.approx(weights, rel=0.3)
    assert plan.seconds > plan.step_seconds > 0
    assert plan.memory > 0
    assert plan.problems == ()


def test_a_plan_says_what_will_not_do(base: ModelFolder, make_dataset: Callable[..., DatasetFolder]) -> None:
    plan = make_plan(small(max_length=50, epochs=0.2), make_dataset(held_out=0), base)
    assert plan.left_out > 0
    text = " ".join(plan.problems)
    for sign in ("longer than 50 tokens and left out", "Nothing is held out", "too few"):
        assert sign in text


def test_the_learning_rate_falls_with_the_size_of_the_model() -> None:
    small_model, middle, large = (
        TrainingConfig().resolve(parameters=count).learning_rate
        for count in (135_000_000, 1_700_000_000, 8_000_000_000)
    )
    assert small_model == pytest.approx(1e-3, rel=0.05)
    assert large == pytest.approx(2e-4)
    assert large < middle < small_model
    assert TrainingConfig(method="dpo").resolve(parameters=8_000_000_000).learning_rate == pytest.approx(2e-5)
    assert TrainingConfig(learning_rate=0.5).resolve(parameters=1).learning_rate == 0.5


def test_a_configuration_survives_its_json() -> None:
    config = TrainingConfig(method="kto", rank=3, learning_rate=1e-4, rslora=False)
    assert TrainingConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"rank": "16"}', '{"rank": true}', '{"unknown": 1}', '{"rank": 0}', '{"method": "x"}', "[" * 9999],
)
def test_a_configuration_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(LearningError):
        TrainingConfig.from_json(text)


def test_rare_thumbs_weigh_more_up_to_a_limit() -> None:
    assert balance([True, True, False, False]) == (1, 1)
    assert balance([True, True, True, False]) == (1, 3)
    assert balance([True] + [False] * 50) == (4, 1)
    assert balance([True] * 9) == (1, 4)
