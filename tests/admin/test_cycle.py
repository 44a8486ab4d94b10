"""The whole loop with a tiny model: a file of answers becomes an adapter, which is measured, promoted and traced."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.building import build
from chatbot.admin.datasets.request import BuildRequest
from chatbot.admin.evaluation.comparing import Limits, evaluate, pair
from chatbot.admin.evaluation.records import Report
from chatbot.admin.finetuning import Finetuned, choose_lesson, finetune, resume
from chatbot.admin.promotion import promote, read_gate
from chatbot.admin.training.events import Event, HeldOut, Saved, Step
from chatbot.config import Home, Settings
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import LearningError, NotFound, PromotionRefused
from chatbot.models.library import ModelLibrary
from chatbot.store.database import Store
from tests.admin.training.samples import build_tiny, small

SETTINGS = Settings(model="tiny")
COLOURS = ["red", "green", "blue", "white", "black", "brown", "grey", "pink"]
THINGS = ["sky", "grass", "snow", "coal", "sea", "sand", "rose", "clay", "cloud", "leaf"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(config=tmp_path, data=tmp_path, state=tmp_path, runtime=tmp_path)


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    build_tiny(home.models / "tiny")
    with Store.in_memory() as store:
        yield store


def write_rows(path: Path, answer: Callable[[str, str], str]) -> Path:
    """Prompts that are no near-duplicates of each other."""
    source = random.Random(1)
    words = ["".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(400)]
    rows = [
        {"instruction": " ".join([colour, thing, *source.sample(words, 3)]), "output": answer(colour, thing)}
        for colour in COLOURS
        for thing in THINGS
    ]
    path.write_text(json.dumps(rows), "utf-8")
    return path


def make_dataset(store: Store, home: Home, answer: Callable[[str, str], str], name: str = "colours") -> None:
    model = ModelLibrary(home.models).find("tiny")
    request = BuildRequest(
        name=name, kind="sft", files=(write_rows(home.data / f"{name}.json", answer),), near=1.1, system="Answer."
    )
    build(store, home, model.load_template(), model, request, lambda *_: None)


def train(store: Store, home: Home, name: str = "colours", **changes: Any) -> tuple[Finetuned, list[Event]]:
    events: list[Event] = []
    lesson = choose_lesson(store, home, name)
    config = small(**{"learning_rate": 3e-2, "batch_tokens": 512, "epochs": 6.0, "evaluate_every": 10, **changes})
    done = finetune(store, home, lesson, config, events.append, author="ada", on_begin=lambda _: None)
    return done, events


def compare(store: Store, home: Home, candidate: str, against: str = "tiny") -> Report:
    limits = Limits(replies=8, tokens=8)
    pairing = pair(store, home, candidate, against=against, limits=limits)
    return evaluate(store, pairing, limits=limits, on_progress=lambda *_: None)


@pytest.mark.slow
def test_from_rows_to_a_champion_and_its_trail(store: Store, home: Home) -> None:
    make_dataset(store, home, lambda colour, thing: f"The {thing} is {colour}.")
    done, events = train(store, home)
    assert done.model == "colours-1"
    assert any(isinstance(event, Step) for event in events)
    assert any(isinstance(event, Saved) for event in events)
    looks = [event for event in events if isinstance(event, HeldOut)]
    assert looks[-1].loss < looks[0].loss
    run = store.runs.find("colours-1")
    assert (run.status, run.model, run.datasets) == ("complete", "colours-1", ("colours/1",))
    assert store.runs.metrics(run.id, "held-out loss")[0] == (0, looks[0].loss)
    assert store.aliases.all() == {"candidate": "colours-1"}

    report = compare(store, home, "colours-1")
    measures = {(one.suite, one.metric): one for one in report.measures}
    loss = measures["held-out", "loss"]
    assert loss.high is not None
    assert loss.high < 0, "it learnt"
    assert loss.n >= 8
    assert {"general", "safety", "replies", "speed"} <= {one.suite for one in report.measures}
    assert report.curve == tuple(store.runs.metrics(run.id, "loss"))
    decision = read_gate(store, home, SETTINGS, "colours-1")
    assert decision is not None
    assert decision.evaluation == report.id
    assert decision.reasons == tuple(reason.text for reason in report.reasons)

    done_moving = promote(
        store,
        home,
        SETTINGS,
        "colours-1",
        open_engine=lambda: ScriptedEngine([["Hi."]]),
        author="ada",
        force=True,
        reason="a tiny model",
    )
    assert done_moving.reached == "colours-1"
    origin = store.lineage.of_model(store.model_versions.find("colours-1").id)
    assert [one.name for one in origin.datasets] == ["colours"]
    assert origin.base_model == "tiny"
    with pytest.raises(PromotionRefused, match="compared with itself"):
        pair(store, home, "colours-1", against="colours-1", limits=Limits())
    with pytest.raises(NotFound):
        pair(store, home, "tiny", against="colours-1", limits=Limits())


@pytest.mark.slow
def test_answers_that_are_all_the_same_are_refused_with_the_reason(store: Store, home: Home) -> None:
    make_dataset(store, home, lambda colour, thing: "banana", "same")
    done, _ = train(store, home, "same")
    report = compare(store, home, done.model)
    assert report.verdict == "worse"
    assert any("answers are the same, “banana”" in one.text for one in report.reasons), report.reasons
    with pytest.raises(PromotionRefused, match="spoiled"):
        promote(store, home, SETTINGS, done.model, open_engine=lambda: ScriptedEngine([["Hi."]]), author="ada")


def test_a_complete_run_is_not_resumed(store: Store, home: Home) -> None:
    make_dataset(store, home, lambda colour, thing: f"The {thing} is {colour}.")
    done, _ = train(store, home, epochs=1.0)
    run = store.runs.find(done.run_id)
    with pytest.raises(LearningError, match="complete"):
        resume(store, home, run, lambda _: None, author="ada")
    assert [one.name for one in ModelLibrary(home.models).list()] == ["colours-1", "tiny"]
    with pytest.raises(NotFound):
        choose_lesson(store, home, "talks")
