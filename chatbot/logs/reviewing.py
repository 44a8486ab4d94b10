"""Reviewing: the queue, one reply with everything a reviewer needs to see, the decisions, and the way back.

The review screen and `chatbot logs` drive this one object. All calls are synchronous and quick, to be made off an
event loop. Each decision can be undone, save a redaction: what it masked is gone, as was meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from chatbot.errors import InvalidInput
from chatbot.logs.training_use import TrainingUse, decide_use
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from chatbot.store.opinions import Opinion, clean_tags
from chatbot.store.records import Conversation, Decision, Message, Rating
from chatbot.store.reply_states import Concern, Judgement, list_concerns
from chatbot.store.review_queue import Progress, QueueEntry

CONCERNS = {
    Concern.RATED_DOWN: "rated down",
    Concern.CUT_OFF: "cut off",
    Concern.INTERRUPTED: "interrupted",
    Concern.REPETITIVE: "repetitive",
    Concern.IMPROBABLE: "low in probability",
    Concern.FLAGGED: "flagged",
    Concern.UNRATED: "unrated",
    Concern.RATED_UP: "rated up",
}


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A reply under review."""

    reply: Message
    conversation: Conversation
    above: tuple[Message, ...]
    """The branch above the reply, oldest first."""
    concerns: tuple[str, ...]
    """Why it is in the queue, worst first, in words with figures."""
    judgement: Judgement
    history: tuple[Opinion, ...]
    use: TrainingUse


class Reviewer:
    """One person's way through the queue."""

    def __init__(self, store: Store, *, author: str, wanted: int) -> None:
        """`wanted` is how many approved replies the next training should have."""
        self._store = store
        self.author = author
        self.wanted = wanted
        self._done: list[tuple[str, str, Callable[[], object] | None]] = []

    def progress(self) -> Progress:
        return self._store.review_queue.progress()

    def queue(self, asked: LogFilter | None = None, *, limit: int = 100, offset: int = 0) -> list[QueueEntry]:
        """Replies that wait, worst first."""
        return self._store.review_queue.list(asked, limit=limit, offset=offset)

    def open(self, message_id: str) -> ReviewItem:
        """A reply with its conversation. Raises NotFound."""
        reply = self._store.messages.get(message_id)
        conversation = self._store.conversations.get(reply.conversation_id)
        path = self._store.logs.path(message_id)
        history = tuple(self._store.judgements.history(message_id))
        return ReviewItem(
            reply=reply,
            conversation=conversation,
            above=tuple(message for message in path if message.id != message_id),
            concerns=describe_concerns(reply, self._store.judgements.is_flagged(message_id)),
            judgement=self._store.judgements.get(message_id),
            history=history,
            use=decide_use(reply, in_bin=conversation.deleted),
        )

    # Deciding. Each returns the reply as it now stands.

    def approve(self, message_id: str, note: str = "") -> Message:
        return self._decide(message_id, "approve", "approved", note)

    def reject(self, message_id: str, note: str = "") -> Message:
        return self._decide(message_id, "reject", "rejected", note)

    def rate(self, message_id: str, rating: Rating) -> Message:
        """The same rating twice takes it back."""
        said, before = self._store.judgements.toggle_rating(message_id, rating, author=self.author)
        self._remember(message_id, "the rating", lambda: self._say(message_id, rating=before))
        return said

    def tag(self, message_id: str, tags: Sequence[str]) -> Message:
        """Sets all tags of the reply; those that another one gives at this moment stay. Raises InvalidInput."""
        before, wanted = self._store.judgements.get(message_id).tags, clean_tags(tags)
        added = [tag for tag in wanted if tag not in before]
        removed = [tag for tag in before if tag not in wanted]
        change = self._store.judgements.change_tags
        said = change(message_id, added, removed, author=self.author)
        self._remember(message_id, "the tags", lambda: change(message_id, removed, added, author=self.author))
        return said

    def comment(self, message_id: str, comment: str) -> Message:
        before = self._store.judgements.get(message_id).comment
        said = self._say(message_id, comment=comment.strip())
        self._remember(message_id, "the comment", lambda: self._say(message_id, comment=before))
        return said

    def correct(self, message_id: str, content: str) -> Message:
        """A person's own text in place of the reply's: preferred to it and, since a reviewer wrote it, approved.
        Returns the correction. Raises InvalidInput for an empty text."""
        judgements = self._store.judgements
        before = self._store.messages.get(message_id).decision
        correction = judgements.correct(message_id, content, author=self.author, approve=True)
        take_back = partial(judgements.take_back_correction, correction.id, before, author=self.author)
        self._remember(message_id, "the correction", take_back)
        return correction

    def note_redaction(self, message_id: str) -> None:
        """Says that texts of this reply's conversation were masked, which nothing takes back."""
        self._done.append((message_id, "the redaction", None))

    def mark_now(self) -> str:
        """An identifier that sorts after all replies that there are: where a bulk decision that is counted now ends."""
        return self._store.replies.new_id()

    def decide_all(
        self, asked: LogFilter, decision: Decision, *, until: str = "", note: str = "by filter"
    ) -> Iterator[int]:
        """Decides about all that wait and that the filter means, up to `until` (see `mark_now`); yields how many after
        each step. A stop in between keeps what was decided. Raises InvalidInput for a filter of decided replies."""
        end = until or self.mark_now()

        def decide() -> dict[str, Decision | Literal[""]]:
            return self._store.judgements.decide_waiting(asked, decision, until=end, author=self.author, note=note)

        while before := decide():
            self._remember("", f"{len(before)} decisions", partial(self._restore, before, decision))
            yield len(before)

    def undo(self) -> tuple[str, str] | None:
        """Takes the last step back: the reply's id and what was taken back, None if there is nothing. Raises
        InvalidInput for a redaction."""
        if not self._done:
            return None
        message_id, what, take_back = self._done[-1]
        if take_back is None:
            self._done.pop()
            raise InvalidInput("A redaction cannot be taken back: what it masked is gone.")
        take_back()
        self._done.pop()  # only now: if the database was busy, it can be tried again
        return message_id, what

    def _decide(self, message_id: str, decision: Decision, what: str, note: str) -> Message:
        before = self._store.judgements.decide([message_id], decision, author=self.author, note=note)
        self._remember(message_id, what, partial(self._restore, before, decision))
        return self._store.messages.get(message_id)

    def _restore(self, before: Mapping[str, Decision | Literal[""]], decided: Decision) -> None:
        self._store.judgements.restore_decisions(before, decided, author=self.author)

    def _say(self, message_id: str, *, rating: Rating | None = None, comment: str | None = None) -> Message:
        return self._store.judgements.say(message_id, author=self.author, rating=rating, comment=comment)

    def _remember(self, message_id: str, what: str, take_back: Callable[[], object]) -> None:
        self._done.append((message_id, what, take_back))


def describe_concerns(reply: Message, flagged: bool) -> tuple[str, ...]:
    """The reasons to look at a reply, in words."""
    found = list_concerns(reply.rating, reply.status, reply.finish_reason, reply.generation, flagged)
    figures = {
        Concern.REPETITIVE: lambda badness: f" ({badness:.1f} times compressible)",
        Concern.IMPROBABLE: lambda badness: f" (mean log-probability −{badness:.2f})",
    }
    return tuple(
        CONCERNS[concern] + (figures[concern](badness) if concern in figures else "") for concern, badness in found
    )
