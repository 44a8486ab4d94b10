"""The log: its entries, its pages, the tree and the path to a message."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatbot.errors import NotFound
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from tests.store.sample import answer, say


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def test_an_entry_counts_what_was_judged(store: Store) -> None:
    prompt = say(store, "q", title="counted")
    replies = [answer(store, prompt, text, model=model) for text, model in (("a", "small"), ("b", "large"), ("c", "m"))]
    store.judgements.say(replies[0].id, author="me", rating=1)
    store.judgements.say(replies[1].id, author="me", rating=-1)
    store.judgements.decide([replies[0].id], "approve", author="me")
    store.judgements.decide([replies[1].id], "reject", author="me")
    say(store, "nothing yet", title="empty")
    empty, counted = store.logs.list()
    assert (counted.messages, counted.up, counted.down, counted.waiting) == (4, 1, 1, 1)
    assert (counted.approved, counted.rejected, counted.models) == (1, 1, ("large", "m", "small"))
    assert counted.conversation == store.conversations.get(prompt.conversation_id)
    assert (empty.messages, empty.up, empty.waiting, empty.models) == (1, 0, 0, ())
    store.tree.drop(replies[2].id)
    assert store.logs.list()[0].messages == 3


def test_pages_go_from_the_newest_to_the_oldest(store: Store) -> None:
    for number in range(5):
        say(store, f"needle {number}", title=str(number))
    for text in ("", "needle"):
        asked = LogFilter(text=text)
        pages = [store.logs.list(asked, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
        titles = [[entry.conversation.title for entry in page] for page in pages]
        assert titles == [["4", "3"], ["2", "1"], ["0"], []]
        assert store.logs.count(asked) == 5


def test_all_ids_are_read_in_pages_oldest_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.store.logs._PAGE", 2)
    ids = [say(store, f"needle {number}").conversation_id for number in range(5)]
    assert list(store.logs.each_id(LogFilter())) == ids
    assert list(store.logs.each_id(LogFilter(text="needle"))) == ids
    assert list(store.logs.each_id(LogFilter(persona="nobody"))) == []


def test_a_tree_and_the_path_to_one_of_its_messages(store: Store) -> None:
    prompt = say(store, "q")
    first, second = answer(store, prompt, "a"), answer(store, prompt, "b")
    last = say(store, "q2", prompt.conversation_id)
    assert [message.content for message in store.logs.tree(prompt.conversation_id)] == ["q", "a", "b", "q2"]
    assert [message.content for message in store.logs.path(last.id)] == ["q", "b", "q2"]
    assert [message.content for message in store.logs.path(first.id)] == ["q", "a"]
    assert [(one.sibling, one.siblings) for one in store.logs.tree(prompt.conversation_id)[1:3]] == [(1, 2), (2, 2)]
    store.tree.delete_turn(second.id)
    assert [message.content for message in store.logs.tree(prompt.conversation_id)] == ["q2"]
    assert len(store.logs.tree(prompt.conversation_id, hidden=True)) == 4
    with pytest.raises(NotFound):
        store.logs.path("nothing")
