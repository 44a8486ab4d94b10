"""A right answer is found only by a model that can tell it from the others."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chatbot.admin.evaluation.bench import Loss
from chatbot.admin.evaluation.choices import choose, compare_choices
from chatbot.admin.evaluation.suites import Suite, SuiteItem
from chatbot.errors import InvalidInput
from tests.admin.evaluation.benches import make_stub

SUITE = Suite(
    "general",
    "0",
    (
        SuiteItem(id="a", area="x", prompt="One?", right="right one", wrong=("wrong one", "bad one")),
        SuiteItem(id="b", area="x", prompt="Two? " * 30, right="right two", wrong=("wrong two",)),
    ),
)


@pytest.mark.parametrize(
    ("losses", "place"),
    [
        ([1.0, 2.0], 0),
        ([2.0, 1.0], 1),
        ([1.0, 1.0], None),
        ([1.0, 1.0, 0.5], 2),
        ([math.nan, 1.0], None),
        ([1.0, math.nan], None),
        ([1.0, math.inf], None),
    ],
)
def test_ties_and_what_is_no_number_are_no_choice(losses: list[float], place: int | None) -> None:
    assert choose([Loss(loss * 4, 4) for loss in losses]) == place


def test_the_share_of_right_answers_of_both(tmp_path: Path) -> None:
    bench = make_stub(
        tmp_path / "a", lambda side, _, answer: 1.0 if (side == "candidate") == ("right" in answer) else 2
    )
    measure, chosen = compare_choices(bench, SUITE)
    assert (measure.candidate, measure.champion, measure.n) == (1.0, 0.0, 2)
    assert chosen[0] == ("One?", "right one", True)


def test_a_broken_model_has_nothing_right(tmp_path: Path) -> None:
    bench = make_stub(tmp_path / "a", lambda side, *_: math.nan if side == "candidate" else 1.0)
    measure, chosen = compare_choices(bench, SUITE)
    assert (measure.candidate, measure.champion) == (0.0, 0.0)
    assert chosen[0] == ("One?", "", False)


def test_items_beyond_the_window_are_left_out_and_none_at_all_is_refused(tmp_path: Path) -> None:
    bench = make_stub(tmp_path / "a", lambda *_: 1.0, window=60)
    measure = compare_choices(bench, SUITE)[0]
    assert (measure.n, measure.left_out) == (1, 1)
    assert compare_choices(make_stub(tmp_path / "c", lambda *_: 1.0), SUITE)[0].left_out == 0
    with pytest.raises(InvalidInput, match="window"):
        compare_choices(make_stub(tmp_path / "b", lambda *_: 1.0, window=3), SUITE)
