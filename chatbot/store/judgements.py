"""Saying what a message is worth: ratings, tags, comments, preferences, corrections, a reviewer's decisions.

Everything is appended; what was said before stays and is folded into the newest word by `reply_states`. Each judgement
keeps a copy of what wrote the message, because a reply that is written on by another model is another reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, or_, select

from chatbot.errors import InvalidInput
from chatbot.store import reply_states, search_index
from chatbot.store.conversations import change_conversation, get_conversation
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.judgement_tables import FeedbackRow, ReviewRow
from chatbot.store.learning_tables import ModelVersionRow
from chatbot.store.messages import get_message, list_siblings
from chatbot.store.records import Decision, Message, Rating
from chatbot.store.reply_states import Judgement
from chatbot.store.sessions import Database
from chatbot.store.tables import MessageRow
from chatbot.text import storable

IMPLIED = "implied"
"""The tag of a preference that nobody stated: the conversation went on from this reply and not from the others."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """One judgement as it was given; what is None was not spoken of."""

    id: str
    message_id: str
    author: str
    created: datetime
    written_by: dict[str, Any]
    rating: int | None = None
    tags: tuple[str, ...] | None = None
    comment: str | None = None
    preferred_over: str | None = None
    decision: Decision | Literal[""] = ""
    note: str = ""


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
        comment: str | None = None,
    ) -> Message:
        """Rates, tags or comments a reply; None leaves a question as it was. Raises InvalidInput for a prompt."""
        with self._database.write() as connection:
            _check_reply(get_message(connection, message_id))
            self._add_feedback(connection, message_id, author, rating=rating, tags=tags, comment=comment)
            reply_states.refresh(connection, message_id)
            return get_message(connection, message_id)

    def prefer(self, message_id: str, over: Sequence[str], *, author: str, implied: bool = False) -> None:
        """Notes that a reply is better than each of `over`. With `implied`, pairs that were judged before are left as
        they were. Raises InvalidInput if they are not replies to the same message."""
        with self._database.write() as connection:
            chosen = get_message(connection, message_id)
            _check_reply(chosen)
            for other_id in over:
                other = get_message(connection, other_id)
                if (other.conversation_id, other.parent_id) != (chosen.conversation_id, chosen.parent_id):
                    raise InvalidInput("Only replies to the same message can be compared.")
                _check_reply(other)
                if other_id == message_id or (implied and _is_compared(connection, message_id, other_id)):
                    continue
                tags = [IMPLIED] if implied else None
                self._add_feedback(connection, message_id, author, over=other_id, pair_tags=tags)

    def go_on_from(self, reply_id: str, *, author: str) -> None:
        """The conversation goes on below `reply_id`: that prefers it to the other whole replies at its place."""
        with self._database.read() as connection:
            reply = get_message(connection, reply_id)
            if reply.role != "assistant" or reply.siblings < 2:
                return
            others = [
                get_message(connection, other)
                for other in list_siblings(connection, reply.conversation_id, reply.parent_id)
                if other != reply_id
            ]
        whole = [other.id for other in others if other.status == "complete" and other.role == "assistant"]
        if whole and reply.status == "complete":
            self.prefer(reply_id, whole, author=author, implied=True)

    def correct(self, message_id: str, content: str, *, author: str, note: str = "") -> Message:
        """A reply as it should have been, written by a person: a sibling that is preferred to the original, which is
        rejected and kept. It comes on screen if nothing follows the original there."""
        with self._database.write() as connection:
            original = get_message(connection, message_id)
            _check_reply(original)
            content = storable(content)
            if not content.strip():
                raise InvalidInput("A correction cannot be empty.", hint="Reject the reply instead.")
            if content == original.content:
                raise InvalidInput("The correction says what the reply says already.")
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
            self._add_feedback(connection, identifier, author, rating=1, over=message_id)
            self._add_review(connection, message_id, "reject", note or "corrected", author)
            changes: dict[str, Any] = {"updated_at": now}
            if get_conversation(connection, original.conversation_id).tip == message_id:
                changes["tip_id"] = identifier
            change_conversation(connection, original.conversation_id, **changes)
            for one in (identifier, message_id):
                reply_states.refresh(connection, one)
            return get_message(connection, identifier)

    def decide(self, message_ids: Sequence[str], decision: Decision, *, author: str, note: str = "") -> None:
        """A reviewer's decision about replies, all in one transaction."""
        with self._database.write() as connection:
            for message_id in message_ids:
                _check_reply(get_message(connection, message_id))
                self._add_review(connection, message_id, decision, note, author)
                reply_states.refresh(connection, message_id)

    def count_preferences(self) -> int:
        """How many pairs were judged."""
        query = select(func.count()).where(FeedbackRow.preferred_over_id.is_not(None))
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def _add_feedback(
        self,
        connection: Connection,
        message_id: str,
        author: str,
        *,
        rating: Rating | None = None,
        tags: Sequence[str] | None = None,
        comment: str | None = None,
        over: str | None = None,
        pair_tags: Sequence[str] | None = None,
    ) -> None:
        written_by = describe_writer(connection, message_id)
        if over is not None:
            written_by["over"] = describe_writer(connection, over)
        if pair_tags:
            written_by["tags"] = list(pair_tags)
        values = {
            "id": self._identifiers.next(),
            "message_id": message_id,
            "rating": rating,
            "tags": None if tags is None else [storable(tag) for tag in tags],
            "comment": None if comment is None else storable(comment),
            "preferred_over_id": over,
            "author": author,
            "written_by": written_by,
            "created_at": datetime.now(UTC),
        }
        connection.execute(insert(FeedbackRow).values(values))

    def _add_review(self, connection: Connection, message_id: str, decision: str, note: str, author: str) -> None:
        values = {
            "id": self._identifiers.next(),
            "message_id": message_id,
            "decision": decision,
            "note": storable(note),
            "author": author,
            "written_by": describe_writer(connection, message_id),
            "created_at": datetime.now(UTC),
        }
        connection.execute(insert(ReviewRow).values(values))


