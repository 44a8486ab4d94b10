"""Whole conversations out of one database and into another: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.errors import NotFound
from chatbot.store.archive import Added
from chatbot.store.archive_batch import Grown
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview
from chatbot.store.database import Store
from chatbot.store.identifiers import IdentifierSource, is_identifier
from tests.store.sample import NOW, answer, say

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
TIME = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
VALUE = st.one_of(st.integers(-9, 9), TEXT, st.lists(st.booleans(), max_size=2))
JSON = st.dictionaries(TEXT, VALUE, max_size=2)
WRITTEN = st.dictionaries(TEXT, VALUE, min_size=1, max_size=2)
FEEDBACK = st.builds(
    ArchivedFeedback,
    rating=st.sampled_from([None, -1, 0, 1]),
    tags=st.none() | st.lists(TEXT, max_size=2).map(tuple),
    comment=st.none() | TEXT,
    author=TEXT,
    created=TIME,
    written_by=WRITTEN,
)
REVIEW = st.builds(
    ArchivedReview,
    decision=st.sampled_from(["approve", "reject", "redact", "withdraw"]),
    note=TEXT,
    author=TEXT,
    created=TIME,
    written_by=WRITTEN,
)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


@pytest.fixture
def second() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


@st.composite
def conversations(draw: st.DrawFn) -> ArchivedConversation:
    """A random tree, parents first, with judgements on prompts too: a file may hold them."""
    count = draw(st.integers(1, 6))
    messages: list[ArchivedMessage] = []
    for place in range(count):
        feedback = draw(st.lists(FEEDBACK, max_size=2))
        if place:
            over = [None, *(message.key for message in messages)]
            feedback = [replace(said, preferred_over=draw(st.sampled_from(over))) for said in feedback]
        message = ArchivedMessage(
            key=str(place),
            parent=draw(st.sampled_from([None, *map(str, range(place))])),
            role=draw(st.sampled_from(["user", "assistant"])),
            content=f"{draw(TEXT)}#{place}",
            created=draw(TIME),
            status=draw(st.sampled_from(["complete", "stopped", "failed", "interrupted"])),
            finish_reason=draw(TEXT),
            model=draw(st.sampled_from(["", "small", "org/模型"])),
            template_sha=draw(TEXT),
            hidden=draw(st.booleans()),
            generation=draw(JSON),
            feedback=tuple(feedback),
            reviews=tuple(draw(st.lists(REVIEW, max_size=2))),
        )
        messages.append(message)
    return ArchivedConversation(
        key="",
        messages=tuple(messages),
        title=draw(TEXT.filter(bool)),
        system_prompt=draw(TEXT),
        persona=draw(TEXT),
        sampling=draw(JSON),
        created=draw(TIME),
        updated=draw(TIME),
        tip=draw(st.sampled_from([None, *(message.key for message in messages)])),
        pinned=draw(st.booleans()),
        archived=draw(st.booleans()),
    )


def test_what_is_read_and_added_elsewhere_is_the_same(store: Store, second: Store) -> None:
    numbers = itertools.count()

    @settings(max_examples=60, deadline=None)
    @given(conversations())
    def check(drawn: ArchivedConversation) -> None:
        given_one = replace(drawn, key=str(next(numbers)))
        before = {entry.conversation.id for entry in store.logs.list(limit=100_000)}
        count = len(given_one.messages)
        assert store.archive.add([given_one], source="file") == Added(1, count, 0)
        assert store.archive.add([given_one], source="another name") == Added(0, 0, 1)
        (added,) = {entry.conversation.id for entry in store.logs.list(limit=100_000)} - before
        first = store.archive.read(added)
        assert strip(first) == strip(given_one)
        assert second.archive.add([first], source="export") == Added(1, count, 0)
        assert second.archive.add([first], source="export") == Added(0, 0, 1)
        assert second.archive.read(added) == first
        assert store.archive.add([first], source="export") == Added(0, 0, 1)
        assert second.logs.tree(added, hidden=True) == store.logs.tree(added, hidden=True)

    check()
    for one in (store, second):
        assert one.verify() == []


def strip(conversation: ArchivedConversation) -> ArchivedConversation:
    """Without identifiers: messages are named by the number at their texts' ends, and sorted by it."""
    names: dict[str | None, str | None] = {one.key: one.content.rpartition("#")[2] for one in conversation.messages}
    names[None] = None

    def tidy(message: ArchivedMessage) -> ArchivedMessage:
        feedback = [replace(said, id="", preferred_over=names[said.preferred_over]) for said in message.feedback]
        reviews = [replace(review, id="") for review in message.reviews]
        return replace(
            message,
            id="",
            key=names[message.key] or "",
            parent=names[message.parent],
            feedback=tuple(sorted(feedback, key=repr)),
            reviews=tuple(sorted(reviews, key=repr)),
        )

    messages = tuple(sorted(map(tidy, conversation.messages), key=lambda message: message.key))
    tip = names[conversation.tip if conversation.tip is not None else conversation.messages[-1].key]
    return replace(conversation, id="", key="", messages=messages, tip=tip)


def test_a_conversation_of_ours_comes_back_with_its_tree_and_what_was_judged(store: Store, second: Store) -> None:
    prompt = say(store, "q", title="ours")
    first = answer(store, prompt, "a", seed=1)
    other = answer(store, prompt, "b", seed=2)
    store.judgements.say(first.id, author="me", rating=-1, tags=["wrong"], comment="no")
    store.judgements.correct(first.id, "better", author="me")
    store.judgements.go_on_from(other.id, author="me")
    store.tree.drop(other.id)
    store.conversations.change(prompt.conversation_id, pinned=True)
    archived = store.archive.read(prompt.conversation_id)
    second.archive.add([archived], source="file")
    assert second.archive.read(prompt.conversation_id) == archived
    for message in store.logs.tree(prompt.conversation_id, hidden=True):
        assert second.messages.get(message.id) == message
        assert second.judgements.history(message.id) == store.judgements.history(message.id)
    assert second.review_queue.list() == store.review_queue.list()
    assert [hit.message_id for hit in second.search.find("better")] == [archived.messages[-1].id]
    assert second.verify() == []


