"""The rows of conversations that are added, gathered by table and written together.

A statement for each row would take nine tenths of the time of an import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from chatbot.store import reply_states, search_index
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview
from chatbot.store.conversations import fold
from chatbot.store.identifiers import IdentifierSource, is_identifier
from chatbot.store.judgement_tables import FeedbackRow, ReplyStateRow, ReviewRow
from chatbot.store.tables import ConversationRow, ImportedRecordRow, MessageRow

_STEP = 500  # how many identifiers one query names


@dataclass(frozen=True, slots=True)
class Grown:
    """A conversation of the database of which a file now holds more messages."""

    conversation_id: str
    key: str
    title: str
    here: int
    brought: int


class ArchiveBatch:
    """`take` each conversation, then `write` all of them within a transaction of the caller's."""

    def __init__(self, identifiers: IdentifierSource, source: str, versions: Mapping[str, str]) -> None:
        self._identifiers = identifiers
        self._source = source
        self._versions = versions
        self._now = datetime.now(UTC)
        self._given: set[str] = set()
        self.conversations: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self._tips: list[dict[str, str]] = []
        self._feedback: list[dict[str, Any]] = []
        self._reviews: list[dict[str, Any]] = []
        self._states: list[dict[str, Any]] = []
        self._judged: list[str] = []
        self._records: list[dict[str, Any]] = []

    def take(self, one: ArchivedConversation) -> None:
        times = [message.created for message in one.messages if message.created]
        created = one.created or min(times, default=None)
        conversation_id = self._identify(one.id, created)
        ids = {message.key: self._identify(message.id, message.created) for message in one.messages}
        self.conversations.append(
            {
                "id": conversation_id,
                "title": one.title or "…",
                "title_key": fold(one.title or "…"),
                "persona": one.persona,
                "system_prompt": one.system_prompt,
                "sampling": dict(one.sampling),
                "tip_id": None,
                "pinned": one.pinned,
                "archived": one.archived,
                "deleted": False,
                "created_at": created or self._now,
                "updated_at": one.updated or max(times, default=created or self._now),
            }
        )
        for message in one.messages:
            self._take_message(message, conversation_id, ids)
        tip = ids[one.tip if one.tip is not None else one.messages[-1].key]
        self._tips.append({"conversation": conversation_id, "tip": tip})
        record = {"key": one.key, "conversation_id": conversation_id, "source": self._source, "created_at": self._now}
        self._records.append(record)

    def _take_message(self, message: ArchivedMessage, conversation_id: str, ids: Mapping[str, str]) -> None:
        # Nobody writes it any more.
        status = "interrupted" if message.status == "streaming" else message.status
        self.messages.append(
            {
                "id": ids[message.key],
                "conversation_id": conversation_id,
                "parent_id": None if message.parent is None else ids[message.parent],
                "hidden": message.hidden,
                "role": message.role,
                "status": status,
                "finish_reason": message.finish_reason,
                "writer": "",
                "model_version_id": self._versions.get(message.model),
                "template_sha": message.template_sha,
                "created_at": message.created or self._now,
                "generation": dict(message.generation),
                "content": message.content,
            }
        )
        judgement = {"message_id": ids[message.key]}
        for said in message.feedback:
            over = ids[said.preferred_over] if said.preferred_over is not None else None
            tags = None if said.tags is None else list(said.tags)
            words = {"rating": said.rating, "tags": tags, "comment": said.comment, "preferred_over_id": over}
            self._feedback.append(judgement | words | self._sign(said, message))
        for review in message.reviews:
            words = {"decision": review.decision, "note": review.note}
            self._reviews.append(judgement | words | self._sign(review, message))
        if message.role == "assistant":
            # The state of a reply that nobody judged is known without asking.
            self._states.append(reply_states.make_state(self.messages[-1]))
            if message.feedback or message.reviews:
                self._judged.append(ids[message.key])

    def _identify(self, given: str, moment: datetime | None) -> str:
        """The identifier that an export of ours gives; a new one if it gives none, or one twice."""
        if given in self._given or not is_identifier(given):
            return self._identifiers.next(moment)
        self._given.add(given)
        return given

    def _sign(self, judgement: ArchivedFeedback | ArchivedReview, message: ArchivedMessage) -> dict[str, Any]:
        return {
            "id": self._identify(judgement.id, judgement.created),
            "author": judgement.author,
            "written_by": dict(judgement.written_by) or {"model": message.model},
            "created_at": judgement.created or self._now,
        }

    def write(self, connection: Connection) -> None:
        conversation: Any = ConversationRow.__table__
        rows: list[tuple[Any, list[dict[str, Any]]]] = [
            (conversation, self.conversations),
            (MessageRow.__table__, self.messages),
            (FeedbackRow.__table__, self._feedback),
            (ReviewRow.__table__, self._reviews),
            (ReplyStateRow.__table__, self._states),
            (ImportedRecordRow.__table__, self._records),
        ]
        for table, values in rows:
            if values:
                connection.execute(table.insert(), values)
        if self._tips:
            tips = conversation.update().where(conversation.c.id == bindparam("conversation"))
            connection.execute(tips.values(tip_id=bindparam("tip")), self._tips)
        search_index.add_many(connection, ((row["id"], row["content"]) for row in self.messages))
        for message_id in self._judged:
            reply_states.refresh(connection, message_id)


def find_known(connection: Connection, conversations: Sequence[ArchivedConversation]) -> set[str]:
    """The keys of those whose record is in the database, and of the identifiers that our own exports bring those that
    are in it."""
    record = ImportedRecordRow
    keys = [one.key for one in conversations]
    known = set(connection.scalars(select(record.key).where(record.key.in_(keys))))
    ids = [identifier for one in conversations for identifier in list_ids(one)]
    for table in (ConversationRow, MessageRow, FeedbackRow, ReviewRow):
        for start in range(0, len(ids), _STEP):
            known.update(connection.scalars(select(table.id).where(table.id.in_(ids[start : start + _STEP]))))
    return known


def find_grown(connection: Connection, conversations: Sequence[ArchivedConversation]) -> list[Grown]:
    """Those that are in the database, by their record or identifier, with fewer messages than they bring."""
    record, message = ImportedRecordRow, MessageRow
    query = select(record.key, record.conversation_id).where(record.key.in_([one.key for one in conversations]))
    homes = {row.key: row.conversation_id for row in connection.execute(query)}
    homes = {one.key: homes.get(one.key, one.id) for one in conversations}
    counted = (
        select(ConversationRow.id, func.count(message.id).label("messages"))
        .outerjoin(message, message.conversation_id == ConversationRow.id)
        .where(ConversationRow.id.in_(set(homes.values())))
        .group_by(ConversationRow.id)
    )
    counts = {row.id: row.messages for row in connection.execute(counted)}
    return [
        Grown(homes[one.key], one.key, one.title, counts[homes[one.key]], len(one.messages))
        for one in conversations
        if len(one.messages) > counts.get(homes[one.key], len(one.messages))
    ]


def list_ids(one: ArchivedConversation) -> list[str]:
    """The identifiers that a conversation keeps: its own, its messages' and its judgements'."""
    ids = [one.id]
    for message in one.messages:
        ids += (message.id, *(said.id for said in message.feedback), *(review.id for review in message.reviews))
    return [identifier for identifier in ids if is_identifier(identifier)]
