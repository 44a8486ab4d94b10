"""What is derived stays in step: random histories leave the index and the states that a rebuild would make."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import insert, select

from chatbot.store import reply_states
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview
from chatbot.store.database import Store
from chatbot.store.judgement_tables import ReplyStateRow, SafetyEventRow
from chatbot.store.records import Message
from chatbot.store.reply_states import Concern, list_concerns, read_number
from tests.store.sample import NOW, say

RATINGS = st.sampled_from([None, -1, 0, 1])
DECISIONS = st.sampled_from(["approve", "reject", "redact", "withdraw"])
ENDS = st.sampled_from(
    [
        ("complete", "stop", {}),
        ("complete", "length", {}),
        ("complete", "stop", {"mean_logprob": -2.0}),
        ("complete", "stop", {"compression_ratio": 3.0, "mean_logprob": -2.0}),
        ("stopped", "", {}),
        ("failed", "it broke", {}),
    ]
)
NUMBERS = st.integers(0, 30)


class LogMachine(RuleBasedStateMachine):
    """Each text is one word that no other text holds. `texts` says what each message should be found by now."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.in_memory()
        self.version = self.store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
        self.made = 0
        self.texts: dict[str, str] = {}  # message → the word that it is found by
        self.gone: list[str] = []
        self.growing: dict[str, str] = {}
        self.replies: list[str] = []
        self.prompts = [say(self.store, self.word())]
        self.texts[self.prompts[0].id] = self.prompts[0].content

    def word(self) -> str:
        self.made += 1
        return f"word{self.made}x" if self.made % 3 else f"天{chr(0x4E00 + self.made)}"

    def pick(self, among: list[Any], number: int) -> Any:
        return among[number % len(among)]

    def replace(self, message_id: str, word: str) -> None:
        if message_id in self.texts:
            self.gone.append(self.texts.pop(message_id))
        if word:
            self.texts[message_id] = word

    @rule(number=NUMBERS, new=st.booleans())
    def say(self, number: int, new: bool) -> None:
        word = self.word()
        conversation = "" if new or not self.prompts else self.pick(self.prompts, number).conversation_id
        self.prompts.append(say(self.store, word, conversation))
        self.replace(self.prompts[-1].id, word)

    @precondition(lambda self: self.prompts)
    @rule(number=NUMBERS)
    def start(self, number: int) -> None:
        prompt: Message = self.pick(self.prompts, number)
        reply = self.store.replies.start(self.store.replies.new_id(), prompt.id, self.version, "", {})
        self.growing[reply.id] = ""

    @precondition(lambda self: self.growing)
    @rule(number=NUMBERS)
    def grow(self, number: int) -> None:
        reply_id = self.pick(list(self.growing), number)
        self.growing[reply_id] = self.word()
        self.gone.append(self.growing[reply_id])  # not to be found before its end
        self.store.replies.grow(reply_id, self.growing[reply_id])

    @precondition(lambda self: self.growing)
    @rule(number=NUMBERS, end=ENDS, empty=st.booleans())
    def finish(self, number: int, end: Any, empty: bool) -> None:
        reply_id = self.pick(list(self.growing), number)
        word = "" if empty else self.word()
        self.store.replies.finish(reply_id, word, *end)
        del self.growing[reply_id]
        self.replies.append(reply_id)
        self.replace(reply_id, word)

    @precondition(lambda self: self.growing)
    @rule()
    def die(self) -> None:
        self.store.replies._active.clear()  # as if this process had been unable to finish them
        assert self.store.replies.mark_interrupted() == len(self.growing)
        for reply_id, word in self.growing.items():
            self.replies.append(reply_id)
            if word:
                self.gone.remove(word)
            self.replace(reply_id, word)
        self.growing.clear()

    @precondition(lambda self: self.replies)
    @rule(number=NUMBERS)
    def resume(self, number: int) -> None:
        reply_id = self.pick(self.replies, number)
        reply = self.store.messages.get(reply_id)
        self.store.replies.resume(reply, self.version, "", {})
        self.replies.remove(reply_id)
        self.growing[reply_id] = ""
        if reply.content:
            self.growing[reply_id] = self.texts.pop(reply_id)
            self.gone.append(reply.content)

    @precondition(lambda self: self.replies)
    @rule(number=NUMBERS, rating=RATINGS, tags=st.sampled_from([None, [], ["a"]]))
    def judge(self, number: int, rating: Any, tags: Any) -> None:
        self.store.judgements.say(self.pick(self.replies, number), author="me", rating=rating, tags=tags)

    @precondition(lambda self: self.replies)
    @rule(number=NUMBERS, decision=DECISIONS)
    def decide(self, number: int, decision: Any) -> None:
        self.store.judgements.decide([self.pick(self.replies, number)], decision, author="me")

    @precondition(lambda self: self.replies)
    @rule(number=NUMBERS)
    def correct(self, number: int) -> None:
        word = self.word()
        correction = self.store.judgements.correct(self.pick(self.replies, number), word, author="me")
        self.replies.append(correction.id)
        self.replace(correction.id, word)

    @precondition(lambda self: self.replies)
    @rule(number=NUMBERS)
    def flag(self, number: int) -> None:
        reply_id = self.pick(self.replies, number)
        values = {"stage": "output", "category": "c", "score": 1.0, "action": "a", "created_at": NOW}
        with self.store._database.write() as connection:
            row = {"id": self.store.replies.new_id(), "message_id": reply_id, **values}
            connection.execute(insert(SafetyEventRow).values(row))
            reply_states.refresh(connection, reply_id)

    @precondition(lambda self: self.replies and not self.growing)
    @rule(number=NUMBERS, back=st.booleans())
    def delete_turn(self, number: int, back: bool) -> None:
        ids = self.store.tree.delete_turn(self.pick(self.replies, number))
        if back:
            self.store.tree.restore_turn(ids)
            return
        for message_id in ids:
            self.replace(message_id, "")
        self.replies = [reply for reply in self.replies if reply not in ids]

    @rule(rating=RATINGS, decision=DECISIONS, end=ENDS, hidden=st.booleans(), judged=st.booleans())
    def add(self, rating: Any, decision: Any, end: Any, hidden: bool, judged: bool) -> None:
        status, reason, generation = end
        words = [self.word(), self.word()]
        # The file need not be in the order of time, and a reply that was growing has been left.
        feedback = (
            ArchivedFeedback(rating=rating, created=NOW),
            ArchivedFeedback(rating=1, created=NOW.replace(year=2025)),
        )
        reviews = (ArchivedReview(decision, created=NOW), ArchivedReview("reject", created=NOW.replace(year=2025)))
        reply = ArchivedMessage(
            "b",
            "a",
            "assistant",
            words[1],
            status="streaming" if status == "stopped" else status,
            finish_reason=reason,
            generation=generation,
            hidden=hidden,
            feedback=feedback if judged else (),
            reviews=reviews if judged else (),
        )
        messages = (ArchivedMessage("a", None, "user", words[0]), reply)
        self.store.archive.add([ArchivedConversation(f"key{self.made}", messages, title="t")], source="file")
        for word in words:
            ids = [hit.message_id for hit in self.store.search.find(word)]
            assert len(ids) == (0 if hidden and word == words[1] else 1)
            if ids:
                self.texts[ids[0]] = word
                if word == words[1]:
                    self.replies.append(ids[0])

    @precondition(lambda self: len(self.prompts) > 3 and not self.growing)
    @rule(number=NUMBERS)
    def forget(self, number: int) -> None:
        conversation = self.pick(self.prompts, number).conversation_id
        ids = [message.id for message in self.store.logs.tree(conversation, hidden=True)]
        self.store.erasure.forget([conversation])
        for message_id in ids:
            self.replace(message_id, "")
        self.replies = [reply for reply in self.replies if reply not in ids]
        self.prompts = [prompt for prompt in self.prompts if prompt.conversation_id != conversation]

    @invariant()
    def all_that_is_there_is_found_and_nothing_else(self) -> None:
        for message_id, word in list(self.texts.items())[-8:]:
            assert [hit.message_id for hit in self.store.search.find(word)] == [message_id]
        for word in self.gone[-8:]:
            assert self.store.search.find(word) == []

    @invariant()
    def each_state_is_the_one_that_a_rebuild_makes(self) -> None:
        query = select(ReplyStateRow.__table__).order_by(ReplyStateRow.message_id)
        with self.store._database.write() as connection:
            states = connection.execute(query).all()
            reply_states.refresh_all(connection)
            rebuilt = [row for row in connection.execute(query) if row.message_id not in self.growing]
            assert [row for row in states if row.message_id not in self.growing] == rebuilt

    def teardown(self) -> None:
        assert self.store.verify() == []
        found = {word: self.store.search.find(word) for word in (*self.texts.values(), *self.gone)}
        self.store.reindex()
        assert {word: self.store.search.find(word) for word in found} == found
        assert self.store.verify() == []
        self.store.close()


