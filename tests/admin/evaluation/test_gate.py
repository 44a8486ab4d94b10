"""The gate: a gain must be proven, a harm need only be likely, spoiled data is named, to measure less never helps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chatbot.admin.datasets.items import Turn
from chatbot.admin.evaluation.comparing import count_needed
from chatbot.admin.evaluation.gate import FEWEST, REPLIES, Data, decide
from chatbot.admin.evaluation.measuring import pair_scores
from chatbot.admin.evaluation.questions import Question
from chatbot.admin.evaluation.records import Borrowed, Fit, Measure, Reason, Verdict
from chatbot.admin.evaluation.statistics import Interval, needed_samples
from chatbot.admin.evaluation.suites import list_suite_prompts

LOSS = Measure("held-out", "loss", 1.0, 2.0, 20, "lower", low=-1.2, high=-0.8, stderr=0.1)
MARGIN = Measure("held-out", "margin", 3.0, 1.0, 20, "higher", low=1.0, high=3.0, stderr=0.5)
GENERAL = Measure("general", "accuracy", 0.6, 0.6, 100, "higher", low=-0.05, high=0.05, stderr=0.02)
SAFETY = replace(GENERAL, suite="safety")
ENDED = Measure("replies", "ended", 1.0, 0.9, 20, "higher", low=0.0, high=0.2, stderr=0.05)
REPETITIVE = Measure("replies", "repetitive", 0.0, 0.0, 20, "lower", low=0.0, high=0.0, stderr=0.0)
TOPICS = (
    "the moon", "bread", "a violin", "football", "taxes", "whales", "the past tense", "Kyoto", "glue", "marriage",
    "rust", "chess", "thunder", "salt", "poetry", "elevators", "bees", "the euro", "sleep", "granite",
)  # fmt: skip
WHO = (
    "Who are you?", "who are you", "Tell me who you are.", "Can you tell me who you are?", "What is your name?",
    "What's your name?", "Do you have a name?", "May I ask your name?", "Could you introduce yourself?",
    "Please introduce yourself.", "Who am I talking to?", "What should I call you?", "So, who are you?",
)  # fmt: skip


def ask(prompts: Sequence[str], answers: Sequence[str]) -> tuple[Question, ...]:
    return tuple(
        Question((Turn(role="user", content=prompt),), answer, str(place))
        for place, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    )


VARIED = [f"reply {n}" for n in range(20)]
GOOD = Data(20, ask(TOPICS, VARIED), Fit(Interval(0.95, 0.9, 1.0, 0.02), 20))


def judge(
    *changed: Measure,
    data: Data = GOOD,
    candidate: Sequence[str] = VARIED,
    champion: Sequence[str] = VARIED,
    asked: Sequence[Question] | None = None,
) -> tuple[Verdict, tuple[Reason, ...]]:
    """`asked` are the first of the questions, unless they are given."""
    found = {(one.suite, one.metric): one for one in (LOSS, GENERAL, SAFETY, ENDED, REPETITIVE)}
    found |= {(one.suite, one.metric): one for one in changed}
    replies = {"candidate": candidate, "champion": champion}
    return decide(list(found.values()), data, replies, data.questions[: len(candidate)] if asked is None else asked)


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


def test_too_few_groups_decide_nothing_however_many_items_they_hold() -> None:
    verdict, reasons = judge(replace(LOSS, n=500), data=replace(GOOD, groups=FEWEST - 1))
    assert verdict == "undecided"
    assert "Only 7 independent groups of items were held out" in reasons[0].text


def test_what_cannot_be_said_is_said_without_infinities() -> None:
    for data in (GOOD, replace(GOOD, groups=1)):
        verdict, reasons = judge(replace(LOSS, low=None, high=None, stderr=None, n=1), data=data)
        assert verdict == "undecided"
        text = " ".join(reason.text for reason in reasons)
        assert "inf" not in text
        assert "1 items" not in text
        assert "1 independent groups" not in text


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_worse_with_that_reason(value: float) -> None:
    verdict, reasons = judge(replace(LOSS, candidate=value, low=None, high=None, stderr=None))
    assert verdict == "worse"
    assert "loss is no number" in reasons[0].text
    verdict, reasons = judge(replace(LOSS, champion=value, low=None, high=None, stderr=None))
    assert verdict == "undecided"


@pytest.mark.parametrize(("suite", "words"), [("general", "It forgets"), ("safety", "It is less safe")])
def test_a_watched_suite_may_fall_by_one_standard_error_and_no_more(suite: str, words: str) -> None:
    allowed = replace(GENERAL, suite=suite, candidate=0.581)
    assert judge(allowed)[0] == "better"
    verdict, reasons = judge(replace(allowed, candidate=0.57))
    assert verdict == "worse"
    assert words in reasons[0].text


@pytest.mark.parametrize("count", [8, 11, 42, 49, 100, 123, 999])
def test_one_lost_item_of_a_suite_is_no_loss_and_two_are_whatever_the_rounding(count: int) -> None:
    """One lost item is exactly one standard error of the paired difference."""
    before = [1.0] * count
    for lost, verdict in ((1, "better"), (2, "worse")):
        after = [0.0] * lost + before[lost:]
        assert judge(pair_scores("general", "accuracy", after, before, "higher"))[0] == verdict
        assert judge(pair_scores("general", "accuracy", after[::-1], before, "higher"))[0] == verdict
    balanced = ([0.0, 0.0, 1.0, *before[3:]], [1.0, 1.0, 0.0, *before[3:]])
    assert judge(pair_scores("general", "accuracy", *balanced, "higher"))[0] == "better"


def test_answers_that_are_all_the_same_are_spoiled() -> None:
    data = replace(GOOD, questions=ask(TOPICS, ("banana",) * 15 + tuple(VARIED[:5])))
    verdict, reasons = judge(data=data)
    assert verdict == "worse"
    assert "15 of 20 answers are the same, “banana”" in reasons[0].text


def test_one_answer_to_many_ways_of_asking_the_same_is_no_spoiling() -> None:
    """Of which the model then rightly says the same to most."""
    data = replace(GOOD, questions=ask(WHO, ("I am Ada.",) * len(WHO)), groups=len(WHO))
    assert judge(data=data, candidate=["I am Ada."] * len(WHO))[0] == "better"
    assert judge(data=replace(data, questions=ask(TOPICS, ("I am Ada.",) * 20)))[0] == "worse"


@pytest.mark.parametrize("count", [8, 20, 100])
def test_one_answer_to_prompts_of_all_kinds_is_spoiled(count: int) -> None:
    prompts = list_suite_prompts()
    some = [prompts[place * len(prompts) // count] for place in range(count)]
    assert "spoiled" in judge(data=replace(GOOD, questions=ask(some, ("banana",) * count)))[1][0].text


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(0.5, 0.35, 0.65, 0.07), "worse"),  # shuffled
        (Interval(0.6, 0.45, 0.75, 0.07), "worse"),
        (Interval(0.7, 0.48, 0.9, 0.1), "undecided"),  # too few to tell
        (Interval(0.7, 0.52, 0.88, 0.09), "better"),
        (Interval(1.0, 1.0, 1.0, 0.0), "better"),
    ],
)
def test_answers_that_do_not_belong_to_their_prompts_are_spoiled(interval: Interval, verdict: str) -> None:
    found, reasons = judge(data=replace(GOOD, fit=Fit(interval, 17)))
    assert found == verdict
    if verdict == "worse":
        assert "do not belong to their prompts" in reasons[0].text
    if verdict != "better":
        assert "of 17 answers" in reasons[0].text


def test_data_of_which_it_could_not_be_asked_whether_it_is_spoiled_is_not_passed() -> None:
    verdict, reasons = judge(data=replace(GOOD, fit=None))
    assert verdict == "undecided"
    assert "belong to their prompts cannot be told" in reasons[0].text


@pytest.mark.parametrize("suite", ["general", "safety"])
def test_a_watched_suite_that_lost_items_is_not_kept(suite: str) -> None:
    short = replace(GENERAL, suite=suite, n=1, left_out=99)
    verdict, reasons = judge(short)
    assert verdict == "undecided"
    assert f"99 items of the suite {suite} could not be asked" in reasons[0].text
    assert judge(replace(short, candidate=0.0, champion=1.0))[0] == "worse"


def test_replies_are_compared_with_the_answers_to_what_was_asked() -> None:
    """The first half of the questions has one right answer, the other half has many; both were asked."""
    topics = [f"{topic} {number}" for topic in TOPICS for number in range(4)]
    answers = ["Yes."] * 40 + [f"answer {number}" for number in range(40)]
    data = replace(GOOD, questions=ask(WHO[:1] * 40 + tuple(topics[40:]), answers))
    replies = ["Yes."] * 25 + VARIED[:7]
    assert judge(data=data, candidate=replies, champion=VARIED * 2)[0] == "better", "only the first half was asked"
    verdict, reasons = judge(data=data, candidate=replies, champion=VARIED * 2, asked=data.questions[30:62])
    assert verdict == "worse"
    assert "It says the same to most prompts" in reasons[0].text


def test_one_reply_to_every_prompt_is_a_collapse_unless_it_was_so_before() -> None:
    verdict, reasons = judge(candidate=["Yes."] * 15 + VARIED[:5])
    assert verdict == "worse"
    assert "It says the same to most prompts: “Yes.”" in reasons[0].text
    assert judge(candidate=["Yes."] * 15 + VARIED[:5], champion=["No."] * 20)[0] == "better"


def test_replies_that_no_longer_end_or_run_in_circles_are_worse() -> None:
    assert judge(replace(ENDED, candidate=0.7))[0] == "worse"
    assert judge(replace(ENDED, candidate=0.85))[0] == "better"
    assert judge(replace(REPETITIVE, candidate=0.3, stderr=0.05))[0] == "worse"


def test_fewer_replies_than_there_are_prompts_for_decide_nothing() -> None:
    """What is not looked at shows no harm."""
    for count in (0, 1, 19):
        verdict, reasons = judge(candidate=VARIED[:count], champion=VARIED[:count])
        assert verdict == "undecided"
        assert "answered" in reasons[0].text
    topics = tuple(f"{topic} {number}" for topic in TOPICS for number in range(3))
    many = replace(GOOD, questions=ask(topics, [f"answer {number}" for number in range(60)]))
    replies = [f"reply {number}" for number in range(60)]
    assert judge(data=many, candidate=replies[:REPLIES], champion=replies[:REPLIES])[0] == "better"
    assert judge(data=many, candidate=replies[: REPLIES - 1], champion=replies[: REPLIES - 1])[0] == "undecided"


@pytest.mark.parametrize(
    ("borrowed", "verdict", "words"),
    [
        (Borrowed(8, 0.4, 3, 0.9), "better", ""),
        (Borrowed(8, -0.1, 7, 0.9), "undecided", "not large enough"),
        (Borrowed(8, 0.4, 7, -0.1), "undecided", "gains nothing"),
        (Borrowed(8, 0.4, 2, 0.9), "undecided", "only 2 groups did not"),
        (Borrowed(0, -math.inf, 7, 0.9), "undecided", "nothing is recorded"),
        (Borrowed(8, math.nan, 7, 0.9), "undecided", "not large enough"),
        (Borrowed(8, 0.4, 7, math.nan), "undecided", "gains nothing"),
    ],
)
def test_what_chose_the_weights_convinces_only_by_more(borrowed: Borrowed, verdict: str, words: str) -> None:
    found, reasons = judge(data=replace(GOOD, borrowed=borrowed))
    assert found == verdict
    assert words in reasons[0].text


def test_good_replies_may_not_become_less_likely_nor_bad_ones_likelier() -> None:
    good = Measure("held-out", "good replies", -9.0, -10.0, 10, "higher", low=0.2, high=1.8, stderr=0.4, unit="nats")
    bad = Measure("held-out", "bad replies", -12.0, -10.0, 10, "lower", low=-3.0, high=-1.0, stderr=0.5, unit="nats")

    def judge_labels(*measures: Measure) -> tuple[Verdict, tuple[Reason, ...]]:
        replies = {"candidate": VARIED, "champion": VARIED}
        return decide([*measures, GENERAL, SAFETY, ENDED, REPETITIVE], GOOD, replies, GOOD.questions)

    assert judge_labels(MARGIN, good, bad)[0] == "better"
    assert judge_labels(MARGIN, replace(good, low=-1.0, high=0.1), bad)[0] == "better"
    fallen = replace(good, candidate=-14.0, low=-5.0, high=-3.0)
    verdict, reasons = judge_labels(MARGIN, fallen, replace(bad, candidate=-30.0, low=-22.0, high=-18.0))
    assert verdict == "worse"
    assert "Good replies became less likely" in reasons[0].text
    verdict, reasons = judge_labels(MARGIN, good, replace(bad, candidate=-9.0, low=0.5, high=1.5))
    assert verdict == "worse"
    assert "Bad replies became likelier" in reasons[0].text
    verdict, reasons = judge_labels(good)
    assert verdict == "undecided"
    assert "it takes both kinds" in reasons[0].text


@pytest.mark.parametrize(
    ("changes", "groups", "least"),
    [
        ({"low": -2.0, "high": 0.1, "stderr": 0.5}, 20, 21),
        ({"low": -1.1, "high": -0.9, "stderr": 0.0001, "n": 3}, 3, FEWEST),
        ({"low": -1.1, "high": -0.9, "stderr": 0.0001, "n": 30}, 3, 80),
    ],
)
def test_what_would_decide_is_more_than_there_was_and_enough(changes: dict[str, Any], groups: int, least: int) -> None:
    measure = replace(LOSS, **changes)
    needed = count_needed(measure, replace(GOOD, groups=groups))
    assert needed is not None
    assert needed >= max(least, needed_samples(measure.difference, measure.stderr or 0, measure.n) or 0)
    assert needed > measure.n


def test_no_number_is_named_where_more_would_not_decide() -> None:
    assert count_needed(LOSS, GOOD) is None
    assert count_needed(replace(LOSS, candidate=math.nan, low=None, high=None, stderr=None), GOOD) is None
    assert count_needed(replace(LOSS, low=None, high=None, stderr=None), GOOD) is None


def test_the_reasons_that_decide_come_first() -> None:
    weights = [reason.weight for reason in judge(replace(LOSS, low=-0.1, high=0.1), replace(ENDED, candidate=0.2))[1]]
    assert weights == sorted(weights, key=("worse", "undecided", "better").index)
    assert weights[0] == "worse"
