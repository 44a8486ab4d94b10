"""The log: conversations by filter with what was judged in them, and a conversation's whole tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select

from chatbot.store.conversations import select_conversations, to_conversation
from chatbot.store.filters import LogFilter, limit_conversations
from chatbot.store.judgement_tables import ReplyStateRow
from chatbot.store.learning_tables import ModelVersionRow
from chatbot.store.messages import get_message, read_tree, walk_up
from chatbot.store.records import Conversation, Message
from chatbot.store.search import Search
from chatbot.store.sessions import Database
from chatbot.store.tables import ConversationRow, MessageRow

_PAGE = 500


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A conversation in the log."""

    conversation: Conversation
    messages: int
    """All that are not hidden, on every branch."""
    up: int
    down: int
    waiting: int
    approved: int
    rejected: int
    models: tuple[str, ...]


class Logs:
    """Reads the log."""

    def __init__(self, database: Database, search: Search) -> None:
        self._database = database
        self._search = search

    def count(self, asked: LogFilter | None = None) -> int:
        """How many conversations the filter means."""
        asked = asked or LogFilter()
        if asked.text:
            return len(self._search.find_conversations(asked.text, asked, limit=1 << 60))
        query = limit_conversations(select(func.count()).select_from(ConversationRow), asked)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def each_id(self, asked: LogFilter) -> Iterator[str]:
        """The ids of all conversations of the filter, oldest first."""
        if asked.text:
            yield from self._search.find_conversations(asked.text, asked, limit=1 << 60)[::-1]
            return
        table = ConversationRow
        last = ""
        while True:
            query = limit_conversations(select(table.id), asked).where(table.id > last).order_by(table.id).limit(_PAGE)
            with self._database.read() as connection:
                page = list(connection.scalars(query))
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1]

    def tree(self, conversation_id: str, *, hidden: bool = False) -> list[Message]:
        """All messages of a conversation in the order in which they came; with `hidden`, the hidden ones too."""
        with self._database.read() as connection:
            return read_tree(connection, conversation_id, hidden=hidden)

    def path(self, message_id: str) -> list[Message]:
        """The branch from its beginning to `message_id`, hidden messages left out. Raises NotFound."""
        with self._database.read() as connection:
            get_message(connection, message_id)
            return list(walk_up(connection, message_id, 1 << 30))[::-1]

    def list(self, asked: LogFilter | None = None, *, limit: int = 20, offset: int = 0) -> list[LogEntry]:
        """The newest first; with a text, by the newest message that holds it."""
        asked = asked or LogFilter()
        if asked.text:
            ids = self._search.find_conversations(asked.text, asked, limit=limit, offset=offset)
            with self._database.read() as connection:
                query = select_conversations().where(ConversationRow.id.in_(ids))
                found = {row.id: to_conversation(row) for row in connection.execute(query)}
                return _count(connection, [found[identifier] for identifier in ids if identifier in found])
        table = ConversationRow
        query = limit_conversations(select_conversations(), asked)
        query = query.order_by(table.updated_at.desc(), table.id.desc()).limit(limit).offset(offset)
        with self._database.read() as connection:
            return _count(connection, [to_conversation(row) for row in connection.execute(query)])


def _count(connection: Connection, conversations: Sequence[Conversation]) -> list[LogEntry]:
    ids = [conversation.id for conversation in conversations]
    message, state = MessageRow, ReplyStateRow
    sizes = _group(
        connection,
        select(message.conversation_id, func.count())
        .where(message.conversation_id.in_(ids), message.hidden.is_(False))
        .group_by(message.conversation_id),
    )
    models: dict[str, list[str]] = {}
    query = (
        select(message.conversation_id, ModelVersionRow.name)
        .join(ModelVersionRow, ModelVersionRow.id == message.model_version_id)
        .where(message.conversation_id.in_(ids))
        .distinct()
    )
    for conversation_id, name in connection.execute(query):
        models.setdefault(conversation_id, []).append(name)

    def total(condition: Any) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    judged = _group(
        connection,
        select(
            state.conversation_id,
            total(state.rating > 0),
            total(state.rating < 0),
            total(state.waiting.is_(True) & (state.concern > 0)),
            total(state.decision == "approve"),
            total(state.decision == "reject"),
        )
        .join(message, message.id == state.message_id)
        .where(state.conversation_id.in_(ids), message.hidden.is_(False))
        .group_by(state.conversation_id),
    )
    entries = []
    for one in conversations:
        (size,) = sizes.get(one.id, (0,))
        up, down, waiting, approved, rejected = judged.get(one.id, (0,) * 5)
        names = tuple(sorted(models.get(one.id, [])))
        entries.append(LogEntry(one, size, up, down, waiting, approved, rejected, names))
    return entries


def _group(connection: Connection, query: Any) -> dict[str, tuple[int, ...]]:
    return {row[0]: tuple(int(value) for value in row[1:]) for row in connection.execute(query)}
