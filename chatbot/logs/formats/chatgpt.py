"""ChatGPT's export: conversations as a `mapping` of nodes that name their parents; `current_node` is on screen.

The export is a ZIP or a folder of many files, of which `conversations.json` or `conversations-000.json` and so on hold
the conversations. Between the messages stand an empty root, the user's settings, calls and answers of tools and
thoughts: everything that is hidden, empty or not said to the other is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatbot.logs.formats.fields import read_content, read_list, read_mapping, read_text, read_time
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.linking import Node, link_nodes
from chatbot.logs.formats.turns import SPEAKERS, require_words
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.store.records import Status

_SAID = {"text", "multimodal_text", "code", ""}
_STATUS: dict[str, Status] = {"in_progress": "interrupted", "finished_partial_completion": "stopped"}
_FINISH = {"stop": "stop", "max_tokens": "length"}


def _matches(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("mapping"), dict)


def _find_id(record: Any, name: str) -> object:  # noqa: ARG001
    return record.get("conversation_id") or record.get("id")


def _convert(record: Any, key: str) -> ArchivedConversation:
    nodes = []
    system = []
    for name, place in record["mapping"].items():
        message = read_mapping(read_mapping(place).get("message"))
        nodes.append(Node(name, read_text(read_mapping(place).get("parent")) or None, _read_message(message, name)))
        if _role(message) == "system":
            system.append(_read_text(message))
    tree = link_nodes(nodes)
    require_words(tree.messages)
    return ArchivedConversation(
        key,
        tree.messages,
        title=read_text(record.get("title")),
        system_prompt="\n\n".join(text for text in system if text.strip()),
        created=read_time(record.get("create_time")),
        updated=read_time(record.get("update_time")),
        tip=tree.find_tip(read_text(record.get("current_node")) or None),
        pinned=record.get("is_starred") is True,
        archived=record.get("is_archived") is True,
    )


def _role(message: Mapping[str, Any]) -> str:
    return SPEAKERS.get(read_text(read_mapping(message.get("author")).get("role")).lower(), "")


def _read_text(message: Mapping[str, Any]) -> str:
    """What was said and seen; empty if it was hidden, or no text, or said to a tool."""
    content = read_mapping(message.get("content"))
    if read_text(content.get("content_type")) not in _SAID or message.get("recipient") not in (None, "", "all"):
        return ""
    if read_mapping(message.get("metadata")).get("is_visually_hidden_from_conversation") is True:
        return ""
    return read_content(read_list(content.get("parts"))) or read_text(content.get("text"))


def _read_message(message: Mapping[str, Any], key: str) -> ArchivedMessage | None:
    text, role = _read_text(message), _role(message)
    if not text.strip() or role not in {"user", "assistant"}:
        return None
    about = read_mapping(message.get("metadata"))
    said = role == "assistant"
    return ArchivedMessage(
        key=key,
        parent=None,
        role="assistant" if said else "user",
        content=text,
        created=read_time(message.get("create_time")),
        status=_STATUS.get(read_text(message.get("status")), "complete") if said else "complete",
        finish_reason=_FINISH.get(read_text(read_mapping(about.get("finish_details")).get("type")), "") if said else "",
        model=read_text(about.get("model_slug")) if said else "",
    )


FORMAT = Format("chatgpt", "ChatGPT's export", _matches, _convert, _find_id)
