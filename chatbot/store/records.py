"""What the store hands out: plain frozen values, safe to keep and to pass between threads.

Rows of SQLAlchemy stay inside the store; nobody above it can trigger a query by reading an attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Status = Literal["streaming", "complete", "stopped", "failed", "interrupted"]
Rating = Literal[-1, 0, 1]
Decision = Literal["approve", "reject", "redact", "withdraw"]
"""What a reviewer decided; `withdraw` takes the decision before it back."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation as a list shows it. Times are UTC."""

    id: str
    title: str
    persona: str
    created: datetime
    updated: datetime
    tip: str | None = None
    """The leaf message of the branch on screen."""
    pinned: bool = False
    archived: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the branch on screen."""

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    content: str
    status: Status
    created: datetime
    finish_reason: str = ""
    """stop | length, or the error's sentence when `status` is failed."""
    model: str = ""
    """The name of the model version that wrote it."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """Of a reply: seed, sampling (what was set), drawn_with (the whole of it, defaults too), prompt_tokens,
    completion_tokens, cached_tokens, window, left_out, time_to_first_token (seconds), tokens_per_second, mean_logprob,
    compression_ratio; of one that began as another: branched_from, from_character; of a person's: author, corrects."""
    sibling: int = 1
    """Which of `siblings` alternatives this is, from 1."""
    siblings: int = 1
    rating: Rating = 0
    """Of a reply: the newest rating, 0 if there is none."""
    decision: Decision | Literal[""] = ""
    """Of a reply: what a reviewer decided last: approve, reject, redact, or nothing."""
