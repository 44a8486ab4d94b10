"""Which conversations and replies are meant: one set of filters for lists, search, review, export and statistics.

A conversation is meant if one of its replies is, and its dates are those of its last change. How a condition is asked
decides over its speed: ratings and decisions that few replies have are gathered first (IN), those that most have are
looked up one by one (EXISTS).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from sqlalchemy import ColumnElement, Select, Text, and_, cast, exists, func, literal_column, select, tuple_

from chatbot.errors import InvalidInput
from chatbot.store.judgement_tables import FeedbackRow, ReplyStateRow
from chatbot.store.learning_tables import ModelVersionRow
from chatbot.store.records import Status
from chatbot.store.tables import ConversationRow, MessageRow

AnySelect: TypeAlias = Select[*tuple[Any, ...]]
RatingFilter = Literal["", "up", "down", "none"]
StateFilter = Literal["", "waiting", "approved", "rejected", "redacted"]

_UNFINISHED = {"stopped", "failed", "interrupted", "streaming"}
_RATINGS = {"up": 1, "down": -1, "none": 0}
DECISIONS = {"approved": "approve", "rejected": "reject", "redacted": "redact"}


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What is empty asks nothing. All that is asked of a reply must be true of the same reply. Raises InvalidInput
    for a status, rating or state that there is not."""

    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""
    persona: str = ""
    model: str = ""
    rating: RatingFilter = ""
    status: Status | Literal[""] = ""
    state: StateFilter = ""
    tag: str = ""
    text: str = ""
    """A search, in the words of `search`."""
    conversation: str = ""
    """A whole id."""
    deleted: bool = False
    """Look in the bin, and nowhere else."""

    def __post_init__(self) -> None:
        allowed = {
            "rating": get_args(RatingFilter),
            "state": get_args(StateFilter),
            "status": ("", *get_args(Status)),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InvalidInput(f"{name} is one of {', '.join(filter(None, values))}.")

    @property
    def asks_of_replies(self) -> bool:
        return bool(self.model or self.rating or self.status or self.state or self.tag)


def limit_conversations(query: AnySelect, asked: LogFilter) -> AnySelect:
    """`query`, which reads the conversation table, with all of `asked` but the text."""
    table = ConversationRow
    query = query.where(table.deleted.is_(asked.deleted))
    if asked.conversation:
        query = query.where(table.id == asked.conversation)
    if asked.persona:
        query = query.where(table.persona == asked.persona)
    if asked.since:
        query = query.where(table.updated_at >= asked.since)
    if asked.until:
        query = query.where(table.updated_at < asked.until)
    if asked.asks_of_replies:
        query = query.where(_holds_reply(asked))
    return query


def limit_messages(query: AnySelect, asked: LogFilter) -> AnySelect:
    """`query`, which reads message, conversation and, by an outer join, reply_state, with all of `asked` but the
    text. Hidden messages are left out."""
    table = ConversationRow
    query = query.where(MessageRow.hidden.is_(False), table.deleted.is_(asked.deleted))
    if asked.conversation:
        query = query.where(MessageRow.conversation_id == asked.conversation)
    if asked.persona:
        query = query.where(table.persona == asked.persona)
    if asked.since:
        query = query.where(MessageRow.created_at >= asked.since)
    if asked.until:
        query = query.where(MessageRow.created_at < asked.until)
    return query.where(*_describe_reply(asked))


def list_conditions(asked: LogFilter) -> list[AnySelect]:
    """For each thing that is asked of replies and that an index knows: the ids of the replies that meet it."""
    state, message = ReplyStateRow, MessageRow
    found: list[AnySelect] = []
    if asked.conversation:
        found.append(select(message.id).where(message.conversation_id == asked.conversation))
    if asked.state in DECISIONS:
        found.append(select(state.message_id).where(state.decision == DECISIONS[asked.state]))
    if asked.tag:
        found.append(_find_tagged(asked.tag))
    if asked.rating in {"up", "down"}:
        found.append(select(state.message_id).where(state.rating == _RATINGS[asked.rating]))
    if asked.status in _UNFINISHED:
        found.append(select(message.id).where(*_describe_reply(LogFilter(status=asked.status))))
    if asked.model:
        found.append(select(message.id).where(*_describe_reply(LogFilter(model=asked.model))))
    if asked.persona:
        of_persona = select(ConversationRow.id).where(ConversationRow.persona == asked.persona)
        found.append(select(state.message_id).where(state.conversation_id.in_(of_persona)))
    return found


def _holds_reply(asked: LogFilter) -> ColumnElement[bool]:
    state, message = ReplyStateRow, MessageRow
    query = select(message.conversation_id).where(*_describe_reply(asked), message.hidden.is_(False))
    if asked.rating or asked.state:
        query = query.join(state, state.message_id == message.id)
    few = asked.rating in {"up", "down"} or asked.state in DECISIONS or asked.status in _UNFINISHED or asked.tag
    if few:
        return ConversationRow.id.in_(query)
    return exists(query.where(message.conversation_id == ConversationRow.id).correlate(ConversationRow))


def _describe_reply(asked: LogFilter) -> list[ColumnElement[bool]]:
    state, message = ReplyStateRow, MessageRow
    conditions: list[ColumnElement[bool]] = []
    if asked.asks_of_replies:
        # Not “is assistant”: SQLite would take the index on roles, which half of all messages stand in.
        conditions.append(message.role.not_in(("user", "system")))
    if asked.rating:
        conditions.append(state.rating == _RATINGS[asked.rating])
    if asked.state == "waiting":
        # As a function of the column, or SQLite would walk the whole queue for each conversation.
        conditions.append(and_(func.coalesce(state.waiting, False).is_(True), state.concern > 0))
    elif asked.state:
        conditions.append(state.decision == DECISIONS[asked.state])
    if asked.model:
        versions = select(ModelVersionRow.id).where(ModelVersionRow.name == asked.model)
        conditions.append(message.model_version_id.in_(versions))
    if asked.status:
        conditions.append(message.status == asked.status)
        if asked.status in _UNFINISHED:
            # The condition of the partial index, to the letter: SQLite draws no conclusions.
            conditions.append(message.status != literal_column("'complete'"))
    if asked.tag:
        conditions.append(message.id.in_(_find_tagged(asked.tag)))
    return conditions


def _find_tagged(tag: str) -> Select[Any]:
    """The messages whose newest tags hold `tag`. People's own words: the table is small."""
    newest, newer = FeedbackRow, FeedbackRow.__table__.alias("newer")
    later = exists().where(
        newer.c.message_id == newest.message_id,
        newer.c.tags.is_not(None),
        tuple_(newer.c.created_at, newer.c.id) > tuple_(newest.created_at, newest.id),
    )
    holds = cast(newest.tags, Text).contains(json.dumps(tag), autoescape=True)
    return select(newest.message_id).where(newest.tags.is_not(None), ~later, holds)
