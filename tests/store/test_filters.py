"""One set of filters for lists, queues and figures, against a model that looks at every reply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.errors import InvalidInput
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from tests.store.sample import NOW, answer, say


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


@dataclass(frozen=True)
class Reply:
    model: str
    status: str
    rating: int
    decision: str
    tag: str
    text: str
    hidden: bool

    def archive(self, place: int) -> ArchivedMessage:
        feedback = (
            ArchivedFeedback(tags=("old",), created=NOW - timedelta(days=1)),
            ArchivedFeedback(rating=self.rating or None, tags=(self.tag,), created=NOW),
        )
        return ArchivedMessage(
            f"r{place}",
            "prompt",
            "assistant",
            self.text,
            created=NOW,
            status=self.status,  # type: ignore[arg-type]
            model=self.model,
            hidden=self.hidden,
            feedback=feedback if self.rating or self.tag else (),
            reviews=(ArchivedReview(self.decision),) if self.decision else (),  # type: ignore[arg-type]
        )

    def meets(self, asked: LogFilter) -> bool:
        decisions = {"approved": "approve", "rejected": "reject", "redacted": "redact"}
        ratings = {"up": 1, "down": -1, "none": 0}
        return (
            not self.hidden
            and asked.model in {"", self.model}
            and asked.status in {"", self.status}
            and (not asked.rating or ratings[asked.rating] == self.rating)
            and asked.tag in {"", self.tag}
            and (asked.state in {"", "waiting"} or decisions[asked.state] == self.decision)
            and (asked.state != "waiting" or self.waits)
        )

    @property
    def waits(self) -> bool:
        return bool(self.text) and not self.hidden and self.decision in {"", "redact", "withdraw"}


REPLIES = st.builds(
    Reply,
    model=st.sampled_from(["", "small", "large"]),
    status=st.sampled_from(["complete", "stopped", "failed", "interrupted"]),
    rating=st.sampled_from([-1, 0, 1]),
    decision=st.sampled_from(["", "approve", "reject", "redact", "withdraw"]),
    tag=st.sampled_from(["", "ä", 'quo"te', "%"]),
    text=st.sampled_from(["", "needle", "hay"]),
    hidden=st.booleans(),
)
CONVERSATIONS = st.lists(st.tuples(st.sampled_from(["default", "tutor"]), st.lists(REPLIES, max_size=3)), max_size=3)
FILTERS = st.builds(
    LogFilter,
    persona=st.sampled_from(["", "tutor"]),
    model=st.sampled_from(["", "", "small", "nobody"]),
    status=st.sampled_from(["", "", "complete", "failed", "streaming"]),
    rating=st.sampled_from(["", "", "up", "down", "none"]),
    state=st.sampled_from(["", "waiting", "approved", "rejected", "redacted"]),
    tag=st.sampled_from(["", "", "ä", 'quo"te', "%", "old"]),
    text=st.sampled_from(["", "", "needle"]),
)


def test_the_filters_mean_what_a_look_at_every_reply_finds(store: Store) -> None:
    made: dict[str, tuple[str, list[Reply]]] = {}

    @settings(max_examples=30, deadline=None)
    @given(CONVERSATIONS, st.lists(FILTERS, min_size=1, max_size=4))
    def check(conversations: Any, filters: list[LogFilter]) -> None:
        for persona, replies in conversations:
            messages = [ArchivedMessage("prompt", None, "user", "question", created=NOW)]
            messages += [reply.archive(place) for place, reply in enumerate(replies)]
            key = str(len(made))
            store.archive.add([ArchivedConversation(key, tuple(messages), title=key, persona=persona)], source="")
            made[key] = (persona, replies)
        for asked in filters:
            wanted, waiting = [], []
            for key, (persona, replies) in made.items():
                if asked.persona not in {"", persona}:
                    continue
                met = [reply for reply in replies if reply.meets(asked) and asked.text in {"", reply.text}]
                if met or not (asked.asks_of_replies or asked.text):
                    wanted.append(key)
                decided = asked.state in {"approved", "rejected"}
                waiting += [(key, reply.text) for reply in met if (not reply.hidden if decided else reply.waits)]
            listed = [entry.conversation.title for entry in store.logs.list(asked, limit=10_000)]
            assert sorted(listed) == sorted(wanted), asked
            assert store.logs.count(asked) == len(wanted)
            titles = [store.conversations.get(one).title for one in store.logs.each_id(asked)]
            assert sorted(titles) == sorted(wanted)
            queue = store.review_queue.list(asked, limit=10_000)
            places = [(store.conversations.get(one.conversation_id).title, one) for one in queue]
            assert sorted((key, store.messages.get(one.message_id).content) for key, one in places) == sorted(waiting)
            decided = asked.state in {"approved", "rejected"}
            order = [(() if decided else (one.concern, one.badness), one.message_id) for one in queue]
            assert order == sorted(order, reverse=True)
            assert store.review_queue.count(asked) == len(waiting)

    check()


def test_dates_bound_conversations_and_messages(store: Store) -> None:
    for day in range(3):
        moment = NOW + timedelta(days=day)
        messages = (ArchivedMessage("a", None, "user", "needle", created=moment),)
        store.archive.add([ArchivedConversation(str(day), messages, title=str(day))], source="")
    first, second = NOW, NOW + timedelta(days=1)
    for text in ("", "needle"):
        assert [one.conversation.title for one in store.logs.list(LogFilter(since=second, text=text))] == ["2", "1"]
        assert [one.conversation.title for one in store.logs.list(LogFilter(until=second, text=text))] == ["0"]
        asked = LogFilter(since=first, until=second, text=text)
        assert [one.conversation.title for one in store.logs.list(asked)] == ["0"]


def test_the_bin_is_asked_for_by_itself_and_one_conversation_by_its_id(store: Store) -> None:
    kept, binned = say(store, "kept"), say(store, "binned")
    answer(store, binned, "a")
    store.conversations.change(binned.conversation_id, deleted=True)
    assert [one.conversation.id for one in store.logs.list()] == [kept.conversation_id]
    assert [one.conversation.id for one in store.logs.list(LogFilter(deleted=True))] == [binned.conversation_id]
    assert store.review_queue.list() == []
    assert (
        len(store.review_queue.list(LogFilter(deleted=True))) == store.review_queue.count(LogFilter(deleted=True)) == 1
    )
    assert store.logs.list(LogFilter(conversation=binned.conversation_id)) == []
    assert store.logs.count(LogFilter(conversation=kept.conversation_id)) == 1


@pytest.mark.parametrize(
    "wrong", [{"rating": "good"}, {"status": "done"}, {"state": "open"}, {"status": "' OR 1=1 --"}]
)
def test_a_value_that_there_is_not_is_named_with_those_that_there_are(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"is one of .*, "):
        LogFilter(**wrong)
