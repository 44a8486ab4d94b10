"""The length of a prompt's chunks."""

from __future__ import annotations

from chatbot.engine.generation import Pace


def test_slow_passes_do_not_shorten_a_chunk_to_single_tokens() -> None:
    """A pass of 8 tokens over a long cache costs what one of 1 token costs: shorter chunks would only add passes."""
    pace = Pace()
    for _ in range(20):
        pace.learn(pace.chunk, 0.5)
    assert pace.chunk == 16


def test_quick_passes_make_longer_chunks() -> None:
    pace = Pace()
    before = pace.chunk
    pace.learn(pace.chunk, 0.01)
    assert pace.chunk == 4 * before
