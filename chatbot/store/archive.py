"""Whole conversations out of the database and into it.

Adding goes by batches, each one transaction: what was added before a cancel or a failure stays, and reading the same
file again adds only the rest, because every conversation is known by the key of its record. One of our own exports
keeps its identifiers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from chatbot.store import reply_states, search_index
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview
from chatbot.store.conversations import fold, get_conversation
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.judgement_tables import FeedbackRow, ReplyStateRow, ReviewRow
from chatbot.store.judgements import read_history
from chatbot.store.model_versions import ModelVersions
from chatbot.store.reply_states import Concern
from chatbot.store.sessions import Database
from chatbot.store.tables import ConversationRow, ImportedRecordRow, MessageRow

IMPORTED = "import"
"""The path of a model version that is known by name only."""


@dataclass(frozen=True, slots=True)
class Added:
    """What a batch brought: `known` were there already."""

    conversations: int
    messages: int
    known: int


class Archive:
    """Reads and adds whole conversations."""

    def __init__(self, database: Database, identifiers: IdentifierSource, versions: ModelVersions) -> None:
        self._database = database
        self._identifiers = identifiers
        self._versions = versions

    def read(self, conversation_id: str) -> ArchivedConversation:
        """A conversation with all that belongs to it, keys being identifiers. Raises NotFound."""
        with self._database.read() as connection:
            return _read(connection, conversation_id)

    def add(self, conversations: Sequence[ArchivedConversation], *, source: str) -> Added:
        """Adds those whose record is new. `source` is what they came from, such as a file's name."""
        names = {message.model for one in conversations for message in one.messages if message.model}
        # Before the transaction: each may need one of its own.
        versions = {
            name: self._versions.find_or_add_base(name, sha256="", template_sha="", path=IMPORTED)
            for name in sorted(names)
        }
        added = messages = 0
        with self._database.write() as connection:
            keys = _find_known(connection, conversations)
            for one in conversations:
                if one.key in keys:
                    continue
                keys.add(one.key)
                self._insert(connection, one, source, versions)
                added += 1
                messages += len(one.messages)
        return Added(added, messages, len(conversations) - added)

    def _insert(
        self, connection: Connection, one: ArchivedConversation, source: str, versions: Mapping[str, str]
    ) -> None:
        now = datetime.now(UTC)
        times = [message.created for message in one.messages if message.created]
        created = one.created or min(times, default=now)
        conversation_id = one.id or self._identifiers.next(one.created or min(times, default=None))
        ids = {message.key: message.id or self._identifiers.next(message.created) for message in one.messages}
        title = one.title or "…"
        connection.execute(
            insert(ConversationRow).values(
                id=conversation_id,
                title=title,
                title_key=fold(title),
                persona=one.persona,
                system_prompt=one.system_prompt,
                sampling=dict(one.sampling),
                tip_id=None,
                pinned=one.pinned,
                archived=one.archived,
                deleted=False,
                created_at=created,
                updated_at=one.updated or max(times, default=created),
            )
        )
        rows = [_describe_message(message, conversation_id, ids, versions, now) for message in one.messages]
        connection.execute(insert(MessageRow), rows)
        for row in rows:
            search_index.add(connection, row["id"], row["content"])
        self._insert_judgements(connection, one, ids, now)
        self._insert_states(connection, one, ids, conversation_id)
        tip = ids[one.tip] if one.tip is not None else rows[-1]["id"]
        connection.execute(
            ConversationRow.__table__.update().where(ConversationRow.id == conversation_id).values(tip_id=tip)
        )
        record = {"key": one.key, "conversation_id": conversation_id, "source": source, "created_at": now}
        connection.execute(insert(ImportedRecordRow).values(record))

    def _insert_judgements(
        self, connection: Connection, one: ArchivedConversation, ids: Mapping[str, str], now: datetime
    ) -> None:
        feedback, reviews = [], []
        for message in one.messages:
            for said in message.feedback:
                over = ids[said.preferred_over] if said.preferred_over is not None else None
                feedback.append(
                    {
                        "id": said.id or self._identifiers.next(),
                        "message_id": ids[message.key],
                        "rating": said.rating,
                        "tags": None if said.tags is None else list(said.tags),
                        "comment": said.comment,
                        "preferred_over_id": over,
                        "author": said.author,
                        "written_by": dict(said.written_by) or {"model": message.model},
                        "created_at": said.created or now,
                    }
                )
            for review in message.reviews:
                reviews.append(
                    {
                        "id": review.id or self._identifiers.next(),
                        "message_id": ids[message.key],
                        "decision": review.decision,
                        "note": review.note,
                        "author": review.author,
                        "written_by": dict(review.written_by) or {"model": message.model},
                        "created_at": review.created or now,
                    }
                )
        if feedback:
            connection.execute(insert(FeedbackRow), feedback)
        if reviews:
            connection.execute(insert(ReviewRow), reviews)

    @staticmethod
    def _insert_states(
        connection: Connection, one: ArchivedConversation, ids: Mapping[str, str], conversation_id: str
    ) -> None:
        """The states of replies that nobody judged are known without asking: most of an import."""
        states = []
        for message in one.messages:
            if message.role != "assistant":
                continue
            if message.feedback or message.reviews:
                reply_states.refresh(connection, ids[message.key])
                continue
            concerns = (
                reply_states.list_concerns(0, message.status, message.finish_reason, message.generation, False)
                if message.content
                else [(Concern.NONE, 0.0)]
            )
            states.append(
                {
                    "message_id": ids[message.key],
                    "conversation_id": conversation_id,
                    "waiting": bool(message.content),
                    "concern": int(concerns[0][0]),
                    "badness": concerns[0][1],
                    "rating": 0,
                    "decision": "",
                }
            )
        if states:
            connection.execute(insert(ReplyStateRow), states)


