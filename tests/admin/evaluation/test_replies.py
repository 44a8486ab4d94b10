"""How long a reply may grow follows from the approved one, within bounds, and so does what is said of its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbot.admin.evaluation.bench import Answer
from chatbot.admin.evaluation.replies import compare_replies, measure_replies, set_limits
from tests.admin.evaluation.benches import StubBench, ask, make_stub


def test_limits_follow_from_the_approved_reply_within_what_there_is_room_for() -> None:
    assert set_limits([3, 50, 400], [10, 10, 10], most=256, window=2048) == [64, 132, 256]
    assert set_limits([50], [2000], most=256, window=2048) == [48]
    assert set_limits([50], [3000], most=256, window=2048) == [1]
    assert set_limits([3], [10], most=8, window=2048) == [8]


def test_a_reply_as_long_as_the_approved_one_may_end(tmp_path: Path) -> None:
    long = "the sky " * 60
    bench = make_stub(tmp_path / "a", lambda *_: 1.0)
    measures, answers = compare_replies(bench, [ask("Why?", long, "a"), ask("How?", "air", "b")], most=256)
    assert isinstance(bench, StubBench)
    count = len(bench.template.tokenizer.encode(long, add_special_tokens=False).ids)
    assert bench.limits[0] == min(256, 2 * count + 32)
    assert bench.limits[1] == 64
    assert [answer.text for answer in answers["candidate"]] == ["candidate 0", "candidate 1"]
    assert {one.metric for one in measures} == {"chrF", "exact", "length", "ended", "empty", "repetitive", "batch"}


def test_of_ends_nothing_is_said_where_the_approved_reply_is_beyond_the_limit() -> None:
    questions = [ask("a", "one", "a"), ask("b", "two", "b")]
    own = [Answer("one", True, 1, 0.1), Answer("two two", False, 2, 0.1)]
    other = [Answer("two", True, 1, 0.1), Answer("two", True, 1, 0.1)]
    found = {one.metric: one for one in measure_replies(questions, own, other, [True, False])}
    assert (found["ended"].n, found["ended"].candidate) == (1, 1.0)
    assert (found["exact"].n, found["exact"].candidate, found["exact"].champion) == (2, 0.5, 0.5)
    assert found["chrF"].candidate > found["chrF"].champion
    assert "ended" not in {one.metric for one in measure_replies(questions, own, other, [False, False])}
    assert found["batch"].candidate == pytest.approx(3 / 0.2)
