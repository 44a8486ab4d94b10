"""Answers that belong to their prompts are told from shuffled ones, by whichever model sees it, and no sound set is
refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.admin.evaluation.fit import MOST, PARTNERS, choose_elsewhere, choose_partners, measure_fit
from chatbot.admin.evaluation.gate import FEWEST
from chatbot.admin.evaluation.questions import Question, render_answer
from chatbot.admin.evaluation.spoiling import judge_data
from chatbot.admin.evaluation.suites import list_suite_prompts
from tests.admin.evaluation.benches import StubBench, ask, make_stub
from tests.admin.evaluation.test_gate import WHO

ELSEWHERE = list_suite_prompts()


def make_questions(count: int, *, shuffled: bool = False) -> list[Question]:
    """Each answer speaks of what its prompt asks for."""
    source = random.Random(7)
    topics = ["".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(count)]
    answers = [f"Well, {topic} is a matter of {''.join(source.choices('abcdefghijklmnop', k=20))}." for topic in topics]
    if shuffled:
        source.shuffle(answers)
    pairs = zip(topics, answers, strict=True)
    return [ask(f"{topic} {place}", answer, str(place)) for place, (topic, answer) in enumerate(pairs)]


def know(skill: float, seed: int = 0, side: str = "") -> Callable[[str, str, str], float]:
    """A model to which a word that stands in the prompt is so much likelier; the rest is noise."""
    source = random.Random(seed)

    def cost(who: str, prompt: str, answer: str) -> float:
        topic = answer.split(", ")[1].split(" is", maxsplit=1)[0] if ", " in answer else answer
        gain = skill if topic in prompt and side in {"", who} else 0.0
        return 3.0 - gain + source.gauss(0, 0.3)

    return cost


@pytest.mark.parametrize("count", [12, 17, 40])
def test_shuffled_answers_are_refused_and_their_well_paired_twin_is_not(tmp_path: Path, count: int) -> None:
    for seed in range(5):
        bench = make_stub(tmp_path / f"tiny{seed}", know(0.6, seed))
        for shuffled in (False, True):
            questions = make_questions(count, shuffled=shuffled)
            fit = measure_fit(bench, questions, elsewhere=ELSEWHERE, fewest=FEWEST)
            assert fit is not None
            assert fit.n == count
            weights = [reason.weight for reason in judge_data(questions, fit, fewest=FEWEST)]
            if not shuffled:
                assert weights == []
            elif count >= 17:
                assert weights == ["worse"]
            else:
                assert weights in (["worse"], ["undecided"])


def lengthen(questions: list[Question]) -> list[Question]:
    """Each fills the window; the longer the prompt, the shorter the answer."""
    source = random.Random(8)

    def fill(words: int) -> str:
        return " ".join("".join(source.choices("abcdefghijklmnop", k=7)) for _ in range(words))

    count = len(questions)
    return [
        ask(f"{one.prompt} {fill(2 * place)}", f"{one.answer} {fill(2 * (count - place))}", one.group)
        for place, one in enumerate(questions)
    ]


def find_window(folder: Path, questions: list[Question]) -> int:
    template = make_stub(folder, know(0.0)).template
    return max(len(render_answer(template, one.turns, one.answer).tokens) for one in questions)


def test_shuffled_answers_do_not_pass_because_they_are_long(tmp_path: Path) -> None:
    """Behind a longer prompt than its own an answer exceeds the window, and is asked behind the others."""
    for shuffled, weights in ((False, []), (True, ["worse"])):
        questions = lengthen(make_questions(24, shuffled=shuffled))
        window = find_window(tmp_path / f"measured{shuffled}", questions)
        bench = make_stub(tmp_path / f"tiny{shuffled}", know(2.0), window)
        fit = measure_fit(bench, questions, elsewhere=ELSEWHERE, fewest=FEWEST)
        assert fit is not None
        assert fit.n >= 16
        assert [reason.weight for reason in judge_data(questions, fit, fewest=FEWEST)] == weights


def test_prompts_of_other_kinds_are_no_substitute_for_those_that_are_too_long(tmp_path: Path) -> None:
    """Shuffled answers are at home among the prompts of their data, whatever else they are laid behind."""
    questions = lengthen(make_questions(FEWEST, shuffled=True))
    window = find_window(tmp_path / "measured", questions)
    bench = make_stub(tmp_path / "tiny", lambda _, prompt, __: 2.0 - any(one.prompt[:9] in prompt for one in questions))
    fit = measure_fit(bench, questions, elsewhere=ELSEWHERE, fewest=FEWEST)
    assert fit is not None, "with room enough it is asked"
    tight = make_stub(tmp_path / "tight", know(0.0), window)
    assert measure_fit(tight, questions, elsewhere=["Sing."] * 4, fewest=FEWEST) is None


def test_the_candidate_is_asked_only_where_the_base_sees_nothing(tmp_path: Path) -> None:
    questions = make_questions(20)
    bench = make_stub(tmp_path / "one", know(2.0))
    assert measure_fit(bench, questions, elsewhere=ELSEWHERE, fewest=FEWEST)
    assert isinstance(bench, StubBench)
    assert [side for side, _ in bench.asked] == ["base"]
    bench = make_stub(tmp_path / "two", know(2.0, side="candidate"))
    fit = measure_fit(bench, questions, elsewhere=ELSEWHERE, fewest=FEWEST)
    assert fit is not None
    assert fit.interval.low > 0.9


def test_a_few_held_out_answers_do_not_hide_that_all_are_shuffled(tmp_path: Path) -> None:
    data = make_questions(60)
    held_out = data[:FEWEST]
    source = random.Random(3)
    bench = make_stub(tmp_path / "one", lambda *_: source.random())
    fit = measure_fit(bench, held_out, data=data, elsewhere=ELSEWHERE, fewest=FEWEST)
    assert fit is not None
    assert fit.n > FEWEST
    assert [reason.weight for reason in judge_data(data, fit, fewest=FEWEST)] == ["worse"]
    assert isinstance(bench, StubBench)
    assert "candidate" in {side for side, _ in bench.asked}, "it might have known"


def test_too_few_questions_say_nothing(tmp_path: Path) -> None:
    bench = make_stub(tmp_path / "tiny", know(0.0))
    assert measure_fit(bench, make_questions(FEWEST - 1), elsewhere=ELSEWHERE, fewest=FEWEST) is None
    one_group = [replace(one, group="one") for one in make_questions(30)]
    assert measure_fit(bench, one_group, elsewhere=ELSEWHERE, fewest=FEWEST) is None
    assert measure_fit(bench, [], elsewhere=ELSEWHERE, fewest=FEWEST) is None
    assert [one.weight for one in judge_data(make_questions(20), None, fewest=FEWEST)] == ["undecided"]


def test_prompts_that_ask_the_same_are_laid_beside_others(tmp_path: Path) -> None:
    """Answers to ways of asking for a name belong to all of them, and to no question about something else."""
    questions = [ask(prompt, f"I am Ada{'!' * place}", str(place)) for place, prompt in enumerate(WHO)]

    def cost(_: str, prompt: str, answer: str) -> float:
        own = any(word in prompt for word in ("name", "who are", "Who a", "introduce", "call", "Who am"))
        return 1.0 if own and "Ada" in answer else 2.0

    fit = measure_fit(make_stub(tmp_path / "one", cost), questions, elsewhere=ELSEWHERE, fewest=FEWEST)
    assert fit is not None
    assert fit.interval.low > 0.7
    assert judge_data(questions, fit, fewest=FEWEST) == []
    bananas = [replace(one, answer="banana") for one in questions]
    source = random.Random(1)
    blind = make_stub(tmp_path / "two", lambda *_: source.random())
    fit = measure_fit(blind, bananas, elsewhere=ELSEWHERE, fewest=FEWEST)
    assert fit is not None
    assert [reason.weight for reason in judge_data(bananas, fit, fewest=FEWEST)] != []
    assert isinstance(blind, StubBench)
    assert {side for side, _ in blind.asked} == {"base"}, "the candidate learnt the word with the kind of prompt"


def test_shuffled_answers_to_prompts_of_one_form_do_not_pass_for_sound(tmp_path: Path) -> None:
    """They are at home among such prompts, each at another one than its own: nobody can tell that from many ways of
    asking for one thing, so nothing is said of spoiling, but it is not passed either."""
    source = random.Random(3)
    names, towns = (["".join(source.choices("abcdefghijklmnop", k=12)) for _ in range(18)] for _ in range(2))

    def cost(_: str, prompt: str, answer: str) -> float:
        own = any(name[:8] in prompt and town in answer for name, town in zip(names, towns, strict=True))
        return 3.0 - 1.0 * ("capital of" in prompt) - 1.0 * own + source.gauss(0, 0.2)

    sound = [
        ask(f"What is the capital of {name[:8]}?", f"{town}.", name) for name, town in zip(names, towns, strict=True)
    ]
    mixed = [replace(one, answer=sound[place - 5].answer) for place, one in enumerate(sound)]
    assert not choose_partners(sound)
    assert choose_partners(sound, 0.6)
    for number, (questions, weights) in enumerate(((sound, []), (mixed, ["undecided"]))):
        bench = make_stub(tmp_path / f"tiny{number}", cost)
        fit = measure_fit(bench, questions, elsewhere=["Sing.", "How are bridges built?"], fewest=FEWEST)
        assert [reason.weight for reason in judge_data(questions, fit, fewest=FEWEST)] == weights


def test_partners_are_of_other_groups_and_ask_and_say_something_else() -> None:
    questions = [
        ask("What is the capital of Peru?", "Lima.", "a"),
        ask("what is the capital of peru", "It is Lima.", "b"),
        ask("Name a fruit.", "Lima.", "c"),
        ask("How do I mend a bicycle?", "With patience and glue.", "a"),
        ask("Sing me something.", "La la la, and then once more.", "d"),
    ]
    laid = choose_partners(questions)
    assert laid[0][0] is questions[0]
    assert [turns[-1].content for turns in laid[0][1]] == ["Sing me something."]
    many = choose_partners(make_questions(300))
    assert len(many) == MOST
    assert {len(others) for _, others in many} == {PARTNERS}
    elsewhere = choose_elsewhere(questions, ["What is the capital of Peru?", "Count to three."])
    assert [turns[-1].content for turns in elsewhere[0][1]] == ["Count to three."]


def test_rows_beyond_the_window_and_losses_that_are_no_numbers_are_no_witnesses(tmp_path: Path) -> None:
    bench = make_stub(tmp_path / "one", know(2.0), window=8)
    assert measure_fit(bench, make_questions(20), elsewhere=ELSEWHERE, fewest=FEWEST) is None
    broken = make_stub(tmp_path / "two", lambda *_: float("nan"))
    questions = make_questions(20)
    fit = measure_fit(broken, questions, elsewhere=ELSEWHERE, fewest=FEWEST)
    assert fit is not None
    assert judge_data(questions, fit, fewest=FEWEST)[0].weight == "worse"
