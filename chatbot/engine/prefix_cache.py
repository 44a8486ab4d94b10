"""The KV caches of the last conversations, so that a next turn computes only what is new.

What is kept here is never written again: a request gets a cache that shares the longest common beginning and grows on
its own, so that any number of requests may go on from the same conversation at once. Bounded by a number of sequences
and by bytes; the least recently used goes first.

A base model and its adapters keep theirs in one cache, within one bound. The same tokens have other keys and values in
each of them, so every sequence belongs to the model that computed it, and only that one gets it back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock
from typing import Any

from chatbot.engine.kv_cache import can_crop, count_bytes, share

_LEAST_SHARED = 8  # tokens; fewer are computed faster than found


class PrefixCache:
    """Sequences of token ids with the model's cache for each.

    Sequences come and go in the scheduler's thread; a model that leaves the memory is forgotten from another.
    """

    def __init__(self, make: Callable[[], Any], *, sequences: int, most_bytes: int) -> None:
        """`make` gives an empty cache."""
        self._make = make
        self._sequences = sequences
        self._most_bytes = most_bytes
        self._entries: OrderedDict[int, tuple[str, list[int], Any]] = OrderedDict()
        self._numbers = count()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, owner: str, prompt: Sequence[int]) -> tuple[Any, int]:
        """A cache for the caller to extend, and how many of the prompt's tokens it holds: 0 ≤ n < len(prompt).

        `owner` tells the models apart that share this cache. The last token is always left to compute, because what
        comes next is drawn from its output.
        """
        best, shared = -1, 0
        with self._lock:
            for number, (model, ids, cache) in self._entries.items():
                if model != owner:
                    continue
                length = min(_count_common(ids, prompt), len(prompt) - 1)
                if length > shared and (length == len(ids) or can_crop(cache)):
                    best, shared = number, length
            if shared < _LEAST_SHARED:
                return self._make(), 0
            self._entries.move_to_end(best)
            return share(self._entries[best][2], shared), shared

    def put(self, owner: str, ids: Sequence[int], cache: Any) -> None:
        """Keeps `cache`, which `owner` computed and which holds a beginning of `ids`; nobody may extend it any more."""
        held = cache.get_seq_length()
        if not self._sequences or held < _LEAST_SHARED or held > len(ids):
            return
        kept = list(ids[:held])
        with self._lock:
            if can_crop(cache):  # then it serves for every beginning of itself too
                for number, (model, other, _) in list(self._entries.items()):
                    if model == owner and other == kept[: len(other)]:
                        del self._entries[number]
            self._entries[next(self._numbers)] = (owner, kept, cache)
            while len(self._entries) > self._sequences or (self._entries and self.count_bytes() > self._most_bytes):
                self._entries.popitem(last=False)

    def forget(self, owner: str) -> None:
        """Lets go what one model computed."""
        with self._lock:
            for number, (model, _, _) in list(self._entries.items()):
                if model == owner:
                    del self._entries[number]

    def clear(self) -> None:
        """Forgets everything, when memory is short."""
        with self._lock:
            self._entries.clear()

    def count_bytes(self) -> int:
        """The memory that is kept."""
        return sum(count_bytes(cache) for _, _, cache in self._entries.values())


def _count_common(left: Sequence[int], right: Sequence[int]) -> int:
    length = min(len(left), len(right))
    if left[:length] == right[:length]:
        return length
    return next(place for place in range(length) if left[place] != right[place])
