"""The reviewer's steps: what a bulk takes and leaves, and what each step's undo restores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatbot.errors import InvalidInput
from chatbot.logs.reviewing import Reviewer
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from tests.store.sample import answer, say


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


@pytest.fixture
def reviewer(store: Store) -> Reviewer:
    return Reviewer(store, author="me", wanted=1)


def decisions(store: Store, *ids: str) -> list[str]:
    return [store.messages.get(one).decision for one in ids]


def test_a_bulk_leaves_what_another_one_decided_after_the_question(store: Store, reviewer: Reviewer) -> None:
    prompt = say(store, "q")
    plain, rejected, redacted, again = (answer(store, prompt, text).id for text in "abcd")
    until = reviewer.mark_now()
    store.judgements.decide([rejected], "reject", author="you")
    store.judgements.decide([redacted], "redact", author="you")
    store.judgements.decide([again], "approve", author="you")
    store.judgements.decide([again], "withdraw", author="you")
    assert list(reviewer.decide_all(LogFilter(), "approve", until=until)) == [1]
    assert decisions(store, plain, rejected, redacted, again) == ["approve", "reject", "redact", ""]


def test_the_undo_of_a_bulk_leaves_what_was_decided_since(store: Store, reviewer: Reviewer) -> None:
    prompt = say(store, "q")
    plain, masked, other = (answer(store, prompt, text).id for text in "abc")
    gone = answer(store, say(store, "gone"), "d")
    store.judgements.decide([masked], "redact", author="you")
    assert list(reviewer.decide_all(LogFilter(), "approve")) == [4]
    store.judgements.decide([other], "reject", author="you")
    store.conversations.change(gone.conversation_id, deleted=True)
    store.erasure.forget([gone.conversation_id])
    assert reviewer.undo() == ("", "4 decisions")
    assert decisions(store, plain, masked, other) == ["", "redact", "reject"]


@pytest.mark.parametrize("state", ["approved", "rejected"])
def test_a_bulk_about_what_is_decided_is_refused(store: Store, reviewer: Reviewer, state: str) -> None:
    reply = answer(store, say(store, "q"), "a").id
    reviewer.approve(reply)
    with pytest.raises(InvalidInput, match="does not wait"):
        list(reviewer.decide_all(LogFilter(state=state), "reject"))  # type: ignore[arg-type]  # Literal
    assert decisions(store, reply) == ["approve"]


def test_the_undo_of_one_decision_leaves_a_newer_one(store: Store, reviewer: Reviewer) -> None:
    reply = answer(store, say(store, "q"), "a").id
    reviewer.reject(reply)
    reviewer.approve(reply)
    reviewer.undo()
    assert decisions(store, reply) == ["reject"]
    store.judgements.decide([reply], "redact", author="you")
    reviewer.undo()
    assert decisions(store, reply) == ["redact"]


def test_a_correction_is_approved_and_its_undo_leaves_no_trace_in_the_list(store: Store, reviewer: Reviewer) -> None:
    prompt = say(store, "q")
    original, newest = answer(store, prompt, "a"), answer(store, prompt, "b")
    store.tree.choose_sibling(newest.id, -1)
    correction = reviewer.correct(original.id, "better")
    assert (correction.decision, correction.rating) == ("approve", 1)
    assert store.conversations.get(prompt.conversation_id).tip == correction.id
    assert store.logs.list()[0].up == 1
    reviewer.undo()
    assert store.conversations.get(prompt.conversation_id).tip == original.id
    assert decisions(store, original.id, correction.id) == ["", ""]
    entry = store.logs.list()[0]
    assert (entry.messages, entry.up, entry.waiting, entry.approved, entry.rejected) == (3, 0, 2, 0, 0)


def test_a_correction_that_was_answered_is_not_taken_back_by_halves(store: Store, reviewer: Reviewer) -> None:
    original = answer(store, say(store, "q"), "a")
    correction = reviewer.correct(original.id, "better")
    say(store, "and?", original.conversation_id)
    with pytest.raises(InvalidInput, match="follow"):
        reviewer.undo()
    assert decisions(store, original.id, correction.id) == ["reject", "approve"]


def test_tags_keep_what_another_one_gave_meanwhile(store: Store, reviewer: Reviewer) -> None:
    reply = answer(store, say(store, "q"), "a").id
    reviewer.tag(reply, ["old"])
    reviewer.tag(reply, ["new"])
    store.judgements.change_tags(reply, ["theirs"], [], author="you")
    assert store.judgements.get(reply).tags == ("new", "theirs")
    reviewer.undo()
    assert store.judgements.get(reply).tags == ("theirs", "old")