def describe_writer(connection: Connection, message_id: str) -> dict[str, Any]:
    """What wrote a message: model, model_version_id, template_sha, sampling, seed; author if it was a person."""
    table = MessageRow
    query = (
        select(table.model_version_id, table.template_sha, table.generation, ModelVersionRow.name)
        .outerjoin(ModelVersionRow, ModelVersionRow.id == table.model_version_id)
        .where(table.id == message_id)
    )
    row = connection.execute(query).one()
    told = {name: row.generation[name] for name in ("sampling", "seed", "author") if name in row.generation}
    return {
        "model": row.name or "",
        "model_version_id": row.model_version_id,
        "template_sha": row.template_sha,
        **told,
    }


def read_history(connection: Connection, message_id: str) -> list[Opinion]:
    """Feedback and reviews of a message, oldest first."""
    return _read_opinions(connection, FeedbackRow.message_id == message_id, ReviewRow.message_id == message_id)


def read_histories(connection: Connection, conversation_id: str) -> dict[str, list[Opinion]]:
    """`read_history` of all messages of a conversation of which something was said, by their ids."""
    said = select(MessageRow.id).where(MessageRow.conversation_id == conversation_id)
    opinions = _read_opinions(connection, FeedbackRow.message_id.in_(said), ReviewRow.message_id.in_(said))
    found: dict[str, list[Opinion]] = {}
    for opinion in opinions:
        found.setdefault(opinion.message_id, []).append(opinion)
    return found


def _read_opinions(connection: Connection, said: Any, decided: Any) -> list[Opinion]:
    """Feedback and reviews that meet a condition each, oldest first."""
    opinions = [
        Opinion(
            id=row.id,
            message_id=row.message_id,
            author=row.author,
            created=row.created_at,
            written_by=row.written_by,
            rating=row.rating,
            tags=None if row.tags is None else tuple(row.tags),
            comment=row.comment,
            preferred_over=row.preferred_over_id,
        )
        for row in connection.execute(select(FeedbackRow.__table__).where(said))
    ]
    opinions += [
        Opinion(
            id=row.id,
            message_id=row.message_id,
            author=row.author,
            created=row.created_at,
            written_by=row.written_by,
            decision=row.decision,
            note=row.note,
        )
        for row in connection.execute(select(ReviewRow.__table__).where(decided))
    ]
    return sorted(opinions, key=lambda opinion: (opinion.created, opinion.id))


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
