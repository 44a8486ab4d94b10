"""The review queue: worst first, and nothing in it that nobody should look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import insert

from chatbot.errors import InvalidInput
from chatbot.logs.reviewing import Reviewer
from chatbot.store import reply_states
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from chatbot.store.judgement_tables import SafetyEventRow
from chatbot.store.reply_states import Concern
from chatbot.store.review_queue import Progress
from tests.store.sample import NOW, answer, say


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def names(store: Store, asked: LogFilter | None = None) -> list[str]:
    return [store.messages.get(entry.message_id).content for entry in store.review_queue.list(asked)]


def test_the_worst_comes_first_and_the_newest_among_equals(store: Store) -> None:
    prompt = say(store, "q")
    answer(store, prompt, "unrated old")
    liked = answer(store, prompt, "rated up")
    flagged = answer(store, prompt, "flagged")
    answer(store, prompt, "improbable", mean_logprob=-1.2)
    answer(store, prompt, "more improbable", mean_logprob=-3.0)
    answer(store, prompt, "repetitive", compression_ratio=5.0)
    interrupted = store.replies.start(store.replies.new_id(), prompt.id, liked_version(store), "", {})
    store.replies.grow(interrupted.id, "interrupted")
    store.replies._active.clear()
    store.replies.mark_interrupted()
    answer(store, prompt, "cut off", reason="length")
    answer(store, prompt, "failed", status="failed")
    disliked = answer(store, prompt, "rated down", reason="length")
    answer(store, prompt, "unrated new")
    answer(store, prompt, "")
    store.judgements.say(liked.id, author="me", rating=1)
    store.judgements.say(disliked.id, author="me", rating=-1)
    values = {"stage": "output", "category": "c", "score": 1.0, "action": "a", "created_at": NOW}
    with store._database.write() as connection:
        connection.execute(insert(SafetyEventRow).values(id=store.replies.new_id(), message_id=flagged.id, **values))
        reply_states.refresh(connection, flagged.id)
    assert names(store) == [
        "rated down",
        "failed",
        "cut off",
        "interrupted",
        "repetitive",
        "more improbable",
        "improbable",
        "flagged",
        "unrated new",
        "unrated old",
        "rated up",
    ]
    assert store.judgements.is_flagged(flagged.id)
    assert store.review_queue.count() == 11
    page = store.review_queue.list(limit=2, offset=3)
    assert [entry.concern for entry in page] == [Concern.INTERRUPTED, Concern.REPETITIVE]
    assert page[1].badness == 5.0


def liked_version(store: Store) -> str:
    return store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")


def test_what_is_decided_leaves_the_queue_and_what_is_redacted_comes_back(store: Store) -> None:
    prompt = say(store, "q")
    good, bad, masked, open_one = (answer(store, prompt, text) for text in ("good", "bad", "masked", "open"))
    store.judgements.decide([good.id], "approve", author="me")
    store.judgements.decide([bad.id], "reject", author="me")
    store.judgements.decide([masked.id], "approve", author="me")
    store.judgements.decide([masked.id], "redact", author="me")
    assert names(store) == ["open", "masked"]
    assert store.review_queue.progress() == Progress(waiting=2, approved=1, rejected=1, redacted=1)
    store.judgements.decide([good.id], "withdraw", author="me")
    assert names(store) == ["open", "masked", "good"]
    store.judgements.decide([open_one.id, masked.id, good.id], "approve", author="me")
    assert store.review_queue.progress() == Progress(waiting=0, approved=3, rejected=1, redacted=0)


def test_hidden_replies_and_those_of_the_bin_do_not_wait(store: Store) -> None:
    kept, binned = say(store, "q"), say(store, "q")
    hidden = answer(store, kept, "hidden")
    answer(store, kept, "kept")
    answer(store, binned, "binned")
    ids = store.tree.delete_turn(hidden.id)
    store.conversations.change(binned.conversation_id, deleted=True)
    assert names(store) == []
    assert store.review_queue.count() == 0
    assert store.logs.list()[0].waiting == 0
    store.tree.restore_turn(ids)
    assert names(store) == ["kept", "hidden"]
    assert store.review_queue.count() == store.logs.list()[0].waiting == 2


def test_a_bulk_takes_what_waits_and_was_there_when_it_was_counted(store: Store) -> None:
    prompt = say(store, "q")
    needles = [answer(store, prompt, f"needle {number}") for number in range(5)]
    answer(store, prompt, "hay")
    store.judgements.decide([needles[0].id], "reject", author="another")
    store.judgements.decide([needles[1].id], "redact", author="another")
    reviewer = Reviewer(store, author="me", wanted=1)
    until = reviewer.mark_now()
    late = answer(store, prompt, "needle, but late")
    assert list(reviewer.decide_all(LogFilter(text="needle"), "approve", until=until)) == [4]
    decisions = [store.messages.get(one.id).decision for one in (*needles, late)]
    assert decisions == ["reject", "approve", "approve", "approve", "approve", ""]
    reviewer.undo()
    decisions = [store.messages.get(one.id).decision for one in (*needles, late)]
    assert decisions == ["reject", "redact", "", "", "", ""]
    with pytest.raises(InvalidInput):
        next(reviewer.decide_all(LogFilter(state="approved"), "reject"))


def test_a_bulk_goes_on_until_nothing_is_left(store: Store) -> None:
    prompt = say(store, "q")
    for number in range(5):
        answer(store, prompt, f"needle {number}")
    asked, until = LogFilter(text="needle"), store.replies.new_id()
    steps = []
    while done := store.judgements.decide_waiting(asked, "approve", until=until, author="me", limit=2):
        steps.append(len(done))
    assert steps == [2, 2, 1]
