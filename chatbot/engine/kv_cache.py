"""The keys and values that attention remembers, kept so that a beginning can be shared without copying.

transformers' DynamicCache copies all of it for each token. The layer here writes into a buffer with room to grow, and
hands out views. A cache that was made by `share` looks at another's tensors and takes a buffer of its own at the first
token it adds: nobody ever writes into tensors that somebody else may read.

Layers that forget (a sliding window) or that fold the past into a state cannot give their beginning back; they are
copied whole, and serve only a prompt that goes on exactly where they are.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

_ROOM = 256  # tokens; a buffer grows by this or by a quarter, whichever is more


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed for us
    """One layer's keys and values, shape (batch, heads, tokens, head size), views of a larger buffer."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._key_buffer: torch.Tensor | None = None
        self._value_buffer: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends the new tokens; returns all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.get_seq_length()
        length = held + key_states.shape[-2]
        self._key_buffer = _make_room(self._key_buffer, self.keys, key_states, held, length)
        self._value_buffer = _make_room(self._value_buffer, self.values, value_states, held, length)
        self._key_buffer[..., held:length, :] = key_states
        self._value_buffer[..., held:length, :] = value_states
        self.keys = self._key_buffer[..., :length, :]
        self.values = self._value_buffer[..., :length, :]
        return self.keys, self.values

    def share(self, length: int) -> GrowingLayer:
        """A layer that holds the first `length` tokens of this one, without copying them."""
        other = GrowingLayer()
        if self.is_initialized:
            other.lazy_initialization(self.keys, self.values)
            other.keys, other.values = self.keys[..., :length, :], self.values[..., :length, :]
        return other


def make_cache(module: Any) -> Any:
    """An empty cache of the kind that the model's layers need."""
    cache = DynamicCache(config=module.config)
    # Exactly this class: those derived from it keep something else as well.
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def can_crop(cache: Any) -> bool:
    """True if any beginning of the cache can be shared."""
    return all(isinstance(layer, GrowingLayer) for layer in cache.layers)


def share(cache: Any, length: int) -> Any:
    """A cache that holds the first `length` tokens of `cache`, all of them if it cannot be cropped."""
    if not can_crop(cache):
        return copy.deepcopy(cache)
    other = copy.copy(cache)
    other.layers = [layer.share(length) for layer in cache.layers]
    return other


def count_bytes(cache: Any) -> int:
    """The memory that the cache's tensors hold, with the room to grow."""
    tensors = (tensor for layer in cache.layers for tensor in vars(layer).values() if isinstance(tensor, torch.Tensor))
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def _make_room(
    buffer: torch.Tensor | None, held: torch.Tensor, added: torch.Tensor, count: int, length: int
) -> torch.Tensor:
    """`buffer` if `length` tokens fit, else a larger one with the `count` tokens of `held` in it."""
    if buffer is not None and length <= buffer.shape[-2]:
        return buffer
    room = length + max(_ROOM, length // 4)
    larger = added.new_empty((*added.shape[:-2], room, added.shape[-1]))
    if count:
        larger[..., :count, :] = held
    return larger
