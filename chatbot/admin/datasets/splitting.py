"""Which items are held out: decided by a hash of their group, and remembered.

A hash needs no memory and gives the same on every machine, whatever else is in the dataset and in whatever order. But a
group is named by its smallest member and may grow, so earlier versions are asked too: what one of them held out stays
held out, and what one of them trained on is not held out later, where it would flatter the model. If a group unites
both, it is held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from chatbot.admin.datasets.items import Split

_HELD: tuple[Split, ...] = ("test", "validation")


@dataclass(frozen=True, slots=True)
class Splitting:
    """`splits` has each group's. `remembered` groups are where an earlier version had them; `united` were in train and
    held out, and are held out now."""

    splits: Mapping[str, Split]
    remembered: int
    united: int


def split_groups(
    groups: Sequence[str], earlier: Mapping[str, AbstractSet[str]], *, validation: float, test: float
) -> Splitting:
    """`earlier` has the splits in which earlier versions had each group.

    With two groups or more one at least is for validation and one for train, if nothing earlier forbids it: training
    cannot stop in time without the one, nor begin without the other. Test may be empty.
    """
    splits: dict[str, Split] = {}
    free: list[str] = []
    united = 0
    for group in dict.fromkeys(groups):
        known = earlier.get(group, frozenset())
        held: Split | None = next((split for split in _HELD if split in known), None)
        united += held is not None and "train" in known
        if held is not None or "train" in known:
            splits[group] = held or "train"
        else:
            free.append(group)
            place = hash_place(group)
            splits[group] = "test" if place < test else "validation" if place < test + validation else "train"
    free.sort(key=hash_place)
    if validation and len(splits) > 1 and "validation" not in splits.values() and free:
        # The one that is nearest to being held out.
        chosen = next((group for group in free if splits[group] == "train"), free[0])
        splits[chosen] = "validation"
    if len(splits) > 1 and "train" not in splits.values():
        several = list(splits.values()).count("validation") > 1
        spare = [group for group in reversed(free) if splits[group] == "test" or several]
        splits |= dict.fromkeys(spare[:1], "train")
    return Splitting(splits, len(splits) - len(free), united)


def hash_place(key: str) -> float:
    """Where a key stands between 0 and 1, the same for ever."""
    return int.from_bytes(hashlib.sha256(f"split:{key}".encode("utf-8", "surrogatepass")).digest()[:7], "big") / 2**56
