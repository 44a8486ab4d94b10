"""Which beginnings are found, that sharing never mixes, and that memory is bounded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from chatbot.engine.kv_cache import can_crop, count_bytes, make_cache, share
from chatbot.engine.prefix_cache import PrefixCache

SHAPE: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
IDS = list(range(60))
OWNER = "base"


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()


def feed(model: Any, ids: list[int], cache: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids]), cache=cache, use_cache=True).logits[0, -1]
    return logits


def keep(model: Any, prefixes: PrefixCache, ids: list[int]) -> Any:
    cache = make_cache(model)
    feed(model, ids, cache)
    prefixes.put(OWNER, ids, cache)
    return cache


def make_prefixes(model: Any, sequences: int = 4, most_bytes: int = 1 << 30) -> PrefixCache:
    return PrefixCache(lambda: make_cache(model), sequences=sequences, most_bytes=most_bytes)


@pytest.mark.parametrize(
    ("prompt", "shared"),
    [
        ([*IDS, 7, 8], 60),
        (IDS, 59),  # one token is left to compute
        ([*IDS[:30], 99, 98], 30),
        ([*IDS[:5], 99, 98], 0),  # too few to matter
        ([99, *IDS], 0),
        ([3], 0),
    ],
)
def test_the_longest_common_beginning(model: Any, prompt: list[int], shared: int) -> None:
    prefixes = make_prefixes(model)
    keep(model, prefixes, [90, 91, *IDS])
    keep(model, prefixes, IDS)
    cache, found = prefixes.take(OWNER, prompt)
    assert (found, cache.get_seq_length()) == (shared, shared)
    torch.testing.assert_close(feed(model, prompt[shared:], cache), feed(model, prompt, make_cache(model)))


def test_two_that_go_on_from_one_do_not_mix(model: Any) -> None:
    prefixes = make_prefixes(model)
    original = keep(model, prefixes, IDS)
    before = [layer.keys.clone() for layer in original.layers]
    left, _ = prefixes.take(OWNER, [*IDS, 1])
    right, _ = prefixes.take(OWNER, [*IDS, 2])
    for token in range(10, 20):
        feed(model, [token], left)
        feed(model, [token + 50], right)
    assert all(torch.equal(layer.keys, keys) for layer, keys in zip(original.layers, before, strict=True))
    torch.testing.assert_close(
        feed(model, [5], left), feed(model, [*IDS, *range(10, 20), 5], make_cache(model)), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        feed(model, [5], right), feed(model, [*IDS, *range(60, 70), 5], make_cache(model)), atol=1e-5, rtol=1e-4
    )


def test_a_longer_sequence_takes_the_place_of_its_beginning(model: Any) -> None:
    prefixes = make_prefixes(model)
    keep(model, prefixes, IDS[:40])
    keep(model, prefixes, IDS)
    assert len(prefixes) == 1


def test_the_least_recently_used_goes_first(model: Any) -> None:
    prefixes = make_prefixes(model, sequences=2)
    keep(model, prefixes, IDS)
    keep(model, prefixes, IDS[::-1])
    prefixes.take(OWNER, [*IDS, 1])
    keep(model, prefixes, [*range(40, 80)])
    assert prefixes.take(OWNER, [*IDS, 1])[1] == 60
    assert prefixes.take(OWNER, [*IDS[::-1], 1])[1] == 0


def test_bytes_are_bounded(model: Any) -> None:
    one = count_bytes(keep(model, make_prefixes(model), IDS))
    assert one > 60 * 2 * 2 * 8 * 4  # tokens, keys and values, layers, head size, float32
    prefixes = make_prefixes(model, most_bytes=2 * one)
    for first in (90, 91, 92, 93):
        keep(model, prefixes, [first, *IDS[1:]])
    assert len(prefixes) == 2
    assert prefixes.count_bytes() <= 2 * one
    prefixes.clear()
    assert len(prefixes) == 0
    none = make_prefixes(model, sequences=0)
    keep(model, none, IDS)
    assert len(none) == 0


def test_a_sliding_window_serves_only_what_goes_on_where_it_is() -> None:
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=16)).eval()
    prefixes = make_prefixes(model)
    cache = keep(model, prefixes, IDS)
    assert not can_crop(cache)
    assert prefixes.take(OWNER, [*IDS[:30], 99])[1] == 0
    left, found = prefixes.take(OWNER, [*IDS, 1])
    assert found == 60
    feed(model, [9], left)
    again, _ = prefixes.take(OWNER, [*IDS, 2])
    torch.testing.assert_close(feed(model, [2], again), feed(model, [*IDS, 2], make_cache(model)), atol=1e-5, rtol=1e-4)


def test_room_to_grow_is_kept_small(model: Any) -> None:
    cache = make_cache(model)
    feed(model, IDS, cache)
    buffers = {layer.keys.untyped_storage().data_ptr() for layer in cache.layers}
    for token in range(50):
        feed(model, [token], cache)
    assert {layer.keys.untyped_storage().data_ptr() for layer in cache.layers} == buffers  # nothing was copied
    assert share(cache, 20).get_seq_length() == 20
