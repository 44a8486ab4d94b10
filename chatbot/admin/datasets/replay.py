"""General rows among the new ones, so that a model that learns a few things does not forget the many others.

A few are held out by the same hash as all else, below those of the dataset, so that a comparison can tell what training
cost of what was known before. The others are there for train, which gets the share that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatbot.admin.datasets.splitting import hash_place
from chatbot.files import package_folder

_FEWEST_HELD = 3


def find_replay_file(chosen: Path | None) -> Path:
    """The file of general rows: `chosen`, or the small one of ours."""
    return chosen or package_folder("data") / "replay" / "general.jsonl"


def count_wanted(share: float, others: int) -> int:
    """How many rows make up `share` of a train split with `others` rows of its own."""
    return round(others * share / (1 - share))


def count_held(share: float, others: int) -> int:
    """How many of those that are held out stand beside `others`: the same share, but enough to see something."""
    return max(count_wanted(share, others), _FEWEST_HELD) if others else 0


def choose_some(keys: Sequence[str], most: int, seed: int) -> list[int]:
    """The places of `most` of `keys`, in order, chosen by a hash: with more keys nearly the same are chosen again."""
    ranked = sorted(range(len(keys)), key=lambda place: (hash_place(f"{seed}:{keys[place]}"), place))
    return sorted(ranked[:most])
