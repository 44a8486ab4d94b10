"""The review queue: worst first, and nothing in it that nobody should look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import insert

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


def test_pages_are_read_as_long_as_something_waits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.store.review_queue._PAGE", 2)
    prompt = say(store, "q")
    for number in range(5):
        answer(store, prompt, f"needle {number}")
    answer(store, prompt, "hay")
    sizes = []
    for page in store.review_queue.each(LogFilter(text="needle")):
        sizes.append(len(page))
        store.judgements.decide(page, "approve", author="me")
    assert sizes == [2, 2, 1]
    assert names(store) == ["hay"]
