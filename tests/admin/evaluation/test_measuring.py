"""What a model was trained for: a gain is one only if it is one for what it should be for."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem, Turn
from chatbot.admin.evaluation.measuring import count_rows, measure_gain
from tests.admin.evaluation.benches import StubBench, make_stub


def label(number: int, *, good: bool, group: str = "") -> LabelItem:
    turns = (Turn(role="user", content=f"Question {number}?"),)
    reply = "the good air" if good else "the foul air"
    return LabelItem(id=str(number), source="chat", group=group or str(number), turns=turns, reply=reply, good=good)


LABELS: list[Item] = [label(number, good=number >= 3) for number in range(20)]  # 3 bad, 17 good


def test_a_model_to_which_all_replies_are_less_likely_gains_no_margin(tmp_path: Path) -> None:
    """Most held-out replies are good, or most are bad: neither may decide."""
    bench = make_stub(tmp_path / "a", lambda side, *_: 3.0 if side == "candidate" else 2.0)
    for items in (LABELS, [label(number, good=number < 3) for number in range(20)]):
        gain = measure_gain(bench, items, lambda _: None)
        margin, good, bad = gain.measures
        assert (margin.metric, good.metric, bad.metric) == ("margin", "good replies", "bad replies")
        assert margin.low is not None
        assert margin.low <= 0
        assert good.high is not None
        assert good.high < 0
        assert bad.difference < 0


def test_both_kinds_have_a_figure_and_the_margin_is_their_difference(tmp_path: Path) -> None:
    def cost(side: str, _: str, answer: str) -> float:
        return 2.0 if side == "champion" else 1.9 if "good" in answer else 2.5

    gain = measure_gain(make_stub(tmp_path / "a", cost), LABELS, lambda _: None)
    margin, good, bad = gain.measures
    assert (good.n, bad.n, margin.n) == (17, 3, 20)
    assert good.difference > 0 > bad.difference
    assert margin.difference == pytest.approx(good.difference - bad.difference)
    estimate = gain.estimate()
    assert estimate.mean == pytest.approx(margin.difference)
    assert (estimate.low, estimate.high) == (margin.low, margin.high)


def test_groups_with_one_kind_only_tell_no_gain(tmp_path: Path) -> None:
    """A kind that is missing did not stay as it was: nothing is known of it."""
    bench = make_stub(tmp_path / "a", lambda side, *_: 1.0 if side == "candidate" else 2.0)
    gain = measure_gain(bench, LABELS, lambda _: None)
    assert math.isnan(gain.estimate(only={"3", "4", "5"}).mean)
    assert math.isfinite(gain.estimate(only={"1", "2", "3", "4"}).mean)
    one_kind = measure_gain(bench, LABELS[5:], lambda _: None)
    assert math.isnan(one_kind.estimate().mean)


def test_with_one_kind_only_nothing_is_sure(tmp_path: Path) -> None:
    gain = measure_gain(make_stub(tmp_path / "a", lambda *_: 1.0), [*LABELS[5:]], lambda _: None)
    assert [one.metric for one in gain.measures] == ["good replies"]
    assert gain.estimate().low == -math.inf


def test_a_lower_loss_is_a_gain_and_groups_are_drawn_whole(tmp_path: Path) -> None:
    def make(number: int, group: str) -> SftItem:
        turns = (
            Turn(role="user", content=f"Question {number}?"),
            Turn(role="assistant", content="air " * (1 + number % 4), learn=True),
        )
        return SftItem(id=str(number), source="chat", group=group, turns=turns)

    def cost(side: str, prompt: str, _: str) -> float:
        return 2.0 if side == "champion" else 1.0 + 0.1 * (len(prompt) % 3) + 0.3 * ("7" in prompt)

    bench = make_stub(tmp_path / "a", cost)
    alone: list[Item] = [make(number, str(number)) for number in range(20)]
    heard: list[int] = []
    gain = measure_gain(bench, alone, heard.append)
    assert gain.measures[0].metric == "loss"
    assert gain.measures[0].difference < 0 < gain.estimate().low
    assert gain.estimate(confidence=0.999).low < gain.estimate().low
    assert gain.estimate(only={"3", "4", "7"}).mean > 0
    assert gain.estimate(only={"3"}).low == -math.inf
    one_group: list[Item] = [make(number, "one") for number in range(20)]
    assert measure_gain(bench, one_group, lambda _: None).measures[0].low is None
    assert isinstance(bench, StubBench)
    assert sum(count for _, count in bench.asked[:2]) == count_rows(bench.template, alone)


def test_losses_that_are_no_numbers_leave_no_interval(tmp_path: Path) -> None:
    bench = make_stub(tmp_path / "a", lambda side, *_: math.inf if side == "candidate" else 1.0)
    pairs: list[Item] = [
        PreferenceItem(
            id=str(number), source="chat", group=str(number), turns=(Turn(role="user", content=f"Q {number}"),),
            chosen="the air", rejected="the sky",
        )
        for number in range(9)
    ]  # fmt: skip
    for items in (LABELS, pairs):
        measure = measure_gain(bench, items, lambda _: None).measures[0]
        assert not math.isfinite(measure.candidate)
        assert (measure.low, measure.high, measure.stderr) == (None, None, None)
