"""Reading the tree of messages: a branch from its leaf upwards, as much of it as is asked for.

A branch is walked with a recursive query from the leaf to the root. SQLite runs such a query row by row, so its LIMIT
ends the walk: the last screenful of a conversation costs the same whether ten messages stand above it or a million.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, func, literal, select
from sqlalchemy.orm import aliased

from chatbot.errors import NotFound
from chatbot.store.conversations import find_by_prefix, get_conversation
from chatbot.store.judgement_tables import ReplyStateRow
from chatbot.store.learning_tables import ModelVersionRow
from chatbot.store.records import Message
from chatbot.store.sessions import Database
from chatbot.store.tables import ID_LENGTH, ConversationRow, MessageRow

_PAGE = 64
_HISTORY_CHARACTERS = 20_000  # a prompt longer than this was pasted, and nobody looks for it with the up key

_COLUMNS = (
    "id",
    "conversation_id",
    "parent_id",
    "hidden",
    "role",
    "status",
    "finish_reason",
    "model_version_id",
    "created_at",
    "generation",
    "content",
)


class Messages:
    """Reads messages; hands out records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, message_id: str) -> Message:
        """Raises NotFound."""
        with self._database.read() as connection:
            return get_message(connection, message_id)

    def find(self, prefix: str, *, outside: str = "") -> Message:
        """The message whose id begins with `prefix`; those of the conversation `outside` are passed over. Raises
        NotFound, InvalidInput if several begin so."""
        table = MessageRow
        with self._database.read() as connection:
            query = select(table.id).where(table.conversation_id != outside)
            found = find_by_prefix(connection, query, table.id, prefix, "message")
            return get_message(connection, found)

    def transcript(self, conversation_id: str, *, before: str | None = None, limit: int = 40) -> list[Message]:
        """The last `limit` messages of the branch on screen that stand above `before`, oldest first."""
        with self._database.read() as connection:
            if before is None:
                start = get_conversation(connection, conversation_id).tip
            else:
                start = get_message(connection, before).parent_id
            found = list(walk_up(connection, start, limit))
            return number_siblings(connection, conversation_id, found[::-1])

    def ancestors(self, message_id: str) -> Iterator[Message]:
        """`message_id` and what stands above it, newest first, hidden ones left out; read in pages as it is used.
        `sibling` is not filled in."""
        start: str | None = message_id
        while start is not None:
            with self._database.read() as connection:
                page = list(walk_up(connection, start, _PAGE))
            yield from page
            start = page[-1].parent_id if len(page) == _PAGE else None

    def count_branch(self, message_id: str) -> int:
        """How many visible messages `message_id` and those above it are."""
        table = MessageRow
        branch = select(table.parent_id, table.hidden).where(table.id == message_id).cte("branch", recursive=True)
        above = aliased(table)
        branch = branch.union_all(select(above.parent_id, above.hidden).where(above.id == branch.c.parent_id))
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).where(branch.c.hidden.is_(False))) or 0

    def last_unfinished(self, conversation_id: str) -> Message | None:
        """The reply at the end of the branch on screen if the process that wrote it died."""
        found = self.transcript(conversation_id, limit=1)
        return found[0] if found and found[0].status == "interrupted" else None

    def prompts(self, limit: int) -> list[str]:
        """What the user said last in any conversation that is not deleted, newest first, each text once."""
        query = (
            select(MessageRow.content)
            .join(ConversationRow, ConversationRow.id == MessageRow.conversation_id)
            .where(
                MessageRow.role == "user",
                MessageRow.hidden.is_(False),
                func.length(MessageRow.content) <= _HISTORY_CHARACTERS,
                ConversationRow.deleted.is_(False),
            )
            .order_by(MessageRow.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return list(dict.fromkeys(connection.scalars(query)))


def get_message(connection: Connection, message_id: str) -> Message:
    """A message with its place among its siblings. Raises NotFound."""
    table = MessageRow.__table__.c
    query = _select(table).where(table.id == message_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"There is no message {message_id[:ID_LENGTH]!r}.")
    return number_siblings(connection, row.conversation_id, [to_message(row)])[0]


def read_tree(connection: Connection, conversation_id: str, *, hidden: bool = False) -> list[Message]:
    """The messages of a conversation, on every branch, in the order in which they came."""
    table = MessageRow.__table__.c
    query = _select(table).where(table.conversation_id == conversation_id).order_by(table.id)
    if not hidden:
        query = query.where(table.hidden.is_(False))
    found = [to_message(row) for row in connection.execute(query)]
    return number_siblings(connection, conversation_id, found)


def walk_up(connection: Connection, start: str | None, limit: int) -> Iterator[Message]:
    """`start` and the messages above it, newest first, hidden ones passed over."""
    if start is None:
        return
    table = MessageRow
    columns = [getattr(table, name) for name in _COLUMNS]
    branch = select(*columns, literal(0).label("depth")).where(table.id == start).cte("branch", recursive=True)
    above = aliased(table)
    columns = [getattr(above, name) for name in _COLUMNS]
    branch = branch.union_all(
        select(*columns, (branch.c.depth + 1).label("depth")).where(above.id == branch.c.parent_id)
    )
    query = _select(branch.c, branch.c.depth).where(branch.c.hidden.is_(False)).limit(limit)
    # An ORDER BY would make SQLite walk to the root before the first row; a page is sorted here.
    for row in sorted(connection.execute(query), key=lambda row: row.depth):
        yield to_message(row)


def is_on_branch(connection: Connection, message_id: str, tip: str | None) -> bool:
    """Whether `message_id` is `tip` or stands above it."""
    table = MessageRow
    branch = select(table.id, table.parent_id).where(table.id == tip).cte("branch", recursive=True)
    above = aliased(table)
    branch = branch.union_all(select(above.id, above.parent_id).where(above.id == branch.c.parent_id))
    return connection.scalar(select(branch.c.id).where(branch.c.id == message_id).limit(1)) is not None


def newest_below(connection: Connection, conversation_id: str, message_id: str) -> str | None:
    """The newest leaf of what can be seen among `message_id` and all below it. None if all of them are hidden.

    Leaves first, then age: a clock that was set back makes a child with a smaller identifier than its parent's.
    """
    table = MessageRow
    columns = (table.id, table.parent_id, table.hidden)
    below = select(*columns).where(table.id == message_id).cte("below", recursive=True)
    child = aliased(table)
    below = below.union_all(
        select(child.id, child.parent_id, child.hidden).where(
            child.conversation_id == conversation_id, child.parent_id == below.c.id
        )
    )
    rows = connection.execute(select(below)).all()
    parents = {row.id: row.parent_id for row in rows}
    visible = {row.id for row in rows if not row.hidden}
    above: set[str] = set()
    for leaf in visible:
        parent = parents[leaf]
        while parent in parents and parent not in above:
            above.add(parent)
            parent = parents[parent]
    return max(visible - above, default=None)


def list_siblings(connection: Connection, conversation_id: str, parent_id: str | None) -> list[str]:
    """The visible children of a message (None: the roots of the conversation), oldest first."""
    return list_children(connection, conversation_id, [parent_id])[parent_id]


def list_children(
    connection: Connection, conversation_id: str, parents: Iterable[str | None]
) -> dict[str | None, list[str]]:
    """The visible children of each of `parents`, oldest first, read from the index alone."""
    children: dict[str | None, list[str]] = defaultdict(list)
    wanted = set(parents)
    table = MessageRow
    query = select(table.id, table.parent_id).where(table.conversation_id == conversation_id, table.hidden.is_(False))
    query = query.order_by(table.id)
    named = [parent for parent in wanted if parent is not None]
    parts = [query.where(table.parent_id.in_(named))] if named else []
    if None in wanted:
        parts.append(query.where(table.parent_id.is_(None)))
    for part in parts:
        for row in connection.execute(part):
            children[row.parent_id].append(row.id)
    return children


def number_siblings(connection: Connection, conversation_id: str, messages: list[Message]) -> list[Message]:
    """The same messages, each with its place among the alternatives at its place."""
    children = list_children(connection, conversation_id, {message.parent_id for message in messages})
    numbered = []
    for message in messages:
        siblings = children[message.parent_id]
        if message.id in siblings:
            message = replace(message, sibling=siblings.index(message.id) + 1, siblings=len(siblings))  # noqa: PLW2901
        numbered.append(message)
    return numbered


def to_message(row: Row[Any]) -> Message:
    return Message(
        id=row.id,
        conversation_id=row.conversation_id,
        parent_id=row.parent_id,
        role=row.role,
        content=row.content,
        status=row.status,
        created=row.created_at,
        finish_reason=row.finish_reason,
        model=row.model or "",
        generation=row.generation,
        rating=row.rating or 0,
        decision=row.decision or "",
    )


def _select(columns: Any, *more: Any) -> Select[Any]:
    """A query of what `to_message` needs from the message table or from a walk over it."""
    named = [columns[name] for name in _COLUMNS]
    source = named[0].table
    state = ReplyStateRow
    join = source.outerjoin(ModelVersionRow, ModelVersionRow.id == columns["model_version_id"])
    join = join.outerjoin(state, state.message_id == columns["id"])
    return select(*named, *more, ModelVersionRow.name.label("model"), state.rating, state.decision).select_from(join)
