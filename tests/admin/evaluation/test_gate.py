"""The gate: a gain must be proven, a harm need only be likely, spoiled data is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chatbot.admin.evaluation.gate import FEWEST, Data, decide
from chatbot.admin.evaluation.records import Measure, Reason, Verdict
from chatbot.admin.evaluation.statistics import Interval

LOSS = Measure("held-out", "loss", 1.0, 2.0, 20, "lower", low=-1.2, high=-0.8, stderr=0.1)
GENERAL = Measure("general", "accuracy", 0.6, 0.6, 100, "higher", low=-0.05, high=0.05, stderr=0.02)
SAFETY = replace(GENERAL, suite="safety")
ENDED = Measure("replies", "ended", 1.0, 0.9, 20, "higher", low=0.0, high=0.2, stderr=0.05)
REPETITIVE = Measure("replies", "repetitive", 0.0, 0.0, 20, "lower", low=0.0, high=0.0, stderr=0.0)
GOOD = Data(20, tuple(f"answer {n}" for n in range(20)), Interval(0.5, 0.3, 0.7, 0.1))
VARIED = [f"reply {n}" for n in range(20)]


def judge(
    *changed: Measure, data: Data = GOOD, candidate: Sequence[str] = VARIED, champion: Sequence[str] = VARIED
) -> tuple[Verdict, tuple[Reason, ...]]:
    found = {(one.suite, one.metric): one for one in (LOSS, GENERAL, SAFETY, ENDED, REPETITIVE)}
    found |= {(one.suite, one.metric): one for one in changed}
    replies = {"candidate": candidate, "champion": champion}
    return decide(list(found.values()), data, replies, primary=("held-out", "loss"))


def test_a_sure_gain_that_harms_nothing_is_better() -> None:
    verdict, reasons = judge()
    assert verdict == "better"
    assert {reason.weight for reason in reasons} == {"better"}


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-0.5, -0.01, "better"), (-0.5, 0.01, "undecided"), (0.01, 0.5, "worse")]
)
def test_the_whole_interval_must_lie_on_one_side(low: float, high: float, verdict: str) -> None:
    assert judge(replace(LOSS, low=low, high=high))[0] == verdict


def test_what_should_rise_is_read_the_other_way_round() -> None:
    assert judge(replace(LOSS, better="higher"))[0] == "worse"
    assert judge(replace(LOSS, better="higher", low=0.1, high=0.2))[0] == "better"


def test_too_few_items_decide_nothing() -> None:
    verdict, reasons = judge(data=replace(GOOD, items=FEWEST - 1))
    assert verdict == "undecided"
    assert "were held out" in reasons[0].text


@pytest.mark.parametrize("suite", ["general", "safety"])
def test_a_watched_suite_may_fall_by_one_standard_error_and_no_more(suite: str) -> None:
    allowed = replace(GENERAL, suite=suite, candidate=0.581)
    assert judge(allowed)[0] == "better"
    verdict, reasons = judge(replace(allowed, candidate=0.57))
    assert verdict == "worse"
    assert "It forgets" in reasons[0].text


def test_answers_that_are_all_the_same_are_spoiled() -> None:
    verdict, reasons = judge(data=replace(GOOD, references=("banana",) * 15 + GOOD.references[:5]))
    assert verdict == "worse"
    assert "15 of 20 answers are the same, “banana”" in reasons[0].text


def test_answers_that_do_not_belong_to_their_prompts_are_spoiled() -> None:
    verdict, reasons = judge(data=replace(GOOD, fit=Interval(0.01, -0.1, 0.1, 0.05)))
    assert verdict == "worse"
    assert "do not belong to their prompts" in reasons[0].text
    assert judge(data=replace(GOOD, fit=None))[0] == "better"


def test_one_reply_to_every_prompt_is_a_collapse_unless_it_was_so_before() -> None:
    verdict, reasons = judge(candidate=["Yes."] * 15 + VARIED[:5])
    assert verdict == "worse"
    assert "It says the same to most prompts: “Yes.”" in reasons[0].text
    assert judge(candidate=["Yes."] * 15 + VARIED[:5], champion=["No."] * 20)[0] == "better"


def test_replies_that_no_longer_end_or_run_in_circles_are_worse() -> None:
    assert judge(replace(ENDED, candidate=0.7))[0] == "worse"
    assert judge(replace(ENDED, candidate=0.85))[0] == "better"
    assert judge(replace(REPETITIVE, candidate=0.3, stderr=0.05))[0] == "worse"


def test_the_reasons_that_decide_come_first() -> None:
    weights = [reason.weight for reason in judge(replace(LOSS, low=-0.1, high=0.1), replace(ENDED, candidate=0.2))[1]]
    assert weights == sorted(weights, key=("worse", "undecided", "better").index)
    assert weights[0] == "worse"
