"""What every format tells of itself: how its records look, what they are called, and what they mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chatbot.store.archive_records import ArchivedConversation

_LONGEST_ID = 128  # characters; the longest that programs use are UUIDs


@dataclass(frozen=True, slots=True)
class Format:
    """Functions over one parsed record, which may be anything that JSON can be."""

    name: str
    """The first part of every key: openai, chatgpt, …"""
    title: str
    """What a person calls it."""
    matches: Callable[[Any], bool]
    """Looks at the outside of the record only; raises nothing."""
    convert: Callable[[Any, str], ArchivedConversation]
    """The conversation with the given key. Raises InvalidInput that says what is wrong with the record."""
    find_id: Callable[[Any, str], object] = lambda record, name: None  # noqa: ARG005
    """The record's own identifier, where those of the format are unique in the world; `name` is the key under which it
    stood. Data sets number their records, so two of them would have the same: those are known by their content."""

    def key(self, record: Any, name: str) -> str:
        """The same for the same record whenever it is read."""
        found = self.find_id(record, name)
        if isinstance(found, str) and 0 < len(found) <= _LONGEST_ID:
            return f"{self.name}:{found}"
        return f"{self.name}:{hash_value(record)}"


def hash_value(value: Any) -> str:
    """The sha256 of a JSON value, the same however it was laid out."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
