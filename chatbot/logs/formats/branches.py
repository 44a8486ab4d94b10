"""The branch of a conversation that is on screen: what formats without branches are given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def find_branch(conversation: ArchivedConversation) -> Sequence[ArchivedMessage]:
    """From the root to the message on screen, without what was hidden and what says nothing."""
    leaf = conversation.tip if conversation.tip is not None else _find_newest(conversation.messages)
    return find_words_to(conversation, leaf)


def find_words_to(conversation: ArchivedConversation, key: str | None) -> Sequence[ArchivedMessage]:
    """From the root to the message `key`, without what was hidden and what says nothing."""
    known = {message.key: message for message in conversation.messages}
    path: dict[str, ArchivedMessage] = {}
    while key is not None and key in known and key not in path:
        path[key] = known[key]
        key = known[key].parent
    return [message for message in reversed(path.values()) if not message.hidden and message.content.strip()]


def _find_newest(messages: Sequence[ArchivedMessage]) -> str | None:
    answered = {message.parent for message in messages if not message.hidden}
    leaves = [
        (message.created or _BEFORE_ALL, number, message.key)
        for number, message in enumerate(messages)
        if message.key not in answered and not message.hidden
    ]
    return max(leaves)[2] if leaves else None
