"""What a run tells: what it left out, margins of the whole held-out part, and its events as they come."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.building import build_loop
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Data, Event, EventTail, HeldOut, MetricsLog, Step, read_events
from chatbot.admin.training.job import settle
from chatbot.admin.training.plan import make_plan
from chatbot.admin.training.progress import Progress
from chatbot.admin.training.run import quiet
from chatbot.admin.training.stopping import StopRequest
from chatbot.errors import LearningError
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import small, train
from tests.conftest import REPOSITORY

MakeDataset = Callable[..., DatasetFolder]


@pytest.mark.parametrize(
    ("recipe", "wanted", "expected"),
    [
        ({"max_tokens": 100}, 0, 100),
        ({"max_tokens": 100}, 64, 64),
        ({"max_tokens": 10**9}, 0, None),
        ({"max_tokens": "many"}, 0, None),
        ({"max_tokens": True}, 0, None),
        ({"max_tokens": -1}, 0, None),
        ({}, 0, None),
    ],
)
def test_rows_may_be_as_long_as_the_dataset_was_built_to_hold(
    recipe: dict[str, Any], wanted: int, expected: int | None, base: ModelFolder, make_dataset: MakeDataset
) -> None:
    job = settle(small(max_length=wanted), make_dataset(recipe=recipe), base, None)
    assert job.config.max_length == (expected or min(1024, base.manifest.context))


def test_what_is_left_out_is_told_first_and_in_the_result_and_in_the_plan(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    events: list[Event] = []
    dataset, config = make_dataset(held_out=12), small(max_length=60, epochs=0.5)
    outcome = train(config, dataset, base, tmp_path / "run", tmp_path / "adapter", events.append)
    data = events[0]
    assert isinstance(data, Data)
    assert data.left_out > 0
    assert data.held_out_left_out > 0
    assert (outcome.rows, outcome.left_out, outcome.max_length) == (data.rows, data.left_out, 60)
    plan = make_plan(config, dataset, base)
    assert plan.left_out == data.left_out
    assert any(problem.startswith(f"{data.held_out_left_out} of 12 held-out rows") for problem in plan.problems)
    assert next(read_events(tmp_path / "run")) == data


def test_hints_name_only_options_that_there_are() -> None:
    from typer.main import get_command

    from chatbot.cli.admin import app

    group: Any = get_command(app)
    admin = group.commands
    options = {option for command in (admin["finetune"], admin["dataset"].commands["build"])
               for parameter in command.params for option in parameter.opts}  # fmt: skip
    launcher = {"--multi_gpu", "--use_fsdp"}
    for path in (REPOSITORY / "chatbot" / "admin" / "training").glob("*.py"):
        named = set(re.findall(r"--(?!fsdp_)[a-z][a-z_-]+", path.read_text("utf-8")))
        assert named <= options | launcher, path
        hints = " ".join(re.findall(r"hint=[^\n]*\n?", path.read_text("utf-8")))
        assert not re.search(r"max_length|batch_tokens|batch_rows|accumulation", hints), path


def test_a_number_that_makes_no_sense_is_named_with_its_option() -> None:
    with pytest.raises(LearningError, match=r"learning_rate = nan makes no sense.*--learning-rate"):
        TrainingConfig(learning_rate=float("nan"))
    with pytest.raises(LearningError, match=r"max_length = 3 makes no sense.*--max-tokens"):
        TrainingConfig(max_length=3)


@pytest.mark.parametrize(("method", "kind"), [("dpo", "preference"), ("kto", "label")])
def test_the_held_out_margin_is_that_of_all_replies_however_they_are_dealt_out(
    method: Any, kind: str, base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    dataset = make_dataset(kind, held_out=7)
    parent = tmp_path / "parent"
    train(small(rank=2), make_dataset(), base, tmp_path / "first", parent)
    job = settle(small(method=method), dataset, base, None)
    with quiet():
        loop = build_loop(job, tmp_path / "run", lambda _: None, StopRequest(tmp_path), first_look=False)
        for name, weight in loop.model.named_parameters():
            if "lora_B" in name and weight.requires_grad:
                weight.data.normal_(std=0.2)
        margins = []
        for rows in (7, 1, 2, 3):
            loop.args.per_device_eval_batch_size = rows
            with loop._undisturbed():
                look = loop.measure()
            margins.append(look.margin)
            if method == "dpo":
                assert look.accuracy is not None
    assert margins[0] is not None
    assert abs(margins[0]) > 1e-3
    assert margins == pytest.approx([margins[0]] * 4, rel=1e-4)


def test_without_a_bad_reply_held_out_there_is_no_margin_and_that_is_told(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    events: list[Event] = []
    dataset, config = make_dataset("label", held_out=1), small(method="kto", epochs=0.5)
    outcome = train(config, dataset, base, tmp_path / "run", tmp_path / "adapter", events.append)
    assert outcome.margin is None
    assert isinstance(events[0], Data)
    assert events[0].missing == "bad"
    assert any("No held-out reply is bad" in problem for problem in make_plan(config, dataset, base).problems)


def test_a_training_that_only_made_it_worse_is_told_from_one_that_did_not(
    base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatbot.admin.training.sft import SftLoop

    compute = SftLoop.compute_loss

    def climb(self: Any, model: Any, *rest: Any, **options: Any) -> Any:
        found = compute(self, model, *rest, **options)
        return -found if model.training else found

    config, dataset = small(epochs=1.0), make_dataset()
    better = train(config, dataset, base, tmp_path / "better", tmp_path / "b")
    assert not better.worse
    monkeypatch.setattr(SftLoop, "compute_loss", climb)
    worse = train(config, dataset, base, tmp_path / "worse", tmp_path / "a")
    assert worse.worse
    assert worse.best_step > 0
    assert worse.adapter is not None


def test_a_look_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    looks = [HeldOut(0, 0.5), HeldOut(3, float("nan")), HeldOut(6, 2.0), HeldOut(9, 3.0)]
    progress = Progress(small(), 9, tmp_path, lambda _: None, StopRequest(tmp_path), lambda *_: ("", ""), looks=looks)
    assert progress.best_look == looks[2]


def test_a_follower_reads_what_is_new_and_all_of_it_when_the_run_began_again(tmp_path: Path) -> None:
    log, tail = MetricsLog(tmp_path), EventTail(tmp_path)
    assert tail.read() == (False, [])
    steps = [Step(number, 9, 1.0, 1.0, 1.0, 0.1) for number in range(1, 6)]
    for step in steps[:3]:
        log.append(step)
    with log.path.open("ab") as file:
        file.write(b'{"event": "st')
    assert tail.read() == (True, steps[:3])
    assert tail.read() == (False, [])
    log.truncate(2)
    log.append(steps[2])
    log.append(steps[3])
    assert tail.read() == (True, steps[:4]), "as many bytes as before, but another file"
    log.append(steps[4])
    assert tail.read() == (False, steps[4:])


@pytest.mark.parametrize(("method", "kind"), [("sft", "sft"), ("dpo", "preference"), ("kto", "label")])
def test_recomputing_changes_no_number(
    method: Any, kind: str, base: ModelFolder, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    curves = []
    for recompute in (False, True):
        events: list[Event] = []
        config = small(method=method, epochs=0.5, recompute=recompute)
        train(config, make_dataset(kind), base, tmp_path / f"r{recompute}", tmp_path / f"a{recompute}", events.append)
        curves.append([(event.loss, event.gradient) for event in events if isinstance(event, Step)])
    assert curves[0]
    assert curves[1] == [pytest.approx(pair, rel=1e-4) for pair in curves[0]]
    assert all(gradient > 0 for _, gradient in curves[1])
