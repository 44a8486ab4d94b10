"""Trees of messages out of nodes that name their parents, some of which are no message of ours.

Exports hold calls of tools, hidden instructions and empty roots between the messages that were read and written. Those
are passed over, and what hangs on them is hung on the nearest message above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from chatbot.errors import InvalidInput
from chatbot.store.archive_records import ArchivedMessage


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a tree. `message` is None if it is passed over; its own `parent` is not looked at."""

    key: str
    parent: str | None
    message: ArchivedMessage | None


@dataclass(frozen=True, slots=True)
class Tree:
    """`messages` stand parents first, else in the order of their nodes."""

    messages: tuple[ArchivedMessage, ...]
    anchors: Mapping[str, str | None]
    """Of every node's key: the key of its message, or of the nearest above it."""

    def find_tip(self, key: str | None) -> str | None:
        """The leaf at or below node `key`, the newest of several; None if nothing is there."""
        tip = self.anchors.get(key) if key is not None else None
        if tip is None:
            return None
        newest = {message.parent: message.key for message in self.messages}
        while tip in newest:
            tip = newest[tip]
        return tip


def link_nodes(nodes: Iterable[Node]) -> Tree:
    """A node whose parent is not there is a root. Raises InvalidInput at a key that is there twice and at a circle."""
    known: dict[str, Node] = {}
    for node in nodes:
        if node.key in known:
            raise InvalidInput("two messages have the same identifier")
        known[node.key] = node
    messages = []
    anchors: dict[str, str | None] = {}
    for start in known.values():
        path: dict[str, Node] = {}
        step: Node | None = start
        while step is not None and step.key not in anchors:
            if step.key in path:
                raise InvalidInput("its messages are each other's answers, in a circle")
            path[step.key] = step
            step = None if step.parent is None else known.get(step.parent)
        for node in reversed(path.values()):
            above = None if node.parent is None else anchors.get(node.parent)
            if node.message is None:
                anchors[node.key] = above
            else:
                anchors[node.key] = node.message.key
                same = node.message.parent == above
                messages.append(node.message if same else replace(node.message, parent=above))
    return Tree(tuple(messages), anchors)
