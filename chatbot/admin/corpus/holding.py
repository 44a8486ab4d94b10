"""What is held out: decided by a hash of the text itself, so that what was held out once is held out for ever.

The unit is a document, that is all of its parts, placed by its first one. Where there are few documents, holding out
one in a hundred would hold out nothing or a book: there the unit is a section of some pages, placed by its own text. A
conversation of the log is one unit with all of its branches, placed by its identifier. No memory of other versions is
needed, and every machine decides the same; hence the share is met about, not exactly.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from chatbot.admin.corpus.folder import Split
from chatbot.admin.datasets.splitting import hash_place

_EXPECTED = 5
"""Documents that should be held out; if fewer would be, sections are."""


def choose_unit(documents: int, holdout: float) -> Literal["document", "section"]:
    return "document" if documents * holdout >= _EXPECTED else "section"


def count_needed(holdout: float) -> int:
    """From how many documents on the unit is a document."""
    return int(_EXPECTED / holdout) + 1 if holdout else 1


def hash_unit(text: str) -> str:
    """The key of a unit. White space at its ends does not count."""
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Holding:
    """Places units, and remembers which rows to move if a split would be left empty: the ones nearest to it."""

    holdout: float
    _nearest: dict[Split, tuple[float, str]] = field(default_factory=dict)
    _rows: dict[Split, list[int]] = field(default_factory=dict)
    _keys: dict[Split, int] = field(default_factory=dict)
    """About how many units there are; told apart are only none, one and more."""

    def place(self, key: str) -> Split:
        return "validation" if hash_place(key) < self.holdout else "train"

    def note(self, split: Split, key: str, row: int) -> None:
        """Row `row` of `split` belongs to the unit `key`, which may be moved."""
        place = hash_place(key)
        nearness = (place if split == "train" else -place, key)
        known = self._nearest.get(split)
        if known is None or nearness != known:
            self._keys[split] = self._keys.get(split, 0) + 1
        if known is None or nearness < known:
            self._nearest[split], self._rows[split] = nearness, []
        if nearness == self._nearest[split]:
            self._rows[split].append(row)

    def note_pinned(self, split: Split) -> None:
        """`split` has a row that stays where it is: it cannot be left empty by moving others."""
        self._keys[split] = self._keys.get(split, 0) + 1

    def choose_moved(self, split: Split) -> frozenset[int]:
        """The rows of `split` that go to the other one, which is empty; none if that would empty this one."""
        return frozenset(self._rows.get(split, ())) if self._keys.get(split, 0) > 1 else frozenset()
