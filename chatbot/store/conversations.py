"""Conversations: the sidebar's list, their marks, drafts."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, insert, select, update

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.records import Conversation
from chatbot.store.sessions import Database
from chatbot.store.tables import ID_LENGTH, ConversationRow, DraftRow

_AMBIGUOUS_SHOWN = 3


class Conversations:
    """Reads and changes conversations; hands out records."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers

    def list(
        self, *, text: str = "", archived: bool = False, deleted: bool = False, limit: int = 200, offset: int = 0
    ) -> list[Conversation]:
        """Pinned ones first, then the newest; `text` must stand in the title, in any case of letters."""
        table = ConversationRow
        query = (
            select_conversations()
            .where(table.deleted.is_(deleted), table.archived.is_(archived))
            .order_by(table.pinned.desc(), table.updated_at.desc(), table.id.desc())
            .limit(limit)
            .offset(offset)
        )
        if text.strip():
            query = query.where(table.title_key.contains(fold(text.strip()), autoescape=True))
        with self._database.read() as connection:
            return [to_conversation(row) for row in connection.execute(query)]

    def get(self, conversation_id: str) -> Conversation:
        """Raises NotFound."""
        with self._database.read() as connection:
            return get_conversation(connection, conversation_id)

    def find(self, prefix: str, *, deleted: bool = False) -> Conversation:
        """The conversation whose id begins with `prefix`, as git finds a commit; `deleted` looks in the bin instead.
        Raises NotFound, InvalidInput."""
        table = ConversationRow
        with self._database.read() as connection:
            query = select(table.id).where(table.deleted.is_(deleted))
            return get_conversation(connection, find_by_prefix(connection, query, table.id, prefix, "conversation"))

    def latest(self) -> Conversation | None:
        """The one that changed last, archived or not."""
        table = ConversationRow
        query = (
            select_conversations()
            .where(table.deleted.is_(False))
            .order_by(table.updated_at.desc(), table.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else to_conversation(row)

    def add(
        self,
        connection: Connection,
        *,
        title: str,
        persona: str,
        system_prompt: str,
        sampling: Mapping[str, Any],
    ) -> str:
        """Makes an empty conversation within a transaction of the caller's; returns its id."""
        now = datetime.now(UTC)
        identifier = self._identifiers.next()
        connection.execute(
            insert(ConversationRow).values(
                id=identifier,
                title=title,
                title_key=fold(title),
                persona=persona,
                system_prompt=system_prompt,
                sampling=dict(sampling),
                tip_id=None,
                pinned=False,
                archived=False,
                deleted=False,
                created_at=now,
                updated_at=now,
            )
        )
        return identifier

    def change(self, conversation_id: str, **values: Any) -> Conversation:
        """Sets columns: pinned, archived, deleted, title, or persona with its prompt and sampling. Raises NotFound."""
        if "title" in values:
            values["title_key"] = fold(values["title"])
        with self._database.write() as connection:
            change_conversation(connection, conversation_id, **values)
            return get_conversation(connection, conversation_id)

    def system(self, conversation_id: str) -> tuple[str, dict[str, Any]]:
        """The system prompt and the sampling that every turn of it begins with. Raises NotFound."""
        table = ConversationRow
        query = select(table.system_prompt, table.sampling).where(table.id == conversation_id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise _not_found(conversation_id)
        return row.system_prompt, row.sampling

    def draft(self, conversation_id: str | None) -> str:
        """What stands unsent at its prompt; None asks for the conversation that has not begun."""
        query = select(DraftRow.content).where(DraftRow.conversation_key == (conversation_id or ""))
        with self._database.read() as connection:
            return connection.scalar(query) or ""

    def save_draft(self, conversation_id: str | None, content: str) -> None:
        key = conversation_id or ""
        with self._database.write() as connection:
            connection.execute(delete(DraftRow).where(DraftRow.conversation_key == key))
            if content:
                values = {"conversation_key": key, "content": content, "updated_at": datetime.now(UTC)}
                connection.execute(insert(DraftRow).values(values))


def fold(title: str) -> str:
    """The form in which titles are compared: without the differences of case and of width."""
    whole = title.encode("utf-8", "replace").decode()  # a half surrogate pair could not be looked for
    return unicodedata.normalize("NFKC", whole).casefold()


def find_by_prefix(connection: Connection, query: Select[Any], column: Any, prefix: str, kind: str) -> str:
    """The one identifier among those of `query` that begins with `prefix`, a `kind` of thing. Raises NotFound,
    InvalidInput if there are several."""
    start = prefix.strip().lower()
    if not start:
        raise InvalidInput(f"The {kind}'s id is empty.")
    within = column.startswith(start, autoescape=True)
    if connection.dialect.name == "sqlite":  # whose LIKE knows no case and so would read every row
        within = and_(column >= start, column < start + "~")
    found: list[str] = []
    if start.isascii():
        found += connection.scalars(query.where(within).limit(_AMBIGUOUS_SHOWN + 1))
    if not found:
        raise _not_found(prefix, kind)
    if len(found) > 1:
        names = ", ".join(found[:_AMBIGUOUS_SHOWN])
        more = ", …" if len(found) > _AMBIGUOUS_SHOWN else ""
        raise InvalidInput(f"{prefix!r} begins the ids of several {kind}s: {names}{more}.", hint="Give more.")
    return found[0]


def get_conversation(connection: Connection, conversation_id: str) -> Conversation:
    """Raises NotFound."""
    row = connection.execute(select_conversations().where(ConversationRow.id == conversation_id)).first()
    if row is None:
        raise _not_found(conversation_id)
    return to_conversation(row)


def change_conversation(connection: Connection, conversation_id: str, **values: Any) -> None:
    """Raises NotFound."""
    changed = connection.execute(update(ConversationRow).where(ConversationRow.id == conversation_id).values(values))
    if not changed.rowcount:
        raise _not_found(conversation_id)


def to_conversation(row: Row[Any]) -> Conversation:
    return Conversation(
        id=row.id,
        title=row.title,
        persona=row.persona,
        created=row.created_at,
        updated=row.updated_at,
        tip=row.tip_id,
        pinned=row.pinned,
        archived=row.archived,
        deleted=row.deleted,
    )


def select_conversations() -> Select[*tuple[Any, ...]]:
    table = ConversationRow
    return select(
        table.id,
        table.title,
        table.persona,
        table.created_at,
        table.updated_at,
        table.tip_id,
        table.pinned,
        table.archived,
        table.deleted,
    )


def _not_found(identifier: str, kind: str = "conversation") -> NotFound:
    hint = "`chatbot logs list` shows the conversations, `chatbot logs show ID` the messages of one."
    return NotFound(f"There is no {kind} {identifier[:ID_LENGTH]!r}.", hint=hint)
