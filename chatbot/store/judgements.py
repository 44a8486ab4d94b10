"""Saying what a message is worth: ratings, tags, comments, preferences, corrections, a reviewer's decisions.

Everything is appended; what was said before stays and is folded into the newest word by `reply_states`. What depends on
the word before it is decided under the write lock, so that two who judge at once lose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, or_, select

from chatbot.errors import InvalidInput
from chatbot.store import reply_states, search_index
from chatbot.store.conversations import change_conversation, get_conversation
from chatbot.store.filters import LogFilter
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.judgement_tables import FeedbackRow
from chatbot.store.messages import get_message, is_on_branch, list_siblings, newest_below
from chatbot.store.opinions import Opinion, add_feedback, add_review, clean_tags, read_history
from chatbot.store.records import Decision, Message, Rating
from chatbot.store.reply_states import Judgement
from chatbot.store.review_queue import list_undecided
from chatbot.store.sessions import Database
from chatbot.store.tables import MessageRow
from chatbot.store.tree import drop_reply
from chatbot.text import storable


class Judgements:
    """Adds judgements and reads them. Each method is one transaction and raises NotFound for what is not there."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers

    def get(self, message_id: str) -> Judgement:
        """The newest word on each question."""
        with self._database.read() as connection:
            return reply_states.read_judgement(connection, message_id)

    def history(self, message_id: str) -> list[Opinion]:
        """All that was said of a message, oldest first."""
        with self._database.read() as connection:
            return read_history(connection, message_id)

    def is_flagged(self, message_id: str) -> bool:
        """Whether the watch over unfit text spoke of it."""
        with self._database.read() as connection:
            return reply_states.is_flagged(connection, message_id)

    def say(
        self,
        message_id: str,
        *,
        author: str,
        rating: Rating | None = None,
        tags: Sequence[str] | None = None,
        add_tags: Sequence[str] = (),
        comment: str | None = None,
    ) -> Message:
        """Rates, tags or comments a reply; None leaves a question as it was, and `add_tags` the tags that it has.
        Raises InvalidInput for a prompt, and for tags that cannot be added."""
        with self._database.write() as connection:
            _check_reply(get_message(connection, message_id))
            if add_tags:
                tags = clean_tags([*reply_states.read_judgement(connection, message_id).tags, *add_tags])
            words = {"rating": rating, "tags": tags, "comment": comment}
            return self._say(connection, message_id, author, words)

    def toggle_rating(self, message_id: str, rating: Rating, *, author: str) -> tuple[Message, Rating]:
        """Rates a reply; the rating that it has already is taken back. Returns the reply and its rating before."""
        with self._database.write() as connection:
            _check_reply(get_message(connection, message_id))
            before = reply_states.read_judgement(connection, message_id).rating
            words = {"rating": 0 if rating == before else rating}
            return self._say(connection, message_id, author, words), before

    def change_tags(self, message_id: str, add: Sequence[str], remove: Sequence[str], *, author: str) -> Message:
        """Adds tags and takes others away; the rest stays, whoever gave it. What changes nothing is not noted. Raises
        InvalidInput for tags that cannot be added."""
        with self._database.write() as connection:
            message = get_message(connection, message_id)
            _check_reply(message)
            known = reply_states.read_judgement(connection, message_id).tags
            wanted = clean_tags([tag for tag in (*known, *add) if tag not in remove])
            if tuple(wanted) == known:
                return message
            return self._say(connection, message_id, author, {"tags": wanted})

    def prefer(self, message_id: str, over: Sequence[str], *, author: str) -> None:
        """Notes that a reply is better than each of `over`. Raises InvalidInput if they are not replies to the same
        message."""
        with self._database.write() as connection:
            chosen = get_message(connection, message_id)
            _check_reply(chosen)
            for other_id in over:
                other = get_message(connection, other_id)
                if (other.conversation_id, other.parent_id) != (chosen.conversation_id, chosen.parent_id):
                    raise InvalidInput("Only replies to the same message can be compared.")
                _check_reply(other)
                if other_id != message_id:
                    add_feedback(connection, self._identifiers, message_id, author, over=other_id)

    def go_on_from(self, reply_id: str, *, author: str) -> None:
        """The conversation goes on below `reply_id`: that prefers it to the other whole replies at its place. Pairs
        that were judged before are left as they were."""
        with self._database.read() as connection:
            if get_message(connection, reply_id).siblings < 2:  # as nearly always: it need not wait for the lock
                return
        with self._database.write() as connection:
            reply = get_message(connection, reply_id)
            if not _is_whole(reply):
                return
            for other_id in list_siblings(connection, reply.conversation_id, reply.parent_id):
                if other_id == reply_id or not _is_whole(get_message(connection, other_id)):
                    continue
                if not _is_compared(connection, reply_id, other_id):
                    add_feedback(connection, self._identifiers, reply_id, author, over=other_id, implied=True)

    def correct(self, message_id: str, content: str, *, author: str, note: str = "", approve: bool = False) -> Message:
        """A reply as it should have been, written by a person: a sibling that is preferred to the original, which is
        rejected and kept. It comes on screen if nothing follows the original there. `approve` says that a reviewer
        wrote it, who need not read it again."""
        with self._database.write() as connection:
            original = get_message(connection, message_id)
            _check_reply(original)
            content = storable(content)
            if not content.strip():
                raise InvalidInput("A correction cannot be empty.", hint="Reject the reply instead.")
            if content == original.content:
                raise InvalidInput("The correction says what the reply says already.")
            for other_id in list_siblings(connection, original.conversation_id, original.parent_id):
                other = get_message(connection, other_id)
                if other.content == content and other.generation.get("corrects") == message_id:
                    raise InvalidInput("The reply has been corrected so already.", hint="Nothing is changed.")
            identifier, now = self._identifiers.next(), datetime.now(UTC)
            connection.execute(
                insert(MessageRow).values(
                    id=identifier,
                    conversation_id=original.conversation_id,
                    parent_id=original.parent_id,
                    hidden=False,
                    role="assistant",
                    status="complete",
                    finish_reason="stop",
                    writer="",
                    model_version_id=None,
                    template_sha="",
                    created_at=now,
                    generation={"author": author, "corrects": message_id},
                    content=content,
                )
            )
            search_index.add(connection, identifier, content)
            add_feedback(connection, self._identifiers, identifier, author, rating=1, over=message_id)
            self._decide(connection, message_id, "reject", note or "corrected", author)
            if approve:
                self._decide(connection, identifier, "approve", "written by a reviewer", author)
            changes: dict[str, Any] = {"updated_at": now}
            if get_conversation(connection, original.conversation_id).tip == message_id:
                changes["tip_id"] = identifier
            change_conversation(connection, original.conversation_id, **changes)
            reply_states.refresh(connection, identifier)
            return get_message(connection, identifier)

    def take_back_correction(self, correction_id: str, before: Decision | Literal[""], *, author: str) -> None:
        """Hides a correction and withdraws what was decided about it; the original has its decision of `before` again,
        unless it got another one since, and stands where the correction stood. Raises InvalidInput if messages follow
        the correction, or if it is none."""
        with self._database.write() as connection:
            correction = get_message(connection, correction_id)
            corrects = correction.generation.get("corrects")
            if not isinstance(corrects, str):
                raise InvalidInput("This reply corrects none.")
            original = get_message(connection, corrects)
            tip = get_conversation(connection, correction.conversation_id).tip
            on_screen = is_on_branch(connection, correction_id, tip)
            if correction.decision:
                self._decide(connection, correction_id, "withdraw", "", author)
            drop_reply(connection, correction_id)
            if original.decision == "reject":
                self._decide(connection, original.id, before or "withdraw", "", author)
            newest = newest_below(connection, original.conversation_id, original.id)
            if on_screen and newest is not None:
                change_conversation(connection, original.conversation_id, tip_id=newest)

    def decide(
        self, message_ids: Sequence[str], decision: Decision, *, author: str, note: str = ""
    ) -> dict[str, Decision | Literal[""]]:
        """A reviewer's decision about replies, all in one transaction. Returns what was decided before, by id."""
        before: dict[str, Decision | Literal[""]] = {}
        with self._database.write() as connection:
            for message_id in message_ids:
                message = get_message(connection, message_id)
                _check_reply(message)
                before.setdefault(message_id, message.decision)
                self._decide(connection, message_id, decision, note, author)
        return before

    def decide_waiting(
        self, asked: LogFilter, decision: Decision, *, until: str, author: str, note: str = "", limit: int = 500
    ) -> dict[str, Decision | Literal[""]]:
        """A decision about the worst `limit` of the replies that wait and that the filter means, in one transaction.
        `until` is an identifier of the moment at which somebody wanted it: what came later, or was decided about since
        (also by this), is passed over. Returns what was decided before (redact, or nothing), by id. Raises InvalidInput
        for a filter for a decision."""
        with self._database.write() as connection:
            before = list_undecided(connection, asked, until, limit)
            for message_id in before:
                self._decide(connection, message_id, decision, note, author)
        return before

    def restore_decisions(
        self, before: Mapping[str, Decision | Literal[""]], decided: Decision, *, author: str
    ) -> None:
        """Takes the decision `decided` back: each reply has again what `before` says. Those that are gone, or about
        which something else was decided since, are passed over."""
        with self._database.write() as connection:
            for message_id, decision in before.items():
                if reply_states.read_judgement(connection, message_id).decision == decided:
                    self._decide(connection, message_id, decision or "withdraw", "", author)

    def _say(self, connection: Connection, message_id: str, author: str, words: Mapping[str, Any]) -> Message:
        add_feedback(connection, self._identifiers, message_id, author, **words)
        reply_states.refresh(connection, message_id)
        return get_message(connection, message_id)

    def _decide(self, connection: Connection, message_id: str, decision: Decision, note: str, author: str) -> None:
        add_review(connection, self._identifiers, message_id, decision, note, author)
        reply_states.refresh(connection, message_id)


def _is_compared(connection: Connection, one: str, other: str) -> bool:
    table = FeedbackRow
    pair = or_(
        (table.message_id == one) & (table.preferred_over_id == other),
        (table.message_id == other) & (table.preferred_over_id == one),
    )
    return connection.scalar(select(table.id).where(pair).limit(1)) is not None


def _check_reply(message: Message) -> None:
    if message.role != "assistant":
        raise InvalidInput("Only a reply can be judged; this is a prompt.", hint="Give the id of the reply to it.")
    if message.status == "streaming":
        raise InvalidInput("This reply is still being written.", hint="Stop it first, or wait for its end.")


def _is_whole(message: Message) -> bool:
    return message.role == "assistant" and message.status == "complete"
