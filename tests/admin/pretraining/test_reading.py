"""Two readers beside each other: in bits a byte, whatever their tokens are, and through the gate."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chatbot.admin.evaluation.reading import evaluate_reading, pair_reading
from chatbot.admin.promotion import read_gate
from chatbot.config import Home, Settings
from chatbot.errors import PromotionRefused
from chatbot.store.database import Store
from tests.admin.pretraining.readers import do, prepare
from tests.admin.training.samples import build_tiny


def test_who_has_read_more_of_it_is_better_at_it_and_no_chat_is_replaced_by_a_reader(
    store: Store, home: Home, tmp_path: Path
) -> None:
    tiny = build_tiny(home.models / "tiny")
    job, corpus = prepare(store, home, tmp_path, tokens=60 * 8 * 32)
    done = do(store, home, job, corpus)
    run = store.runs.find(done.run_id)
    told: list[str] = []
    pair = pair_reading(store, home, done.model, run, against="tiny")
    report = evaluate_reading(store, pair, lambda title, _count, _total: told.append(title))
    first = report.measures[0]
    assert (first.suite, first.metric) == ("held-out", "bits a byte")
    assert first.candidate < first.champion, "the other has other tokens and never read it"
    assert first.high is not None
    assert first.high < 0
    assert any("was taught no conversation" in reason.text for reason in report.reasons)
    assert report.verdict != "better"
    assert {measure.suite for measure in report.measures} <= {"held-out", "general", "safety"}
    assert any("window of 32" in reason.text for reason in report.reasons), "what was not asked is told"
    assert report.comparisons == () or report.comparisons[0].prompt
    assert len(report.curve) == 60
    assert "held-out text" in told
    gate = read_gate(store, home, Settings(model="tiny"), done.model)
    assert gate is not None
    assert gate.value < 1
    assert tiny.manifest.answers == "chat"


def test_bits_a_byte_are_those_of_the_loss(store: Store, home: Home, tmp_path: Path) -> None:
    """The same figure as the training's own, but for where documents are cut."""
    build_tiny(home.models / "tiny")
    job, corpus = prepare(store, home, tmp_path)
    done = do(store, home, job, corpus)
    pair = pair_reading(store, home, done.model, store.runs.find(done.run_id), against="tiny")
    report = evaluate_reading(store, pair, lambda *_: None)
    assert done.outcome.bits_per_byte is not None
    assert report.measures[0].candidate == pytest.approx(done.outcome.bits_per_byte, rel=0.1)
    assert report.measures[1].candidate == pytest.approx(math.exp(done.outcome.loss or 0), rel=0.3)


def test_without_anything_held_out_nothing_is_said(store: Store, home: Home, tmp_path: Path) -> None:
    build_tiny(home.models / "tiny")
    job, corpus = prepare(store, home, tmp_path, holdout=0.0)
    done = do(store, home, job, corpus)
    assert done.outcome.loss is None
    with pytest.raises(PromotionRefused, match="holds nothing out"):
        pair_reading(store, home, done.model, store.runs.find(done.run_id), against="tiny")