LogMachine.TestCase.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
TestLog = LogMachine.TestCase


def test_the_worst_concern_comes_first() -> None:
    measured = {"compression_ratio": 3.5, "mean_logprob": -1.5}
    assert list_concerns(-1, "interrupted", "length", measured, flagged=True) == [
        (Concern.RATED_DOWN, 0.0),
        (Concern.CUT_OFF, 0.0),
        (Concern.INTERRUPTED, 0.0),
        (Concern.REPETITIVE, 3.5),
        (Concern.IMPROBABLE, 1.5),
        (Concern.FLAGGED, 0.0),
    ]
    sound = {"compression_ratio": 2.4, "mean_logprob": -1.0}
    assert list_concerns(0, "complete", "stop", sound, flagged=False) == [(Concern.UNRATED, 0.0)]
    assert list_concerns(1, "complete", "stop", {}, flagged=False) == [(Concern.RATED_UP, 0.0)]
    assert max(Concern) is Concern.RATED_DOWN


def test_a_figure_that_is_no_number_is_none() -> None:
    values: tuple[Any, ...] = (None, "3", True, math.nan, math.inf, -math.inf, 10**400, [3], {})
    for value in values:
        assert read_number({"figure": value}, "figure") is None
    assert (read_number({"figure": 3}, "figure"), read_number({}, "figure")) == (3.0, None)
