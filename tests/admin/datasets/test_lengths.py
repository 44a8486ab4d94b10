"""What is too long is cut where one turn ends and a prompt begins, or left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.items import Turn
from chatbot.admin.datasets.lengths import Measured, Ruler
from chatbot.admin.rendering import render_row
from chatbot.errors import InvalidInput
from chatbot.models.template import ChatTemplate
from tests.models.tiny_models import CHATML, train_tokenizer


def load() -> ChatTemplate:
    return ChatTemplate(Tokenizer.from_str(train_tokenizer()), CHATML, eos_ids=frozenset([2]))


TEMPLATE = load()


def make_talk(sizes: list[tuple[int, int, bool]]) -> Draft:
    """Exchanges of prompts and replies of so many words, of which some are learnt."""
    turns = [Turn(role="system", content="Be kind.")]
    for number, (asked, said, learn) in enumerate(sizes):
        turns.append(Turn(role="user", content=f"q{number} " + "fox " * asked))
        turns.append(Turn(role="assistant", content=f"a{number} " + "dog " * said, learn=learn))
    return Draft("sft", "chat", tuple(turns), tuple((str(place),) for place in range(len(turns))))


def fit(draft: Draft, most: int, policy: str = "split") -> tuple[list[Measured], Counter[str], Ruler]:
    left_out: Counter[str] = Counter()
    ruler = Ruler(TEMPLATE, most, policy, left_out)  # type: ignore[arg-type]
    return list(ruler.fit(draft)), +left_out, ruler


def test_what_fits_is_measured_as_it_is_rendered() -> None:
    draft = make_talk([(3, 3, True), (2, 2, False), (4, 4, True)])
    (one,), left_out, ruler = fit(draft, 1000)
    row = render_row(TEMPLATE, draft.turns)
    assert (one.draft, one.tokens, one.learnt) == (draft, len(row.tokens), sum(row.learned))
    assert (left_out, ruler.split) == ({}, 0)


def test_what_follows_the_last_learnt_reply_is_left_off() -> None:
    (one,), _, _ = fit(make_talk([(3, 3, True), (2, 2, False)]), 1000)
    assert [turn.content.split()[0] for turn in one.draft.turns] == ["Be", "q0", "a0"]
    assert one.draft.messages == (("0",), ("1",), ("2",))


def test_a_long_talk_becomes_parts_that_each_begin_with_a_prompt() -> None:
    draft = make_talk([(10, 10, True)] * 8)
    parts, left_out, ruler = fit(draft, 150)
    assert len(parts) > 1
    assert all(part.draft.turns[0].content == "Be kind." and part.draft.turns[1].role == "user" for part in parts)
    assert all(part.tokens <= 150 for part in parts)
    learnt = [turn.content.split()[0] for part in parts for turn in part.draft.turns if turn.learn]
    assert learnt == [f"a{number}" for number in range(8)]
    assert (left_out, ruler.split) == ({}, 1)


def test_context_that_does_not_fit_is_dropped_from_its_old_end() -> None:
    parts, _, _ = fit(make_talk([(10, 10, False)] * 8 + [(2, 2, True)]), 150)
    (part,) = parts
    assert part.draft.turns[-1].learn
    assert 3 < len(part.draft.turns) < 19


def test_a_reply_that_is_too_long_by_itself_is_left_out_and_counted() -> None:
    parts, left_out, _ = fit(make_talk([(2, 2, True), (2, 500, True), (3, 3, True)]), 150)
    learnt = [turn.content.split()[0] for part in parts for turn in part.draft.turns if turn.learn]
    assert learnt == ["a0", "a2"]
    assert left_out == {"too long": 1}


def test_dropping_counts_every_reply_that_is_lost() -> None:
    assert fit(make_talk([(2, 90, True), (2, 90, True)]), 150, "drop")[:2] == ([], {"too long": 2})


def test_failing_names_the_source() -> None:
    with pytest.raises(InvalidInput, match="chat has more than 150 tokens"):
        fit(make_talk([(2, 200, True)]), 150, "fail")


def test_of_a_pair_the_context_is_shortened_and_never_a_reply() -> None:
    turns = (*make_talk([(10, 10, False)] * 6).turns, Turn(role="user", content="now?"))
    draft = Draft("preference", "chat", turns, ((),) * len(turns), answers=("dog " * 20, "fox " * 5))
    (part,), left_out, ruler = fit(draft, 150)
    assert part.draft.answers == draft.answers
    assert part.draft.turns[-1].content == "now?"
    assert part.draft.turns[1].role == "user"
    assert len(part.draft.turns) < len(turns)
    assert (left_out, ruler.split) == ({}, 1)
    assert fit(replace(draft, answers=("dog " * 200, "x")), 150)[:2] == ([], {"too long": 1})


def test_a_talk_of_hundreds_of_turns_is_cut() -> None:
    parts, left_out, _ = fit(make_talk([(2, 2, True)] * 300), 500)
    assert sum(turn.learn for part in parts for turn in part.draft.turns) == 300
    assert left_out == {}


def test_a_megabyte_is_too_long_without_being_measured() -> None:
    parts, left_out, _ = fit(make_talk([(2, 250_000, True), (1, 1, True)]), 150)
    assert (len(parts), left_out) == (1, {"too long": 1})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60), st.booleans()), min_size=1, max_size=8))
def test_no_row_is_too_long_and_no_reply_is_learnt_twice_or_changed(sizes: list[tuple[int, int, bool]]) -> None:
    draft = make_talk(sizes)
    parts, left_out, _ = fit(draft, 120)
    wanted = [turn.content for turn in draft.turns if turn.learn]
    learnt = [turn.content for part in parts for turn in part.draft.turns if turn.learn]
    assert all(len(render_row(TEMPLATE, part.draft.turns).tokens) == part.tokens <= 120 for part in parts)
    assert len(learnt) == len(set(learnt))
    assert set(learnt) <= set(wanted)
    assert len(learnt) + left_out["too long"] == len(wanted)
