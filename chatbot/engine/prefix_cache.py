"""The KV caches of the last conversations, so that a next turn computes only what is new.

What is kept here is never written again: a request gets a cache that shares the longest common beginning and grows on
its own, so that any number of requests may go on from the same conversation at once. Bounded by a number of sequences
and by bytes; the least recently used goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from chatbot.engine.kv_cache import can_crop, count_bytes, share

_LEAST_SHARED = 8  # tokens; fewer are computed faster than found


class PrefixCache:
    """Sequences of token ids with the model's cache for each. Used from the scheduler's thread only."""

    def __init__(self, make: Callable[[], Any], *, sequences: int, most_bytes: int) -> None:
        """`make` gives an empty cache."""
        self._make = make
        self._sequences = sequences
        self._most_bytes = most_bytes
        self._entries: OrderedDict[int, tuple[list[int], Any]] = OrderedDict()
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, prompt: Sequence[int]) -> tuple[Any, int]:
        """A cache for the caller to extend, and how many of the prompt's tokens it holds: 0 ≤ n < len(prompt).

        The last token is always left to compute, because what comes next is drawn from its output.
        """
        best, shared = -1, 0
        for number, (ids, cache) in self._entries.items():
            length = min(_count_common(ids, prompt), len(prompt) - 1)
            if length > shared and (length == len(ids) or can_crop(cache)):
                best, shared = number, length
        if shared < _LEAST_SHARED:
            return self._make(), 0
        self._entries.move_to_end(best)
        return share(self._entries[best][1], shared), shared

    def put(self, ids: Sequence[int], cache: Any) -> None:
        """Keeps `cache`, which holds a beginning of `ids`; its caller must not extend it any more."""
        held = cache.get_seq_length()
        if not self._sequences or held < _LEAST_SHARED or held > len(ids):
            return
        kept = list(ids[:held])
        if can_crop(cache):  # then it serves for every beginning of itself too
            for number, (other, _) in list(self._entries.items()):
                if other == kept[: len(other)]:
                    del self._entries[number]
        self._entries[next(self._numbers)] = (kept, cache)
        while len(self._entries) > self._sequences or (self._entries and self.count_bytes() > self._most_bytes):
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything, when memory is short."""
        self._entries.clear()

    def count_bytes(self) -> int:
        """The memory that is kept."""
        return sum(count_bytes(cache) for _, cache in self._entries.values())


def _count_common(left: Sequence[int], right: Sequence[int]) -> int:
    length = min(len(left), len(right))
    if left[:length] == right[:length]:
        return length
    return next(place for place in range(length) if left[place] != right[place])