def _find_known(connection: Connection, conversations: Sequence[ArchivedConversation]) -> set[str]:
    """The keys of those that are in the database: by their record, or, for our own exports, by their identifier or
    that of one of their messages."""
    record, conversation, message = ImportedRecordRow, ConversationRow, MessageRow
    keys = [one.key for one in conversations]
    known = set(connection.scalars(select(record.key).where(record.key.in_(keys))))
    by_id = {one.id: one.key for one in conversations if one.id}
    if by_id:
        known |= {by_id[one] for one in connection.scalars(select(conversation.id).where(conversation.id.in_(by_id)))}
        for one in conversations:
            ids = [said.id for said in one.messages if said.id]
            for start in range(0, len(ids), 500):
                step = ids[start : start + 500]
                if connection.scalar(select(message.id).where(message.id.in_(step)).limit(1)) is not None:
                    known.add(one.key)
    return known


def _describe_message(
    message: ArchivedMessage, conversation_id: str, ids: Mapping[str, str], versions: Mapping[str, str], now: datetime
) -> dict[str, Any]:
    # Nobody writes it any more.
    status = "interrupted" if message.status == "streaming" else message.status
    return {
        "id": ids[message.key],
        "conversation_id": conversation_id,
        "parent_id": None if message.parent is None else ids[message.parent],
        "hidden": message.hidden,
        "role": message.role,
        "status": status,
        "finish_reason": message.finish_reason,
        "writer": "",
        "model_version_id": versions.get(message.model),
        "template_sha": message.template_sha,
        "created_at": message.created or now,
        "generation": dict(message.generation),
        "content": message.content,
    }


def _read(connection: Connection, conversation_id: str) -> ArchivedConversation:
    from chatbot.store.learning_tables import ModelVersionRow

    table = ConversationRow
    conversation = get_conversation(connection, conversation_id)
    more = connection.execute(
        select(table.system_prompt, table.sampling).where(table.id == conversation_id)
    ).one()
    row = MessageRow
    query = (
        select(row.__table__, ModelVersionRow.name.label("model"))
        .outerjoin(ModelVersionRow, ModelVersionRow.id == row.model_version_id)
        .where(row.conversation_id == conversation_id)
        .order_by(row.id)
    )
    judged = set(
        connection.scalars(
            select(ReplyStateRow.message_id).where(ReplyStateRow.conversation_id == conversation_id)
        )
    )
    messages = [_archive_message(connection, found, found.id in judged) for found in connection.execute(query)]
    return ArchivedConversation(
        key=conversation_id,
        messages=_sort_parents_first(messages),
        title=conversation.title,
        system_prompt=more.system_prompt,
        persona=conversation.persona,
        sampling=more.sampling,
        created=conversation.created,
        updated=conversation.updated,
        tip=conversation.tip,
        pinned=conversation.pinned,
        archived=conversation.archived,
        id=conversation_id,
    )


def _archive_message(connection: Connection, row: Any, judged: bool) -> ArchivedMessage:
    opinions = read_history(connection, row.id) if judged else []
    return ArchivedMessage(
        key=row.id,
        parent=row.parent_id,
        role=row.role,
        content=row.content,
        created=row.created_at,
        status=row.status,
        finish_reason=row.finish_reason,
        model=row.model or "",
        template_sha=row.template_sha,
        hidden=row.hidden,
        generation=row.generation,
        feedback=tuple(
            ArchivedFeedback(
                rating=one.rating,
                tags=one.tags,
                comment=one.comment,
                preferred_over=one.preferred_over,
                author=one.author,
                created=one.created,
                written_by=one.written_by,
                id=one.id,
            )
            for one in opinions
            if not one.decision
        ),
        reviews=tuple(
            ArchivedReview(
                decision=one.decision,
                note=one.note,
                author=one.author,
                created=one.created,
                written_by=one.written_by,
                id=one.id,
            )
            for one in opinions
            if one.decision
        ),
        id=row.id,
    )


def _sort_parents_first(messages: Sequence[ArchivedMessage]) -> tuple[ArchivedMessage, ...]:
    """Identifiers rise with time but for a clock that was set back, so nearly always nothing moves."""
    return tuple(_walk(messages))


def _walk(messages: Sequence[ArchivedMessage]) -> Iterator[ArchivedMessage]:
    done: set[str | None] = {None}
    waiting = list(messages)
    while waiting:
        left = []
        for message in waiting:
            if message.parent in done:
                done.add(message.key)
                yield message
            else:
                left.append(message)
        if len(left) == len(waiting):  # a parent that is missing: `verify` tells; nothing is dropped here
            yield from left
            return
        waiting = left
