"""Which places of the text a step reads.

The text is one long stream of tokens. A pass over it cuts it into windows, from a beginning that is drawn anew for each
pass, so that no token always stands at the edge of a window; the windows are read in a random order, each once. What
a step reads follows from the seed and its number alone: a run that is resumed, or done by several processes, needs to
remember nothing.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Tokens(Protocol):
    """A stream of tokens that may be larger than memory."""

    def __len__(self) -> int: ...

    def window(self, start: int, length: int) -> np.ndarray:
        """int64, shape (length,)."""
        ...


class Windows:
    """`rows` windows of `length` tokens, and the one token after each, for every step."""

    def __init__(self, tokens: Tokens, *, length: int, rows: int, seed: int) -> None:
        """`length` is less where the text is shorter. Raises ValueError if it has fewer than two tokens."""
        if len(tokens) < 2:
            raise ValueError("a text of less than two tokens has nothing to predict")
        self._tokens = tokens
        self.length = min(length, len(tokens) - 1)
        self.rows = rows
        self._seed = seed
        whole = (len(tokens) - 1) // self.length
        # One window less leaves room for the beginning to move by up to a window.
        self.in_pass = max(1, whole - 1)
        self._room = len(tokens) - 1 - self.in_pass * self.length
        self._order: tuple[int, int, np.ndarray] = (-1, 0, np.empty(0, np.int64))

    def read(self, step: int, *, first: int = 0, count: int | None = None) -> np.ndarray:
        """Of the step's rows those from `first` on: int64, shape (count, length + 1)."""
        count = self.rows - first if count is None else count
        begin = step * self.rows + first
        return np.stack([self._read_row(row) for row in range(begin, begin + count)])

    def _read_row(self, row: int) -> np.ndarray:
        turn, place = divmod(row, self.in_pass)
        if self._order[0] != turn:
            numbers = np.random.default_rng((self._seed, turn))
            begin = int(numbers.integers(self._room + 1))
            self._order = (turn, begin, numbers.permutation(self.in_pass))
        _, begin, order = self._order
        return self._tokens.window(begin + int(order[place]) * self.length, self.length + 1)
