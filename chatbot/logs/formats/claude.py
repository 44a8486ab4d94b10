"""Claude's export: `conversations.json` in a folder or a ZIP; each conversation has `chat_messages`.

Where messages name a `parent_message_uuid`, they form a tree; else each answers the one before. What was attached
(long pastes are) belongs to what the reply answers, so its text is kept below the message's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats.fields import read_content, read_list, read_mapping, read_text, read_time
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.linking import Node, link_nodes
from chatbot.logs.formats.turns import SPEAKERS, require_words
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.text import printable_line


def _matches(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("chat_messages"), list)


def _convert(record: Any, key: str) -> ArchivedConversation:
    nodes: list[Node] = []
    for number, value in enumerate(record["chat_messages"], 1):
        place = read_mapping(value)
        name = read_text(place.get("uuid")) or str(number)
        before = nodes[-1].key if nodes else None
        parent = read_text(place["parent_message_uuid"]) or None if "parent_message_uuid" in place else before
        nodes.append(Node(name, parent, _read_message(place, name, number, read_text(record.get("model")))))
    tree = link_nodes(nodes)
    require_words(tree.messages)
    return ArchivedConversation(
        key,
        tree.messages,
        title=read_text(record.get("name")),
        created=read_time(record.get("created_at")),
        updated=read_time(record.get("updated_at")),
        tip=tree.find_tip(read_text(record.get("current_leaf_message_uuid")) or None),
        pinned=record.get("is_starred") is True,
    )


def _read_message(place: Mapping[str, Any], key: str, number: int, model: str) -> ArchivedMessage | None:
    sender = read_text(place.get("sender"))
    speaker = SPEAKERS.get(sender.lower())
    if speaker not in {"user", "assistant"}:
        raise InvalidInput(f"message {number} has the unknown sender '{printable_line(sender, 40)}'")
    # `text` repeats the parts, and has a sentence of excuse in the place of each that is no text.
    texts = [read_content(read_list(place.get("content"))) or read_text(place.get("text"))]
    for value in [*read_list(place.get("attachments")), *read_list(place.get("files"))]:
        name = printable_line(read_text(read_mapping(value).get("file_name")), 200)
        texts.append(f"[file: {name}]" if name else "[file]")
        texts.append(read_text(read_mapping(value).get("extracted_content")))
    text = "\n\n".join(text for text in texts if text.strip())
    if not text:
        return None
    return ArchivedMessage(
        key=key,
        parent=None,
        role="user" if speaker == "user" else "assistant",
        content=text,
        created=read_time(place.get("created_at")),
        model=model if speaker == "assistant" else "",
    )


FORMAT = Format("claude", "Claude's export", _matches, _convert, lambda record, name: record.get("uuid"))  # noqa: ARG005
