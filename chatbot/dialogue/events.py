"""What a turn tells whoever watches it: the screen, `chatbot ask`, a test."""

from __future__ import annotations

from dataclasses import dataclass

from chatbot.store.records import Message


@dataclass(frozen=True, slots=True)
class ContextReport:
    """What of the conversation the model gets to read."""

    tokens: int
    """The prompt's length in tokens; an estimate if `exact` is False."""
    window: int
    """The model's window in tokens."""
    left_out: int
    """How many of the oldest messages did not fit."""
    exact: bool = True


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The user's message (None for a regenerated or continued reply) and the empty reply are in the database."""

    user: Message | None
    reply: Message
    context: ContextReport


@dataclass(frozen=True, slots=True)
class TextAdded:
    """More of the reply. It is raw: pass it through `text.printable` before it is shown."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The reply as it now stands in the database: complete, stopped or failed."""

    reply: Message
    title: str
    """The conversation's title, which the first turn makes."""


TurnEvent = ReplyStarted | TextAdded | ReplyEnded
