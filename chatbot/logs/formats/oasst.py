"""Trees of OpenAssistant: {"message_tree_id": "…", "prompt": {"message_id": "…", "text": "…", "replies": [ … ]}}.

Every reply is kept; on screen stands the path of the best-ranked ones (rank 0 is the best). Labels, emojis and the
results of reviews are measures of many people over many replies and have no place in ours: they are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats.fields import read_list, read_mapping, read_text, read_time
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.linking import Node, link_nodes
from chatbot.logs.formats.turns import SPEAKERS, require_words
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.text import printable_line


def _matches(record: Any) -> bool:
    return isinstance(record, dict) and "message_tree_id" in record and isinstance(record.get("prompt"), dict)


def _convert(record: Any, key: str) -> ArchivedConversation:
    nodes: list[Node] = []
    below: list[tuple[Any, str | None]] = [(record["prompt"], None)]
    while below:
        place, parent = below.pop()
        node = _read_node(read_mapping(place), parent, str(len(nodes) + 1))
        nodes.append(node)
        below += [(reply, node.key) for reply in reversed(read_list(place.get("replies")))]
    tree = link_nodes(nodes)
    require_words(tree.messages)
    return ArchivedConversation(
        key,
        tree.messages,
        created=min((message.created for message in tree.messages if message.created), default=None),
        tip=tree.find_tip(_find_best(record["prompt"])),
    )


def _read_node(place: Mapping[str, Any], parent: str | None, number: str) -> Node:
    text, role = place.get("text"), read_text(place.get("role"))
    if not isinstance(text, str):
        raise InvalidInput(f"message {number} has no text")
    speaker = SPEAKERS.get(role.lower())
    if speaker not in {"user", "assistant"}:
        raise InvalidInput(f"message {number} has the unknown role '{printable_line(role, 40)}'")
    key = read_text(place.get("message_id")) or number
    message = ArchivedMessage(
        key=key,
        parent=parent,
        role="user" if speaker == "user" else "assistant",
        content=text,
        created=read_time(place.get("created_date")),
        model=read_text(place.get("model_name")) if speaker == "assistant" else "",
    )
    return Node(key, parent, None if place.get("deleted") is True else message)


def _find_best(place: Mapping[str, Any]) -> str | None:
    """The identifier of the leaf that the best ranks lead to; None if no reply has a rank."""
    ranked = False
    while replies := [reply for reply in read_list(place.get("replies")) if isinstance(reply, dict)]:
        ranks = {index: reply["rank"] for index, reply in enumerate(replies) if isinstance(reply.get("rank"), int)}
        ranked = ranked or bool(ranks)
        place = replies[min(ranks, key=lambda index: (ranks[index], index))] if ranks else replies[0]
    return read_text(place.get("message_id")) or None if ranked else None


FORMAT = Format("oasst", "OpenAssistant trees", _matches, _convert, lambda record, name: record["message_tree_id"])  # noqa: ARG005
