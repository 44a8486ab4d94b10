"""The sidebar's list, short ids, drafts, prompt history, aliases, identifiers."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.database import Store
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import AliasRow
from chatbot.store.replies import NewConversation


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def begin(store: Store, title: str, text: str = "hello") -> str:
    return store.replies.add_prompt(NewConversation(title, "default", ""), text).conversation_id


def titles(store: Store, **query: object) -> list[str]:
    return [item.title for item in store.conversations.list(**query)]  # type: ignore[arg-type]


def test_the_list_has_pinned_ones_first_then_the_newest(store: Store) -> None:
    ids = {title: begin(store, title) for title in "abcde"}
    store.conversations.change(ids["b"], pinned=True)
    store.conversations.change(ids["d"], archived=True)
    store.conversations.change(ids["e"], deleted=True)
    store.replies.add_prompt(ids["a"], "again")
    assert titles(store) == ["b", "a", "c"]
    assert titles(store, limit=1, offset=1) == ["a"]
    assert titles(store, archived=True) == ["d"]
    assert titles(store, deleted=True) == ["e"]
    store.conversations.change(ids["e"], deleted=False)
    assert titles(store) == ["b", "a", "e", "c"]
    latest = store.conversations.latest()
    assert latest is not None
    assert latest.title == "a"
    assert latest.updated.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("äpfel", ["Über ÄPFEL"]),
        ("STRASSE", ["Straße"]),
        ("天气", ["今天天气怎么样"]),
        ("%", ["100% sure"]),
        ("_", ["a_b"]),
        ("/", ["a/b"]),
        ("'; DROP TABLE message; --", []),
        ("ａ", ["a_b", "a/b"]),
    ],
)
def test_the_list_is_filtered_by_text(store: Store, text: str, found: list[str]) -> None:
    for title in ("Über ÄPFEL", "Straße", "今天天气怎么样", "100% sure", "a_b", "a/b"):
        begin(store, title)
    if text == "ａ":  # a wide letter finds the narrow one
        assert set(found) <= set(titles(store, text=text))
    else:
        assert titles(store, text=text) == found


def test_an_id_may_be_shortened(store: Store) -> None:
    first, second = begin(store, "a"), begin(store, "b")
    assert store.conversations.find(first).title == "a"
    length = next(n for n in range(1, 37) if first[:n] != second[:n])
    assert store.conversations.find(first[:length].upper()).id == first
    with pytest.raises(InvalidInput, match=rf"{first}, {second}"):
        store.conversations.find(first[: length - 1])
    for wrong in ("zzz", "%", "_", "é", "\udcff"):
        with pytest.raises(NotFound):
            store.conversations.find(wrong)
    with pytest.raises(InvalidInput):
        store.conversations.find(" ")


def test_drafts_belong_to_their_conversation(store: Store) -> None:
    conversation = begin(store, "a")
    store.conversations.save_draft(conversation, "half a th")
    store.conversations.save_draft(None, "new")
    store.conversations.save_draft(conversation, "half a thought")
    assert store.conversations.draft(conversation) == "half a thought"
    assert store.conversations.draft(None) == "new"
    store.conversations.save_draft(conversation, "")
    assert store.conversations.draft(conversation) == ""


def test_prompts_come_newest_first_and_once(store: Store) -> None:
    conversation = begin(store, "a", "one")
    for text in ("two", "one", "three", "x" * 30_000):
        store.replies.add_prompt(conversation, text)
    secret = begin(store, "b", "secret")
    store.conversations.change(secret, deleted=True)
    assert store.messages.prompts(10) == ["three", "one", "two"]
    assert store.messages.prompts(1) == ["three"]


def test_a_base_model_is_recorded_once_and_other_weights_are_a_new_number(store: Store) -> None:
    def record(sha256: str) -> str:
        return store.model_versions.find_or_add_base("m", sha256=sha256, template_sha="t", path="/m")

    first = record("1")
    assert record("1") == first
    second = record("2")
    assert second != first
    assert record("1") == first
    assert store.model_versions.champion() is None
    with store._database.write() as connection:
        row = {"name": "champion", "model_version_id": second, "updated_at": datetime.now(UTC)}
        connection.execute(insert(AliasRow).values(row))
    assert store.model_versions.champion() == "m"


def test_identifiers_are_uuids_of_version_7_that_sort_by_age() -> None:
    source = IdentifierSource()
    made: list[list[str]] = []

    def make() -> None:
        made.append([source.next() for _ in range(5000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(part == sorted(part) for part in made)
    everything = [identifier for part in made for identifier in part]
    assert len(set(everything)) == len(everything)
    parsed = uuid.UUID(everything[0])
    assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, everything[0])
    assert abs((parsed.int >> 80) / 1000 - time.time()) < 60


def test_any_text_comes_back_as_it_was(store: Store) -> None:
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
    def check(text: str) -> None:
        conversation = begin(store, text, text)
        assert store.messages.transcript(conversation)[0].content == text
        assert conversation in [item.id for item in store.conversations.list(text=text, limit=10_000)]

    check()
