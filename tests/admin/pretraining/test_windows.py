"""What a step reads follows from the seed and its number, and a pass reads each window once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chatbot.admin.pretraining.windows import Windows
from tests.admin.pretraining.texts import Stream


def numbered(length: int) -> Stream:
    return Stream(np.arange(length, dtype=np.int64))


@given(st.integers(2, 400), st.integers(1, 50), st.integers(1, 5), st.integers(0, 3))
def test_every_window_is_a_piece_of_the_text(length: int, window: int, rows: int, seed: int) -> None:
    windows = Windows(numbered(length), length=window, rows=rows, seed=seed)
    for step in range(5):
        for row in windows.read(step):
            assert len(row) == min(window, length - 1) + 1
            assert np.array_equal(row, np.arange(row[0], row[0] + len(row)))


@given(st.integers(40, 400), st.integers(1, 10))
def test_a_pass_reads_no_token_twice(length: int, window: int) -> None:
    windows = Windows(numbered(length), length=window, rows=1, seed=0)
    seen = np.concatenate([windows.read(step)[0][:-1] for step in range(windows.in_pass)])
    assert len(set(seen.tolist())) == len(seen)
    assert len(seen) > length - 3 * window, "all but the edges is read"


def test_any_order_of_asking_gives_the_same() -> None:
    first = Windows(numbered(500), length=8, rows=4, seed=1)
    forward = [first.read(step) for step in range(60)]
    second = Windows(numbered(500), length=8, rows=4, seed=1)
    for step in reversed(range(60)):
        parts = [second.read(step, first=2), second.read(step, first=0, count=2)]
        assert np.array_equal(np.concatenate(parts[::-1]), forward[step])
    third = Windows(numbered(500), length=8, rows=4, seed=2)
    assert not all(np.array_equal(third.read(step), forward[step]) for step in range(3))


def test_each_pass_has_another_order() -> None:
    windows = Windows(numbered(100), length=5, rows=1, seed=0)
    passes = [[int(windows.read(turn * windows.in_pass + place)[0][0]) for place in range(windows.in_pass)]
              for turn in range(3)]  # fmt: skip
    assert passes[0] != passes[1] != passes[2]
