"""A conversation with all that belongs to it, as one value: what export writes and import reads.

The formats of the world are turned into these and made from these (`chatbot.logs`); only the store turns them into
rows. Messages are named by keys: the source's own identifiers, or numbers where it has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chatbot.store.records import Decision, Role, Status


@dataclass(frozen=True, slots=True)
class ArchivedFeedback:
    """One judgement of a message; what is None was not spoken of. `rating` 0 took a rating back, empty tags or an empty
    comment took those back."""

    rating: int | None = None
    tags: tuple[str, ...] | None = None
    comment: str | None = None
    preferred_over: str | None = None
    """The key of the message of the same conversation that this one is better than."""
    author: str = ""
    created: datetime | None = None
    written_by: Mapping[str, Any] = field(default_factory=dict)
    """What wrote the judged reply: model, model_version_id, template_sha, sampling, seed."""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ArchivedReview:
    """One decision of a reviewer; the newest counts."""

    decision: Decision
    note: str = ""
    author: str = ""
    created: datetime | None = None
    written_by: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class ArchivedMessage:
    """`key` is unique within the conversation; `parent` is the key of the message above, None at a root."""

    key: str
    parent: str | None
    role: Role
    content: str
    created: datetime | None = None
    """None: the source does not say; the time of the import is taken."""
    status: Status = "complete"
    finish_reason: str = ""
    model: str = ""
    """The name of what wrote it, empty if it is not known."""
    template_sha: str = ""
    hidden: bool = False
    generation: Mapping[str, Any] = field(default_factory=dict)
    feedback: tuple[ArchivedFeedback, ...] = ()
    reviews: tuple[ArchivedReview, ...] = ()
    id: str = ""
    """Our own identifier, if it comes from one of our own exports."""


@dataclass(frozen=True, slots=True)
class ArchivedConversation:
    """Messages stand parents first. Roles are user and assistant; a system message of the source is `system_prompt`."""

    key: str
    """The same for the same record of the same source, whenever it is read: importing again finds it by that."""
    messages: tuple[ArchivedMessage, ...]
    title: str = ""
    """Empty: made from the first message."""
    system_prompt: str = ""
    persona: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    created: datetime | None = None
    updated: datetime | None = None
    tip: str | None = None
    """The key of the leaf on screen; None: the newest."""
    pinned: bool = False
    archived: bool = False
    id: str = ""
