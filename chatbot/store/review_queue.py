"""The review queue: replies that wait for a decision, worst first.

The order is kept in an index, so the first page costs the same whether a hundred replies wait or a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from chatbot.errors import InvalidInput
from chatbot.store.filters import AnySelect, LogFilter, limit_messages, list_conditions
from chatbot.store.judgement_tables import ReplyStateRow, ReviewRow
from chatbot.store.records import Decision
from chatbot.store.reply_states import Concern
from chatbot.store.search import choose_messages
from chatbot.store.sessions import Database
from chatbot.store.tables import ConversationRow, MessageRow

_FEW = 5_000
_DECIDED = frozenset({"approved", "rejected"})


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A reply that waits; `concern` is the worst reason."""

    message_id: str
    conversation_id: str
    concern: Concern
    badness: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the review is. Replies of deleted conversations are counted with what was decided about them."""

    waiting: int
    approved: int
    rejected: int
    redacted: int


class ReviewQueue:
    """Reads the queue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, asked: LogFilter | None = None) -> int:
        """How many `list` would give in all."""
        asked = asked or LogFilter()
        with self._database.read() as connection:
            if asked in {LogFilter(), LogFilter(state="waiting")}:
                return _count_all(connection)
            chosen = choose_replies(connection, asked).subquery()
            return connection.scalar(select(func.count()).select_from(chosen)) or 0

    def count_waiting(self, asked: LogFilter) -> int:
        """How many of those that the filter means wait."""
        return 0 if asked.state in _DECIDED else self.count(asked)

    def progress(self) -> Progress:
        """What was decided so far."""
        state = ReplyStateRow
        decided = state.decision.in_(("approve", "reject", "redact"))
        query = select(state.decision, func.count()).where(decided).group_by(state.decision)
        waiting = self.count()
        with self._database.read() as connection:
            counts = {row[0]: row[1] for row in connection.execute(query)}
        return Progress(waiting, counts.get("approve", 0), counts.get("reject", 0), counts.get("redact", 0))

    def list(self, asked: LogFilter | None = None, *, limit: int = 100, offset: int = 0) -> list[QueueEntry]:
        """Replies that wait, worst first and the newest first among equals. With a filter for a decision, those that
        were so decided, the newest first."""
        asked = asked or LogFilter()
        state = ReplyStateRow
        worst = () if asked.state in _DECIDED else (state.concern.desc(), state.badness.desc())
        with self._database.read() as connection:
            query = (
                choose_replies(connection, asked).order_by(*worst, state.message_id.desc()).limit(limit).offset(offset)
            )
            rows = connection.execute(query)
            return [QueueEntry(row.message_id, row.conversation_id, Concern(row.concern), row.badness) for row in rows]


def list_undecided(
    connection: Connection, asked: LogFilter, until: str, limit: int
) -> dict[str, Decision | Literal[""]]:
    """The worst replies that wait and that the filter means, with what was decided about them (redact, or nothing).
    Those with an identifier above `until` are left out, and so are those with a decision above it. Raises InvalidInput
    for a filter for a decision: what was decided does not wait."""
    if asked.state in _DECIDED:
        raise InvalidInput(
            f"What is {asked.state} does not wait for a decision.", hint="Choose the replies themselves."
        )
    state = ReplyStateRow
    since = select(ReviewRow.id).where(ReviewRow.message_id == state.message_id, ReviewRow.id > until)
    query = choose_replies(connection, asked).add_columns(state.decision)
    query = query.where(state.message_id <= until, ~since.exists())
    query = query.order_by(state.concern.desc(), state.badness.desc(), state.message_id.desc()).limit(limit)
    return {row.message_id: row.decision for row in connection.execute(query)}


def _count_all(connection: Connection) -> int:
    """All that wait less those in the bin, which is small: to join all with their conversations would take a second."""
    state = ReplyStateRow
    waiting = select(func.count()).where(state.waiting.is_(True), state.concern > 0)
    bin_ids = select(ConversationRow.id).where(ConversationRow.deleted.is_(True))
    # As a function of the column, or SQLite would look for the bin's replies among all that wait.
    binned = select(func.count()).where(
        state.conversation_id.in_(bin_ids), func.coalesce(state.waiting, False).is_(True), state.concern > 0
    )
    return (connection.scalar(waiting) or 0) - (connection.scalar(binned) or 0)


def choose_replies(connection: Connection, asked: LogFilter) -> AnySelect:
    """The replies of the queue that the filter means, in no order.

    SQLite would walk the whole queue for a filter that hardly any reply meets. So the rarest condition is looked for
    first, and if few meet it, they are gathered and the queue's index is kept out of it.
    """
    state, message, conversation = ReplyStateRow, MessageRow, ConversationRow
    query = (
        select(state.message_id, state.conversation_id, state.concern, state.badness)
        .join_from(state, message, message.id == state.message_id)
        .join(conversation, conversation.id == message.conversation_id)
    )
    few = _find_few(connection, asked)
    if asked.text:
        found = choose_messages(connection, asked.text, asked).order_by(None).subquery()
        few = select(found.c.id)
    if few is not None:
        query = query.where(state.message_id.in_(few))
    if asked.state not in _DECIDED:
        waiting = state.waiting if few is None else func.coalesce(state.waiting, False)
        query = query.where(waiting.is_(True), state.concern > 0)
    return query if asked.text else limit_messages(query, asked)


def _find_few(connection: Connection, asked: LogFilter) -> AnySelect | None:
    """The ids that meet one of the conditions, if they are few; None if all are met by many, or none is asked."""
    for chosen in list_conditions(asked):
        count = select(func.count()).select_from(chosen.limit(_FEW + 1).subquery())
        if (connection.scalar(count) or 0) <= _FEW:
            return chosen
    return None
