"""The KV caches of the last conversations, so that a next turn computes only what is new.

A cache is taken out by the request that extends it, which owns it alone until it puts it back: two requests with the
same beginning can never write into the same tensors. When a request shares only the beginning of a sequence (a reply
made anew, an edited question, a common system prompt), that beginning is copied and the original stays. Bounded by a
number of sequences and by bytes; the least recently used goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import torch

_LEAST_SHARED = 16  # tokens; below this a copy saves nothing
_LOST_TAIL = 64  # tokens; a cache is moved rather than copied if cropping it throws away no more than this


class PrefixCache:
    """Sequences of token ids with the model's cache for each. Used from the scheduler's thread only."""

    def __init__(self, make: Callable[[], Any], *, sequences: int, most_bytes: int) -> None:
        self._make = make
        self._sequences = sequences
        self._most_bytes = most_bytes
        self._entries: OrderedDict[int, tuple[list[int], Any]] = OrderedDict()
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, prompt: Sequence[int]) -> tuple[Any, int]:
        """A cache that the caller owns, and how many of the prompt's tokens it holds: 0 ≤ n < len(prompt)."""
        best, shared = None, 0
        for number, (ids, cache) in self._entries.items():
            length = min(_count_common(ids, prompt), len(prompt) - 1)
            if length > shared and (length == len(ids) or can_crop(cache)):
                best, shared = number, length
        if best is None or shared < _LEAST_SHARED:
            return self._make(), 0
        ids, cache = self._entries[best]
        lost = len(ids) - shared
        if lost <= _LOST_TAIL:
            del self._entries[best]
            if lost:
                cache.crop(-lost)
            return cache, shared
        self._entries.move_to_end(best)
        return _copy(cache, self._make(), shared), shared

    def put(self, ids: Sequence[int], cache: Any) -> None:
        """Keeps `cache`, which holds exactly a beginning of `ids`; its caller must not use it any more."""
        held = cache.get_seq_length()
        if not self._sequences or held < _LEAST_SHARED or held > len(ids):
            return
        kept = list(ids[:held])
        for number, (other, _) in list(self._entries.items()):
            if len(other) <= held and other == kept[: len(other)]:
                del self._entries[number]  # the longer one serves for it too
        self._entries[next(self._numbers)] = (kept, cache)
        while len(self._entries) > self._sequences or (self._entries and self.count_bytes() > self._most_bytes):
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything, when memory is short."""
        self._entries.clear()

    def count_bytes(self) -> int:
        """The memory that the kept tensors hold, buffers included."""
        return sum(_count_bytes(cache) for _, cache in self._entries.values())


def can_crop(cache: Any) -> bool:
    """True if each layer keeps every token, so that the end can be cut off. A sliding window has forgotten the
    tokens before it, and a recurrent state cannot be unrolled."""
    from transformers.cache_utils import DynamicLayer

    return all(isinstance(layer, DynamicLayer) and not layer.is_sliding for layer in cache.layers) and bool(
        cache.layers
    )


def _count_common(left: Sequence[int], right: Sequence[int]) -> int:
    length = min(len(left), len(right))
    if left[:length] == right[:length]:
        return length
    return next(place for place in range(length) if left[place] != right[place])


def _copy(source: Any, target: Any, length: int) -> Any:
    """`target`, an empty cache, filled with the first `length` tokens of `source`."""
    with torch.inference_mode():
        for number, layer in enumerate(source.layers):
            target.update(layer.keys[..., :length, :].clone(), layer.values[..., :length, :].clone(), number)
    return target


def _count_bytes(cache: Any) -> int:
    total = 0
    for layer in cache.layers:
        for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None)):
            if isinstance(tensor, torch.Tensor):
                total += tensor.untyped_storage().nbytes()
    return total
