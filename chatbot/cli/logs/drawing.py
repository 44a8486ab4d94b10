"""The shape of a conversation's tree as lines, the way `git log --graph` draws: what goes on stays in its column, only
alternatives open new ones. So a talk of a thousand turns is no wider than one of two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from chatbot.cli.logs.describing import describe_state, name_author, shorten
from chatbot.cli.logs.printing import fit

if TYPE_CHECKING:
    from chatbot.store.records import Message

_WIDEST = 40  # cells of branches left of a line; deeper ones are cut
_EXCERPT = 200


def draw_tree(messages: Sequence[Message], branch: AbstractSet[str], width: int) -> Iterator[str]:
    """A line of `width` cells for each message; ● stands on the branch on screen, ○ beside it."""
    children: dict[str | None, list[Message]] = defaultdict(list)
    for message in messages:
        children[message.parent_id].append(message)
    # Messages with what stands left of them and of what follows. A stack, since a tree may be as deep as a file says.
    waiting = _open(children[None], "")[::-1]
    while waiting:
        message, left, below = waiting.pop()
        yield fit(f"{_cut(left)}{'●' if message.id in branch else '○'} {_describe(message)}", width).rstrip()
        waiting += _open(children[message.id], below)[::-1]


def _open(messages: Sequence[Message], left: str) -> list[tuple[Message, str, str]]:
    left = left[-_WIDEST - 2 :]  # more is never shown
    if len(messages) == 1:
        return [(messages[0], left, left)]
    last = len(messages) - 1
    return [
        (message, left + ("└─" if place == last else "├─"), left + ("  " if place == last else "│ "))
        for place, message in enumerate(messages)
    ]


def _cut(left: str) -> str:
    return left if len(left) <= _WIDEST else "…" + left[1 - _WIDEST :]


def _describe(message: Message) -> str:
    facts = [name_author(message), shorten(message.id), *describe_state(message)]
    return f"{' · '.join(facts)}  {message.content[:_EXCERPT]}"
