"""Which held-out rows are looked at during training, where there are more than a look has time for.

The first so many would not do: rows lie as they were gathered, so those of one long conversation lie together, and a
loss measured on them alone says when that conversation is predicted best. So each group has as much of a say as any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from chatbot.admin.datasets.items import Item

_One = TypeVar("_One")


def choose_looks(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many, in their order: of every group as many as of any other while it has them, from all over it; of
    more groups than that, one each from groups all over the list."""
    if len(items) <= most:
        return list(items)
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(item.group, []).append(place)
    chosen: list[int] = []
    left = most
    # The smallest first: what they cannot use is shared among the larger ones.
    members = sorted(_spread(list(groups.values()), most), key=len)
    for number, places in enumerate(members):
        share = -(-left // (len(members) - number))
        taken = _spread(places, min(share, left))
        chosen += taken
        left -= len(taken)
    return [items[place] for place in sorted(chosen)]


def _spread(found: Sequence[_One], most: int) -> list[_One]:
    """At most so many, evenly from all over the list."""
    count = min(len(found), most)
    return [found[number * len(found) // count] for number in range(count)]
