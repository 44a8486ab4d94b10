"""Near-duplicates: what goes, what stays together."""

from __future__ import annotations

import pytest

from chatbot.admin.datasets.deduplication import remove_duplicates
from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.items import Turn
from chatbot.admin.datasets.similarity import Neighbours, cut_shingles, measure_similarity
from tests.admin.datasets.samples import draft, make_pairs

LONG = " ".join(f"sentence {number} about the history of {number * 7} bridges." for number in range(60))


def test_copies_and_near_copies_go_the_first_stays() -> None:
    drafts = [
        draft("How do I boil an egg, please?", "Put it into boiling water for seven minutes."),
        draft("How do I boil an egg, please?", "Put it into boiling water for seven minutes."),
        draft("HOW do I boil an egg please", "Put it into boiling water, for seven minutes!"),
        draft("怎样煮鸡蛋才能煮得又嫩又好吃呢？", "把鸡蛋放进开水里煮七分钟，然后放进冷水里。"),
        draft("怎样煮鸡蛋才能煮得又嫩又好吃呢", "把鸡蛋放进开水里煮七分钟，然后放进冷水里"),
    ]
    done = remove_duplicates(drafts, 0.85)
    assert list(done.drafts) == [drafts[0], drafts[3]]
    assert (done.same, done.near) == (1, 2)


def test_the_same_answer_to_another_question_is_no_duplicate() -> None:
    drafts = [draft(asked, "I am Ada, made by the Lab.") for asked in ("Who are you?", "What is your name?", "Hello!")]
    done = remove_duplicates(drafts, 0.85)
    assert len(done.drafts) == len(set(done.groups)) == 3


def test_another_answer_to_the_same_question_stays_in_its_group() -> None:
    drafts = [draft("Tell me a story!", "Once upon a time…"), draft("tell me a story", "A dog went to sea.")]
    done = remove_duplicates(drafts, 0.85)
    assert len(done.drafts) == 2
    assert len(set(done.groups)) == 1


def test_a_long_reply_that_was_copied_joins_its_groups() -> None:
    done = remove_duplicates(
        [draft("first question", LONG), draft("an altogether different one", LONG + " End.")], 0.85
    )
    assert len(done.drafts) == 2
    assert len(set(done.groups)) == 1


def talk(*texts: str) -> Draft:
    turns = [
        Turn(role="user" if place % 2 == 0 else "assistant", content=text, learn=place % 2 == 1)
        for place, text in enumerate(texts)
    ]
    return Draft("sft", "file:f", tuple(turns), ((),) * len(turns))


def test_a_later_exchange_joins_the_group_of_one_like_it_and_a_habit_does_not() -> None:
    asked, answered = "Which bridge in the old harbour is the longest?", "The one of the north gate is the longest."
    thanks = "Thank you!", "You are welcome. Is there anything else that I can do?"
    done = remove_duplicates(
        [
            talk("about apples", "red", asked, answered, *thanks),
            talk("about engines", "loud", f"And {asked}", answered),
            talk(asked.upper(), answered),
            talk("about plums", "blue", *thanks),
            talk("about kings", "old", asked, "That is told in another book."),
        ],
        2.0,
    )
    assert len(set(done.groups[:3])) == 1
    assert len(set(done.groups)) == 3
    held = remove_duplicates([talk("about plums", "blue", asked, answered)], 2.0, held=[talk(asked, answered)])
    assert len(held.members[held.groups[0]]) == 2


def test_all_of_a_conversation_is_one_group_also_through_its_duplicates() -> None:
    drafts = [
        draft("about apples", "red", conversation="c1"),
        draft("about pears", "green", conversation="c1"),
        draft("about pears", "green", conversation="c2"),
        draft("about plums", "blue", conversation="c2"),
        draft("about engines", "loud", conversation="c3"),
    ]
    done = remove_duplicates(drafts, 0.85)
    assert [one.prompt for one in done.drafts] == ["about apples", "about pears", "about plums", "about engines"]
    assert done.groups == ("c1", "c1", "c1", "c3")
    assert done.members["c1"] == {"c1", "c2"}


def test_a_group_is_named_alike_in_whatever_order_its_members_come() -> None:
    drafts = [draft(f"Tell me a story about the number {n}, will you?", str(n)) for n in range(8)]
    names = {remove_duplicates(order, 0.85).groups[0] for order in (drafts, drafts[::-1], drafts[3:] + drafts[:3])}
    assert len(names) == 1


def test_opposite_labels_of_one_reply_are_both_kept() -> None:
    from dataclasses import replace

    good = replace(draft("hi", ""), kind="label", answers=("hello there, my friend",), good=True)
    assert len(remove_duplicates([good, replace(good, good=False)], 0.85).drafts) == 2


def test_above_one_only_exact_copies_go() -> None:
    drafts = [draft("a question", "an answer"), draft("a question!", "an answer!"), draft("a question", "an answer")]
    assert len(remove_duplicates(drafts, 1.1).drafts) == 2


def test_unlike_items_all_stay_in_groups_of_their_own() -> None:
    drafts = [draft(asked, answered) for asked, answered in make_pairs(300)]
    done = remove_duplicates(drafts, 0.85)
    assert len(done.drafts) == 300


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ("What is your name?", "what is your NAME", 1.0, 1.0),
        ("你是谁", "你是谁？", 1.0, 1.0),
        ("请问你可以给我提供什么帮助呢？", "你可以给我提供什么帮助", 0.7, 0.9),
        ("Who are you?", "Who made you?", 0.0, 0.4),
        ("5 + 3", "5 < 3", 0.0, 0.9),
        ("?!", "?!", 1.0, 1.0),
        ("", "", 1.0, 1.0),
        ("", "x", 0.0, 0.0),
        ("\ud800", "\ud800", 1.0, 1.0),
    ],
)
def test_similarity_is_of_words_and_signs(one: str, other: str, low: float, high: float) -> None:
    assert low <= measure_similarity(cut_shingles(one), cut_shingles(other)) <= high


def test_neighbours_are_those_that_comparing_all_with_all_finds() -> None:
    texts = [f"{asked} {'word ' * (n % 5)}" for n, (asked, _) in enumerate(make_pairs(120))]
    texts += [text.replace("What", "which") for text in texts[:40]]
    shingles = [cut_shingles(text) for text in texts]
    neighbours = Neighbours(0.6)
    found = {(number, other) for number, one in enumerate(shingles) for other, _ in neighbours.take(number, one)}
    exact = {
        (number, other)
        for number, one in enumerate(shingles)
        for other in range(number)
        if measure_similarity(one, shingles[other]) >= 0.6
    }
    assert found <= exact
    assert len(found) > 0.9 * len(exact) > 30
