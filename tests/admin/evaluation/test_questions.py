"""Which questions are asked where not all can be."""

from __future__ import annotations

from chatbot.admin.evaluation.questions import Question, choose_evenly
from tests.admin.evaluation.benches import ask


def make(groups: str) -> list[Question]:
    return [ask(f"{place}", "air", group) for place, group in enumerate(groups)]


def choose(groups: str, most: int) -> list[int]:
    return [int(one.prompt) for one in choose_evenly(make(groups), most)]


def test_all_that_there_are_stay_in_their_order() -> None:
    assert choose("abcaab", 6) == [0, 1, 2, 3, 4, 5]
    assert choose("abcaab", 60) == [0, 1, 2, 3, 4, 5]
    assert choose("", 3) == []


def test_groups_of_one_are_taken_from_all_over() -> None:
    assert choose("abcdefghij", 5) == [0, 2, 4, 6, 8]


def test_each_group_is_asked_once_before_any_is_asked_again() -> None:
    assert choose("aaaaaaaabcd", 4) == [0, 8, 9, 10]
    assert choose("aaaabcdbb", 6) == [0, 1, 4, 5, 6, 7]
    assert choose("aaaaaa", 2) == [0, 1]
