"""One person's way through the queue: the replies that were loaded, the one in sight, and what was decided.

All of it is synchronous and belongs into the background thread. The queue is read in pages, so that a million replies
that wait cost no more than a hundred. What was decided leaves the queue and stays here, to be gone back to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from chatbot.errors import NotFound
from chatbot.logs.reviewing import CONCERNS, Reviewer, ReviewItem
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from chatbot.store.records import Message

PAGE = 50
_DECIDED = {"approved": "approve", "rejected": "reject"}


@dataclass(slots=True)
class QueuedReply:
    """A line of the queue."""

    message_id: str
    conversation_id: str
    title: str
    why: str
    done: str = ""
    """approved, rejected or corrected; empty while it waits."""


class ReviewWalk:
    """The queue under one filter at a time. `place` is the reply in sight; behind the last one there is none."""

    def __init__(self, store: Store, *, author: str, wanted: int) -> None:
        self.store = store
        self.reviewer = Reviewer(store, author=author, wanted=wanted)
        self.replies: list[QueuedReply] = []
        self.place = 0
        self.asked = LogFilter()
        self.tags: list[str] = []
        """Those that were met or given, newest first."""
        self._titles: dict[str, str] = {}
        self._exhausted = False
        self._pages: Iterator[QueuedReply] | None = None  # of replies that were decided before
        self._steps: list[int] = []  # how many of the reviewer's steps each of ours is

    @property
    def current(self) -> QueuedReply | None:
        return self.replies[self.place] if self.place < len(self.replies) else None

    @property
    def skipped(self) -> int:
        return sum(not reply.done for reply in self.replies[: self.place])

    def choose(self, asked: Mapping[str, Any]) -> None:
        """Another filter. What was decided stays before it. Raises InvalidInput, and NotFound for a conversation that
        there is not; all is as it was then."""
        found = (
            {"conversation": self.store.conversations.find(asked["conversation"]).id} if "conversation" in asked else {}
        )
        self.asked = LogFilter(**{**asked, **found})
        self.begin_again()

    def begin_again(self) -> None:
        """The queue anew from its beginning, behind what was decided."""
        self.replies = [reply for reply in self.replies if reply.done]
        self.place = len(self.replies)
        self._exhausted = False
        self._pages = self._list_decided() if self.asked.state in _DECIDED else None

    def open(self) -> ReviewItem | None:
        """The reply in sight with its conversation; one that is gone is passed over."""
        while True:
            if self.place + 2 >= len(self.replies):
                self.load_more()
            current = self.current
            if current is None:
                return None
            try:
                item = self.reviewer.open(current.message_id)
            except NotFound:
                self.replies.pop(self.place)
                continue
            current.done = describe_decision(item)
            self._note_tags(item.judgement.tags)
            return item

    def step(self, step: int) -> ReviewItem | None:
        self.place = min(max(self.place + step, 0), len(self.replies))
        return self.open()

    def go_to(self, message_id: str) -> ReviewItem | None:
        """Opens one of the replies that were loaded; one that was not is put in here."""
        for place, reply in enumerate(self.replies):
            if reply.message_id == message_id:
                self.place = place
                return self.open()
        message = self.store.messages.get(message_id)
        self.replies.insert(self.place, self._describe(message, "back again"))
        return self.open()

    def add(self, message_id: str) -> ReviewItem | None:
        """Puts a new reply behind the one in sight and opens it."""
        message = self.store.messages.get(message_id)
        self.place = min(self.place + 1, len(self.replies))
        self.replies.insert(self.place, self._describe(message, "another beginning"))
        return self.open()

    def load_more(self) -> bool:
        """The next page of the queue; False if there is none."""
        if self._exhausted:
            return False
        known = {reply.message_id for reply in self.replies}
        if self._pages is not None:
            new = [reply for reply in islice(self._pages, PAGE) if reply.message_id not in known]
        else:
            new = self._read_page(known)
        self._exhausted = not new
        self.replies += new
        return bool(new)

    def _read_page(self, known: set[str]) -> list[QueuedReply]:
        """The first page that holds what is not yet known. Others may add to the queue meanwhile: at its end, it is
        looked at from its beginning once more."""
        offset = sum(not reply.done for reply in self.replies)
        starts = [offset, 0] if offset else [0]
        for start in starts:
            place = start
            while True:
                page = self.reviewer.queue(self.asked, limit=PAGE, offset=place)
                new = [entry for entry in page if entry.message_id not in known]
                if new:
                    return [
                        QueuedReply(
                            entry.message_id,
                            entry.conversation_id,
                            self._title(entry.conversation_id),
                            CONCERNS.get(entry.concern, ""),
                        )
                        for entry in new
                    ]
                if len(page) < PAGE:
                    break
                place += PAGE
        return []

    def _list_decided(self) -> Iterator[QueuedReply]:
        state, offset = self.asked.state, 0
        while page := self.reviewer.queue(self.asked, limit=PAGE, offset=offset):
            for entry in page:
                title = self._title(entry.conversation_id)
                yield QueuedReply(entry.message_id, entry.conversation_id, title, state, state)
            offset += len(page)

    def _describe(self, message: Message, why: str, done: str = "") -> QueuedReply:
        return QueuedReply(message.id, message.conversation_id, self._title(message.conversation_id), why, done)

    def _title(self, conversation_id: str) -> str:
        if conversation_id not in self._titles:
            self._titles[conversation_id] = self.store.conversations.get(conversation_id).title
        return self._titles[conversation_id]

    def _note_tags(self, tags: tuple[str, ...]) -> None:
        self.tags = list(dict.fromkeys([*tags, *self.tags]))

    # Steps that can be taken back.

    def note_steps(self, count: int = 1) -> None:
        """To be called after each change: it was `count` of the reviewer's steps."""
        self._steps.append(count)

    def count_steps(self) -> int:
        """How many of the reviewer's steps the last change was, which is thereby forgotten; 0 if there is none."""
        return self._steps.pop() if self._steps else 0

    def forget_titles(self, conversation_id: str) -> None:
        """After a redaction, which may have masked the title and took decisions back."""
        self._titles.pop(conversation_id, None)
        for reply in self.replies:
            if reply.conversation_id == conversation_id:
                reply.title = self._title(conversation_id)
                reply.done = _describe(self.store.messages.get(reply.message_id).decision)


def describe_decision(item: ReviewItem) -> str:
    """approved, rejected or corrected; empty while it waits."""
    decided = [opinion for opinion in item.history if opinion.decision]
    if item.reply.decision == "reject" and decided and decided[-1].note == "corrected":
        return "corrected"
    return _describe(item.reply.decision)


def _describe(decision: str) -> str:
    return next((word for word, kept in _DECIDED.items() if kept == decision), "")
