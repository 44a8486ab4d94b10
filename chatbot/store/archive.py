"""Whole conversations out of the database and into it.

Adding goes by batches, each one transaction: what was added before a cancel or a failure stays, and reading the same
file again adds only the rest, because every conversation is known by the key of its record. One of our own exports
keeps its identifiers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from chatbot.store.archive_batch import ArchiveBatch, Grown, find_grown, find_known, list_ids
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview
from chatbot.store.conversations import get_conversation
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import ModelVersionRow
from chatbot.store.model_versions import ModelVersions
from chatbot.store.opinions import Opinion, read_histories
from chatbot.store.sessions import Database
from chatbot.store.tables import ConversationRow, ImportedRecordRow, MessageRow

IMPORTED = "import"
"""The path of a model version that is known by name only."""


@dataclass(frozen=True, slots=True)
class Added:
    """What a batch brought: `known` were there already, of which `grown` have more messages now than were taken."""

    conversations: int
    messages: int
    known: int
    grown: tuple[Grown, ...] = ()


class Archive:
    """Reads and adds whole conversations."""

    def __init__(self, database: Database, identifiers: IdentifierSource, versions: ModelVersions) -> None:
        self._database = database
        self._identifiers = identifiers
        self._versions = versions

    def read(self, conversation_id: str) -> ArchivedConversation:
        """A conversation with all that belongs to it, the messages' keys being identifiers. Its own key is that of the
        record it was imported as, so that the record is known wherever this is added. Raises NotFound."""
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
        with self._database.write() as connection:
            new, grown = _sort_out(connection, conversations, set())
            batch = ArchiveBatch(self._identifiers, source, versions)
            for one in new:
                batch.take(one)
            batch.write(connection)
        return Added(len(new), len(batch.messages), len(conversations) - len(new), grown)

    def rehearse(self, conversations: Sequence[ArchivedConversation], seen: set[str]) -> Added:
        """What `add` would do. `seen` are the names of earlier rehearsals, to which those of this one are added."""
        with self._database.read() as connection:
            new, grown = _sort_out(connection, conversations, seen)
        return Added(len(new), sum(len(one.messages) for one in new), len(conversations) - len(new), grown)


def _sort_out(
    connection: Connection, conversations: Sequence[ArchivedConversation], seen: set[str]
) -> tuple[list[ArchivedConversation], tuple[Grown, ...]]:
    """Those that are neither in the database nor among the names of `seen`, which grows; and those that have grown."""
    known = find_known(connection, conversations)
    new = []
    old = []
    for one in conversations:
        names = {one.key, *list_ids(one)}
        if known.isdisjoint(names) and seen.isdisjoint(names):
            seen |= names
            new.append(one)
        else:
            old.append(one)
    return new, tuple(find_grown(connection, old)) if old else ()


def _read(connection: Connection, conversation_id: str) -> ArchivedConversation:
    table = ConversationRow
    conversation = get_conversation(connection, conversation_id)
    more = connection.execute(select(table.system_prompt, table.sampling).where(table.id == conversation_id)).one()
    row = MessageRow
    query = (
        select(row.__table__, ModelVersionRow.name.label("model"))
        .outerjoin(ModelVersionRow, ModelVersionRow.id == row.model_version_id)
        .where(row.conversation_id == conversation_id)
        .order_by(row.id)
    )
    record = ImportedRecordRow
    imported = select(record.key).where(record.conversation_id == conversation_id).order_by(record.key).limit(1)
    opinions = read_histories(connection, conversation_id)
    messages = [_archive_message(found, opinions.get(found.id, [])) for found in connection.execute(query)]
    return ArchivedConversation(
        key=connection.scalar(imported) or conversation_id,
        messages=tuple(_sort_parents_first(messages)),
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


def _archive_message(row: Any, opinions: Sequence[Opinion]) -> ArchivedMessage:
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


def _sort_parents_first(messages: Sequence[ArchivedMessage]) -> Iterator[ArchivedMessage]:
    """Identifiers rise with time but for a clock that was set back, so nearly always nothing moves."""
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
