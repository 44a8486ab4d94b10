"""The tables of what was said: conversations, their trees of messages, drafts.

A conversation is a tree: each message names its parent, so a regenerated reply or an edited prompt is a sibling and
nothing is ever overwritten. Rows are append-only save for pointers and marks: the tip (which branch is on screen),
`hidden`, and a reply's own text while it grows. What people and classifiers say of messages stands in
`judgement_tables`, what is made from them (datasets, runs, adapters) in `learning_tables`, how they are found in
`search_tables`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID_LENGTH = 36


class UTCDateTime(TypeDecorator[datetime]):
    """A moment, kept in UTC and handed out with its time zone. SQLite has no type for it and would drop the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Row(DeclarativeBase):
    """The base of every table. Constraints have names, because a migration can only change what has one."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        datetime: UTCDateTime(),
        dict[str, Any]: JSON(),
        list[str]: JSON(none_as_null=True),
    }


def one_of(column: str, *values: str) -> CheckConstraint:
    """A check that `column` is one of `values`; text with a check can be migrated, an enum type cannot everywhere."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def identifier() -> Mapped[str]:
    return mapped_column(String(ID_LENGTH), primary_key=True)


def link(target: str, ondelete: str | None = None, *, primary_key: bool = False) -> Mapped[Any]:
    """A foreign key with an index, since both directions are walked."""
    key = ForeignKey(target, ondelete=ondelete)
    return mapped_column(String(ID_LENGTH), key, primary_key=primary_key, index=not primary_key)


class ConversationRow(Row):
    __tablename__ = "conversation"
    __table_args__ = (
        # The sidebar's list, read backwards: pinned first, then newest.
        Index("ix_conversation_list", "deleted", "archived", "pinned", "updated_at", "id"),
        # The log's list, and the newest of all: archived and pinned ones in their places by age.
        Index("ix_conversation_newest", "deleted", "updated_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    title: Mapped[str]
    title_key: Mapped[str]
    """The title case-folded by Python: SQLite's own LIKE and lower() know only ASCII letters."""
    persona: Mapped[str]
    system_prompt: Mapped[str]
    """A copy: editing the persona's file changes no conversation that has begun."""
    sampling: Mapped[dict[str, Any]]
    tip_id: Mapped[str | None] = mapped_column(
        String(ID_LENGTH),
        # Conversations and messages point at each other, so one of the two constraints is made last.
        ForeignKey("message.id", ondelete="SET NULL", use_alter=True, name="fk_conversation_tip_id"),
        index=True,
    )
    pinned: Mapped[bool]
    archived: Mapped[bool]
    deleted: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class MessageRow(Row):
    __tablename__ = "message"
    __table_args__ = (
        one_of("role", "system", "user", "assistant"),
        one_of("status", "streaming", "complete", "stopped", "failed", "interrupted"),
        CheckConstraint("parent_id <> id", name="own_parent"),
        # The children of a message, and the siblings of one, without touching their texts.
        Index("ix_message_children", "conversation_id", "parent_id", "id", "hidden"),
        Index("ix_message_prompts", "role", "id"),
        # SQLite asks who names a row before it deletes it: without this it would read the whole table each time, and
        # without the one on the tip all conversations.
        Index("ix_message_parent", "parent_id"),
        # Whether a conversation holds a reply of a model, without reading its messages.
        Index("ix_message_model", "model_version_id", "conversation_id"),
        # Replies that did not end well are few; without this each would be looked for among all.
        Index("ix_message_unfinished", "status", "conversation_id", sqlite_where=text("status <> 'complete'")),
        # Looked at each start, to find replies whose process died; nearly always empty. (On PostgreSQL it is a whole
        # index: naming that dialect here would make every start import it.)
        Index("ix_message_streaming", "writer", sqlite_where=text("status = 'streaming'")),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("conversation.id", ondelete="CASCADE"))
    parent_id: Mapped[str | None] = mapped_column(String(ID_LENGTH), ForeignKey("message.id"))
    hidden: Mapped[bool]
    """Taken off the screen and out of the model's sight; its children stay in their places."""
    role: Mapped[str]
    status: Mapped[str]
    finish_reason: Mapped[str]
    writer: Mapped[str]
    """While it streams: which process writes it (see `presence`); else empty."""
    model_version_id: Mapped[str | None] = mapped_column(String(ID_LENGTH), ForeignKey("model_version.id"))
    template_sha: Mapped[str]
    created_at: Mapped[datetime]
    generation: Mapped[dict[str, Any]]
    # Last, because a long text spills onto pages of its own and what stands behind it is read only through them.
    content: Mapped[str]


class ImportedRecordRow(Row):
    """Which record of which file a conversation was made from, so that reading the file again adds nothing."""

    __tablename__ = "imported_record"

    key: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = link("conversation.id", "CASCADE")
    source: Mapped[str]
    """The file's name, without its folders."""
    created_at: Mapped[datetime]


class DraftRow(Row):
    """What stands unsent at a prompt."""

    __tablename__ = "draft"

    conversation_key: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    """The conversation's id; empty for the conversation that has not begun."""
    content: Mapped[str]
    updated_at: Mapped[datetime]