def test_what_was_forgotten_can_be_added_again(store: Store) -> None:
    one = ArchivedConversation("key", (ArchivedMessage("a", None, "user", "q"),), title="t")
    store.archive.add([one], source="file")
    store.erasure.forget([store.logs.list()[0].conversation.id])
    assert store.archive.add([one], source="file").conversations == 1


def test_a_reply_that_was_growing_is_interrupted(store: Store) -> None:
    messages = (
        ArchivedMessage("q", None, "user", "q"),
        ArchivedMessage("a", "q", "assistant", "half", status="streaming"),
    )
    store.archive.add([ArchivedConversation("key", messages, title="t")], source="file")
    (entry,) = store.review_queue.list()
    assert store.messages.get(entry.message_id).status == "interrupted"
    assert entry.concern.name == "INTERRUPTED"


def test_identifiers_that_are_none_of_ours_or_come_twice_are_made_anew(store: Store) -> None:
    ours = IdentifierSource().next()
    messages = tuple(
        ArchivedMessage(
            key, None, "assistant", key, id=given_id, feedback=(ArchivedFeedback(rating=1, id=ours),), created=NOW
        )
        for key, given_id in (
            ("a", "zzz"),
            ("b", "'; DROP TABLE message"),
            ("c", ours),
            ("d", ours),
            ("e", "x" * 10_000),
        )
    )
    hostile = ArchivedConversation("key", messages, title="t", id="../../etc/passwd")
    same = replace(hostile, key="other key")
    assert store.archive.add([hostile, same], source="file") == Added(1, 5, 1)
    read = store.archive.read(store.logs.list()[0].conversation.id)
    ids = [read.id, *(message.id for message in read.messages)]
    assert all(map(is_identifier, ids))
    assert len(set(ids)) == 6
    assert next(message.id for message in read.messages if message.content == "c") == ours
    assert store.verify() == []


def test_figures_that_are_no_numbers_do_no_harm(store: Store) -> None:
    measured = {"compression_ratio": 10**400, "mean_logprob": float("nan"), "tokens_per_second": float("inf")}
    messages = (
        ArchivedMessage("q", None, "user", "q"),
        ArchivedMessage("a", "q", "assistant", "a", generation=measured),
    )
    store.archive.add([ArchivedConversation("key", messages, title="t")], source="file")
    assert store.review_queue.list()[0].concern.name == "UNRATED"
    assert store.figures.collect().models[0].median_speed is None


def test_messages_without_times_keep_their_order_and_thousands_may_have_the_same(store: Store) -> None:
    for key, created in (("none", None), ("day", NOW), ("day again", NOW)):
        messages = tuple(
            ArchivedMessage(str(place), str(place - 1) if place else None, "user", f"needle {place}", created=created)
            for place in range(1500)
        )
        store.archive.add([ArchivedConversation(key, messages, title=key)], source="file")
    for entry in store.logs.list():
        tree = store.logs.tree(entry.conversation.id)
        assert [message.content for message in tree] == [f"needle {place}" for place in range(1500)]
    assert len(store.search.find("needle", limit=10_000)) == 4500
    assert store.verify() == []


def test_a_clock_that_was_set_back_puts_no_child_before_its_parent(store: Store, second: Store) -> None:
    messages = tuple(
        ArchivedMessage(
            str(place), str(place - 1) if place else None, "user", str(place), created=NOW - timedelta(days=place)
        )
        for place in range(5)
    )
    store.archive.add([ArchivedConversation("key", messages, title="t")], source="file")
    read = store.archive.read(store.logs.list()[0].conversation.id)
    assert [message.content for message in read.messages] == ["0", "1", "2", "3", "4"]
    second.archive.add([read], source="file")
    assert second.archive.read(read.id) == read


def test_what_was_imported_is_known_elsewhere_by_its_record(store: Store, second: Store) -> None:
    record = ArchivedConversation("chatgpt:1", (ArchivedMessage("a", None, "user", "q"),), title="t")
    store.archive.add([record], source="file")
    exported = store.archive.read(store.logs.list()[0].conversation.id)
    second.archive.add([exported], source="export")
    assert second.archive.add([record], source="file") == Added(0, 0, 1)


def test_a_record_that_has_grown_is_told_and_left_as_it_is(store: Store) -> None:
    first = ArchivedMessage("a", None, "user", "q")
    record = ArchivedConversation("key", (first,), title="t")
    longer = replace(record, messages=(first, ArchivedMessage("b", "a", "assistant", "a")))
    store.archive.add([record], source="file")
    home = store.logs.list()[0].conversation.id
    grown = Added(0, 0, 1, (Grown(home, "key", "t", 1, 2),))
    assert store.archive.rehearse([longer], set()) == grown
    assert store.archive.add([longer], source="file") == grown
    assert len(store.archive.read(home).messages) == 1
    # One that went on here is no news of the file's.
    answer(store, say(store, "more", home), "and more")
    assert store.archive.add([longer], source="file") == Added(0, 0, 1)


def test_two_sources_name_the_same_moment_of_the_past_differently() -> None:
    assert len({IdentifierSource().next(NOW)[:18] for _ in range(20)}) > 1
    source = IdentifierSource()
    made = [source.next(NOW) for _ in range(5000)]
    assert sorted(set(made)) == made


def test_a_conversation_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NotFound):
        store.archive.read("nothing")
