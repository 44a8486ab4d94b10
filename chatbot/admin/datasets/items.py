"""What a dataset is made of: the items as they stand, a line each, in its JSONL files.

A file is read years later and on other machines, hence plain names and nothing that needs the database. Text is kept,
not token ids: people read it, and the tokens follow from the template whose sha256 the manifest names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from chatbot.models.template import ChatMessage, Role

Kind = Literal["sft", "preference", "label"]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Turn(BaseModel):
    """One message. `learn` is true for a reply that carries loss; all others are context."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str
    learn: bool = False

    @property
    def message(self) -> ChatMessage:
        return ChatMessage(self.role, self.content)


class _Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Identifies the item in its version."""
    source: str
    """`chat`, `file:NAME` or `replay:NAME`: what caps and statistics count by."""
    group: str
    """Items of one group never stand in two splits."""
    conversation: str = ""
    """The conversation it came from, empty if from a file."""
    messages_from: tuple[str, ...] = ()
    """The messages it was made from."""


class SftItem(_Item):
    """A branch from its system prompt to the last reply that is to be learnt."""

    kind: Literal["sft"] = "sft"
    turns: tuple[Turn, ...]


class PreferenceItem(_Item):
    """Two replies to the same `turns`, which end with a user's message."""

    kind: Literal["preference"] = "preference"
    turns: tuple[Turn, ...]
    chosen: str
    rejected: str


class LabelItem(_Item):
    """One reply to `turns`, which end with a user's message, and whether it was good."""

    kind: Literal["label"] = "label"
    turns: tuple[Turn, ...]
    reply: str
    good: bool


Item = Annotated[SftItem | PreferenceItem | LabelItem, Field(discriminator="kind")]


def hash_content(item: SftItem | PreferenceItem | LabelItem) -> str:
    """The sha256 of what is learnt, wherever it came from."""
    content = item.model_dump(exclude={"id", "source", "group", "conversation", "messages_from"})
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_replies(item: SftItem | PreferenceItem | LabelItem) -> Sequence[str]:
    """The texts that carry loss or are compared."""
    if isinstance(item, SftItem):
        return [turn.content for turn in item.turns if turn.learn]
    if isinstance(item, PreferenceItem):
        return [item.chosen, item.rejected]
    return [item.reply]
