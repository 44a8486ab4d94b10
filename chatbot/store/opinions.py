"""One judgement: what it says, and how it is written down and read.

Each keeps a copy of what wrote the message, because a reply that is written on by another model is another reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select

from chatbot.errors import InvalidInput
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.judgement_tables import FeedbackRow, ReviewRow
from chatbot.store.learning_tables import ModelVersionRow
from chatbot.store.records import Decision, Rating
from chatbot.store.tables import MessageRow
from chatbot.text import storable

_MOST_TAGS = 20
_TAG_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Opinion:
    """One judgement as it was given; what is None was not spoken of."""

    id: str
    message_id: str
    author: str
    created: datetime
    written_by: dict[str, Any]
    rating: int | None = None
    tags: tuple[str, ...] | None = None
    comment: str | None = None
    preferred_over: str | None = None
    decision: Decision | Literal[""] = ""
    note: str = ""


def clean_tags(tags: Sequence[str]) -> list[str]:
    """Tags without spaces at their ends, each once, in their order. Raises InvalidInput."""
    cleaned = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(cleaned) > _MOST_TAGS:
        raise InvalidInput(f"A reply can have {_MOST_TAGS} tags; these are {len(cleaned)}.")
    for tag in cleaned:
        if len(tag) > _TAG_LENGTH or not tag.isprintable():
            raise InvalidInput(f"A tag is up to {_TAG_LENGTH} printable characters long.")
    return cleaned


def add_feedback(
    connection: Connection,
    identifiers: IdentifierSource,
    message_id: str,
    author: str,
    *,
    rating: Rating | None = None,
    tags: Sequence[str] | None = None,
    comment: str | None = None,
    over: str | None = None,
    implied: bool = False,
) -> None:
    """Adds what a person said; `reply_states.refresh` has to follow."""
    written_by = describe_writer(connection, message_id)
    if over is not None:
        written_by["over"] = describe_writer(connection, over)
    if implied:
        written_by["implied"] = True
    values = {
        "id": identifiers.next(),
        "message_id": message_id,
        "rating": rating,
        "tags": None if tags is None else [storable(tag) for tag in tags],
        "comment": None if comment is None else storable(comment),
        "preferred_over_id": over,
        "author": author,
        "written_by": written_by,
        "created_at": datetime.now(UTC),
    }
    connection.execute(insert(FeedbackRow).values(values))


def add_review(
    connection: Connection, identifiers: IdentifierSource, message_id: str, decision: Decision, note: str, author: str
) -> None:
    """Adds a decision; `reply_states.refresh` has to follow."""
    values = {
        "id": identifiers.next(),
        "message_id": message_id,
        "decision": decision,
        "note": storable(note),
        "author": author,
        "written_by": describe_writer(connection, message_id),
        "created_at": datetime.now(UTC),
    }
    connection.execute(insert(ReviewRow).values(values))


def describe_writer(connection: Connection, message_id: str) -> dict[str, Any]:
    """What wrote a message: model, model_version_id, template_sha, sampling, seed; author if it was a person. The
    sampling is whole, as far as it is known: what was set, and what the model's own defaults were at that time."""
    table = MessageRow
    query = (
        select(table.model_version_id, table.template_sha, table.generation, ModelVersionRow.name)
        .outerjoin(ModelVersionRow, ModelVersionRow.id == table.model_version_id)
        .where(table.id == message_id)
    )
    row = connection.execute(query).one()
    told = {name: row.generation[name] for name in ("seed", "author") if name in row.generation}
    parts = [row.generation.get(name) for name in ("drawn_with", "sampling")]
    if any(isinstance(part, dict) for part in parts):
        told["sampling"] = {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
    return {
        "model": row.name or "",
        "model_version_id": row.model_version_id,
        "template_sha": row.template_sha,
        **told,
    }


def read_history(connection: Connection, message_id: str) -> list[Opinion]:
    """Feedback and reviews of a message, oldest first."""
    return _read_opinions(connection, FeedbackRow.message_id == message_id, ReviewRow.message_id == message_id)


def read_histories(connection: Connection, conversation_id: str) -> dict[str, list[Opinion]]:
    """`read_history` of all messages of a conversation of which something was said, by their ids."""
    said = select(MessageRow.id).where(MessageRow.conversation_id == conversation_id)
    opinions = _read_opinions(connection, FeedbackRow.message_id.in_(said), ReviewRow.message_id.in_(said))
    found: dict[str, list[Opinion]] = {}
    for opinion in opinions:
        found.setdefault(opinion.message_id, []).append(opinion)
    return found


def _read_opinions(connection: Connection, said: Any, decided: Any) -> list[Opinion]:
    """Feedback and reviews that meet a condition each, oldest first."""
    opinions = [
        Opinion(
            id=row.id,
            message_id=row.message_id,
            author=row.author,
            created=row.created_at,
            written_by=row.written_by,
            rating=row.rating,
            tags=None if row.tags is None else tuple(row.tags),
            comment=row.comment,
            preferred_over=row.preferred_over_id,
        )
        for row in connection.execute(select(FeedbackRow.__table__).where(said))
    ]
    opinions += [
        Opinion(
            id=row.id,
            message_id=row.message_id,
            author=row.author,
            created=row.created_at,
            written_by=row.written_by,
            decision=row.decision,
            note=row.note,
        )
        for row in connection.execute(select(ReviewRow.__table__).where(decided))
    ]
    return sorted(opinions, key=lambda opinion: (opinion.created, opinion.id))
