"""The tables of what is said about messages: by people (feedback, reviews) and by classifiers (labels, safety events).

Judgements are appended and never changed; a newer one counts more. What they amount to for a reply at this moment
stands in `reply_state`, which can be made anew from them at any time: it is what lists and queues are sorted by, since
folding a million histories for each look at a queue would take seconds. A judgement goes with its message (CASCADE).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from chatbot.store.tables import ID_LENGTH, Row, identifier, link, one_of


class FeedbackRow(Row):
    """What one person said of a message at one time. What is NULL was not spoken of, so each field keeps the newest
    word that was said about it."""

    __tablename__ = "feedback"
    __table_args__ = (CheckConstraint("rating IN (-1, 0, 1)", name="rating"),)

    id: Mapped[str] = identifier()
    message_id: Mapped[str] = link("message.id", "CASCADE")
    rating: Mapped[int | None]
    """0 takes a rating back."""
    tags: Mapped[list[str] | None]
    """All tags that the message has from now on."""
    comment: Mapped[str | None]
    preferred_over_id: Mapped[str | None] = link("message.id", "SET NULL")
    """A sibling that this message is better than. A correction is a sibling too, written by a person."""
    author: Mapped[str]
    written_by: Mapped[dict[str, Any]]
    """What wrote the message when it was judged (a reply that is written on changes later): model, model_version_id,
    template_sha, sampling, seed; under `over` the same of the message that it was preferred to. `implied` is true of a
    preference that nobody stated."""
    created_at: Mapped[datetime]


class ReviewRow(Row):
    """Nothing trains before someone approved it; the newest decision counts, and `withdraw` takes it back."""

    __tablename__ = "review"
    __table_args__ = (one_of("decision", "approve", "reject", "redact", "withdraw"),)

    id: Mapped[str] = identifier()
    message_id: Mapped[str] = link("message.id", "CASCADE")
    decision: Mapped[str]
    note: Mapped[str]
    author: Mapped[str]
    written_by: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ReplyStateRow(Row):
    """What all judgements of a reply amount to. Derived: see `reply_states`."""

    __tablename__ = "reply_state"
    __table_args__ = (
        # The review queue, read backwards.
        Index("ix_reply_state_queue", "waiting", "concern", "badness", "message_id"),
        Index("ix_reply_state_rating", "rating", "conversation_id"),
        Index("ix_reply_state_decision", "decision", "conversation_id"),
        Index("ix_reply_state_conversation", "conversation_id", "rating", "decision"),
    )

    message_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("message.id", ondelete="CASCADE"), primary_key=True
    )
    conversation_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("conversation.id", ondelete="CASCADE"))
    waiting: Mapped[bool]
    """Whether a reviewer should look at it."""
    concern: Mapped[int]
    """Why it is in the queue, the worst reason: see `reply_states.Concern`; 0 keeps it out."""
    badness: Mapped[float]
    """Its place among those of the same concern; higher is worse."""
    rating: Mapped[int]
    """−1, 0 or 1."""
    decision: Mapped[str]
    """The newest of approve, reject, redact; empty if there is none."""


class LabelRow(Row):
    __tablename__ = "label"
    __table_args__ = (Index("ix_label_kind", "kind", "value"),)

    id: Mapped[str] = identifier()
    message_id: Mapped[str] = link("message.id", "CASCADE")
    kind: Mapped[str]
    value: Mapped[str]
    score: Mapped[float | None]
    source: Mapped[str]
    """Which classifier (its model version's name and number) or which person."""
    created_at: Mapped[datetime]


class SafetyEventRow(Row):
    __tablename__ = "safety_event"
    __table_args__ = (one_of("stage", "input", "output"),)

    id: Mapped[str] = identifier()
    message_id: Mapped[str] = link("message.id", "CASCADE")
    stage: Mapped[str]
    category: Mapped[str]
    score: Mapped[float]
    action: Mapped[str]
    created_at: Mapped[datetime]
