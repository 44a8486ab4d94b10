"""What the judgements of a reply amount to, and why a reviewer should look at it.

`refresh` is called in the transaction that adds a judgement or ends a reply; it reads the reply's whole history and
writes one row. Two of the concerns are measured when a reply is written: the mean log-probability of its tokens and how
well it compresses. Their limits are those that Whisper found to tell failed transcripts from sound ones
(https://arxiv.org/abs/2212.04356, section 4.5): −1 and 2.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, select, union, update

from chatbot.store.judgement_tables import FeedbackRow, ReplyStateRow, ReviewRow, SafetyEventRow
from chatbot.store.records import Rating
from chatbot.store.tables import MessageRow

LOW_LOGPROB = -1.0
HIGH_COMPRESSION = 2.4

_STEP = 500  # how many replies one statement reads and writes
_REPLIES = (
    select(
        MessageRow.id,
        MessageRow.conversation_id,
        MessageRow.status,
        MessageRow.finish_reason,
        MessageRow.hidden,
        MessageRow.generation,
        (MessageRow.content != "").label("content"),
    )
    .where(MessageRow.role == "assistant")
    .order_by(MessageRow.id)
)


class Concern(IntEnum):
    """Why a reply is in the queue; the higher the sooner."""

    NONE = 0
    RATED_UP = 1
    UNRATED = 2
    FLAGGED = 3
    IMPROBABLE = 4
    REPETITIVE = 5
    INTERRUPTED = 6
    CUT_OFF = 7
    RATED_DOWN = 8


@dataclass(frozen=True, slots=True)
class Judgement:
    """The newest word on each question."""

    rating: Rating = 0
    tags: tuple[str, ...] = ()
    comment: str = ""
    decision: str = ""


UNJUDGED = Judgement()


def list_concerns(
    rating: int, status: str, finish_reason: str, generation: Mapping[str, Any], flagged: bool
) -> list[tuple[Concern, float]]:
    """All reasons to look at a reply, worst first, each with how bad it is."""
    ratio, logprob = read_number(generation, "compression_ratio"), read_number(generation, "mean_logprob")
    found = {
        Concern.RATED_DOWN: 0.0 if rating < 0 else None,
        Concern.CUT_OFF: 0.0 if status in {"stopped", "failed"} or finish_reason == "length" else None,
        Concern.INTERRUPTED: 0.0 if status == "interrupted" else None,
        Concern.REPETITIVE: ratio if ratio is not None and ratio > HIGH_COMPRESSION else None,
        Concern.IMPROBABLE: -logprob if logprob is not None and logprob < LOW_LOGPROB else None,
        Concern.FLAGGED: 0.0 if flagged else None,
        Concern.UNRATED: 0.0 if rating == 0 else None,
        Concern.RATED_UP: 0.0 if rating > 0 else None,
    }
    return [(concern, badness) for concern, badness in found.items() if badness is not None]


def read_number(generation: Mapping[str, Any], name: str) -> float | None:
    """A figure of a reply; None for what is no finite number (an import may hold anything)."""
    value = generation.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def read_judgement(connection: Connection, message_id: str) -> Judgement:
    """Folds the history of a message."""
    table = FeedbackRow
    rating: Rating = 0
    tags: tuple[str, ...] = ()
    comment = ""
    columns = (table.rating, table.tags, table.comment)
    query = select(*columns).where(table.message_id == message_id).order_by(table.created_at, table.id)
    for row in connection.execute(query):
        rating = rating if row.rating is None else row.rating
        tags = tags if row.tags is None else tuple(row.tags)
        comment = comment if row.comment is None else row.comment
    newest = select(ReviewRow.decision).where(ReviewRow.message_id == message_id)
    decision = connection.scalar(newest.order_by(ReviewRow.created_at.desc(), ReviewRow.id.desc()).limit(1)) or ""
    return Judgement(rating, tags, comment, "" if decision == "withdraw" else decision)


def is_flagged(connection: Connection, message_id: str) -> bool:
    """Whether the watch over unfit text spoke of it."""
    query = select(SafetyEventRow.id).where(SafetyEventRow.message_id == message_id).limit(1)
    return connection.scalar(query) is not None


def make_state(row: Mapping[Any, Any], judged: Judgement = UNJUDGED, *, flagged: bool = False) -> dict[str, Any]:
    """The row of reply_state for a reply; `row` holds the columns of its message."""
    # One that says nothing, is not yet said, or is taken off the screen, is no work for anybody.
    ready = bool(row["content"]) and row["status"] != "streaming" and not row["hidden"]
    concern, badness = Concern.NONE, 0.0
    if ready:
        measured = (row["status"], row["finish_reason"], row["generation"])
        concern, badness = list_concerns(judged.rating, *measured, flagged)[0]
    return {
        "message_id": row["id"],
        "conversation_id": row["conversation_id"],
        "waiting": ready and judged.decision not in {"approve", "reject"},
        "concern": int(concern),
        "badness": badness,
        "rating": judged.rating,
        "decision": judged.decision,
    }


def refresh(connection: Connection, message_id: str) -> None:
    """Writes the state of a reply anew; a prompt has none."""
    row = connection.execute(_REPLIES.where(MessageRow.id == message_id)).mappings().first()
    if row is None:
        return
    values = make_state(row, read_judgement(connection, message_id), flagged=is_flagged(connection, message_id))
    table = ReplyStateRow
    if not connection.execute(update(table).where(table.message_id == message_id).values(values)).rowcount:
        connection.execute(insert(table).values(values))


def refresh_all(connection: Connection) -> None:
    """Makes all states anew. Most replies were judged by nobody: theirs are written many at a time."""
    connection.execute(delete(ReplyStateRow))
    tables = (FeedbackRow, ReviewRow, SafetyEventRow)
    judged = set(connection.scalars(union(*(select(table.message_id) for table in tables))))
    last = ""
    while rows := connection.execute(_REPLIES.where(MessageRow.id > last).limit(_STEP)).mappings().all():
        connection.execute(insert(ReplyStateRow), [make_state(row) for row in rows])
        for row in rows:
            if row["id"] in judged:
                refresh(connection, row["id"])
        last = rows[-1]["id"]
