"""What lies between two versions: items that came, went, were changed, or moved to another split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from chatbot.admin.datasets.drafts import hash_text
from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.datasets.items import SPLITS, Item, Split, hash_content


@dataclass(frozen=True, slots=True)
class Placed:
    """An item in its split."""

    split: Split
    item: Item


@dataclass(frozen=True, slots=True)
class Difference:
    """From the first to the second. `changed` and `moved` are (before, after); an item that is both is `changed`."""

    same: int
    added: tuple[Placed, ...]
    removed: tuple[Placed, ...]
    changed: tuple[tuple[Placed, Placed], ...]
    moved: tuple[tuple[Placed, Placed], ...]

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changed or self.moved)


def diff(before: DatasetFolder, after: DatasetFolder) -> Difference:
    """Items are the same if they say the same. Of the rest, two are one that was changed if they came from the same
    messages or, without messages, ask the same. Raises DatasetDamaged."""
    old, new = _read(before), _read(after)
    shared = [(old[content], new[content]) for content in old if content in new]
    moved = tuple(pair for pair in shared if pair[0].split != pair[1].split)
    gone = [placed for content, placed in old.items() if content not in new]
    come = [placed for content, placed in new.items() if content not in old]
    changed, removed, added = _pair_up(gone, come)
    return Difference(len(shared) - len(moved), tuple(added), tuple(removed), tuple(changed), moved)


def find_opening(item: Item) -> str:
    """What the item begins with, for a list: its first prompt."""
    return next((turn.content for turn in item.turns if turn.role == "user"), "")


def _read(folder: DatasetFolder) -> dict[str, Placed]:
    return {hash_content(item): Placed(split, item) for split in SPLITS for item in folder.read(split)}


def _pair_up(
    gone: Sequence[Placed], come: Sequence[Placed]
) -> tuple[list[tuple[Placed, Placed]], list[Placed], list[Placed]]:
    waiting: dict[str, list[int]] = {}
    for place, placed in enumerate(gone):
        for name in _list_names(placed.item):
            waiting.setdefault(name, []).append(place)
    taken: set[int] = set()
    changed: list[tuple[Placed, Placed]] = []
    added: list[Placed] = []
    for placed in come:
        places = chain.from_iterable(waiting.get(name, ()) for name in _list_names(placed.item))
        found = [one for one in places if one not in taken][:1]
        taken.update(found)
        changed += [(gone[one], placed) for one in found]
        added += [] if found else [placed]
    return changed, [placed for place, placed in enumerate(gone) if place not in taken], added


def _list_names(item: Item) -> list[str]:
    """What an item is known by, whatever was done to its texts: its replies' messages, the newest first."""
    if item.messages_from:
        return list(item.messages_from)[::-1]
    asked = "\n".join(turn.content for turn in item.turns if turn.role == "user")
    return [f"{item.source} {hash_text(asked)}"]
