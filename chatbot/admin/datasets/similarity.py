"""How alike texts are: Jaccard similarity of their shingles, with candidates from MinHash and LSH.

Shingles are four characters of words, or two of scripts that set no spaces between them, where a character says as much
as half a word. MinHash with locality-sensitive hashing only proposes (Broder 1997; datasketch), and what it proposes
is compared exactly. Of pairs right at the threshold it proposes 87 of 100, of those a tenth above 99: more would cost
a comparison with thousands of unlike texts for each one.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatbot.admin.datasets.drafts import normalize
from chatbot.logs.findings import UNSPACED

Shingles = NDArray[np.uint32]
"""The hashes of a text's shingles, sorted, each once."""

_PERMUTATIONS = 128
_WORDS = 4
_SIGNS = 2
_RUNS = re.compile(rf"[{UNSPACED}]+|[^{UNSPACED}]+")


def cut_shingles(text: str) -> Shingles:
    """The shingles of a text, without regard to case, width, spaces and punctuation. Never empty."""
    found: set[str] = set()
    for match in _RUNS.finditer(normalize(text)):
        run = match[0].strip()
        size = _SIGNS if re.match(f"[{UNSPACED}]", run) else _WORDS
        found.update(run[start : start + size] for start in range(max(len(run) - size + 1, 1)))
    hashes = {zlib.crc32(shingle.encode("utf-8", "surrogatepass")) for shingle in found or {""}}
    return np.fromiter(sorted(hashes), np.uint32, len(hashes))


def unite_shingles(one: Shingles, other: Shingles) -> Shingles:
    """Those of both texts."""
    return np.union1d(one, other)


def measure_similarity(one: Shingles, other: Shingles) -> float:
    """|one ∩ other| ÷ |one ∪ other|."""
    shared = np.intersect1d(one, other, assume_unique=True).size
    return float(shared / (one.size + other.size - shared))


class Likeness:
    """A few texts that many are compared with: exactly, by looking up each shingle."""

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        self._threshold = threshold
        self._sizes: list[int] = []
        self._holders: dict[int, list[int]] = {}
        for number, text in enumerate(dict.fromkeys(texts)):
            shingles = cut_shingles(text)
            self._sizes.append(shingles.size)
            for shingle in shingles.tolist():
                self._holders.setdefault(shingle, []).append(number)

    def covers(self, text: str) -> bool:
        """Whether a text is as alike to one of the few as the threshold."""
        shingles = cut_shingles(text).tolist()
        shared = Counter(chain.from_iterable(self._holders.get(shingle, ()) for shingle in shingles))
        return any(
            count >= self._threshold * (len(shingles) + self._sizes[number] - count) for number, count in shared.items()
        )


class Neighbours:
    """Texts by their shingles, of which those alike are found without comparing all with all."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self._threshold = threshold
        # A candidate too many costs a comparison; a pair that is missed is never found.
        self._index: Any = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=(0.1, 0.9))
        self._empty: Any = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)
        self._known: dict[int, Shingles] = {}

    def take(self, number: int, shingles: Shingles) -> list[tuple[int, float]]:
        """Adds a text under a number of its own. Returns the numbers of those added before that are at least as alike
        as the threshold, and how alike; lowest first."""
        sketch = self._empty.copy()  # its permutations are made once
        sketch.update_batch(shingles.tolist())
        candidates = sorted(self._index.query(sketch))
        self._index.insert(number, sketch)
        self._known[number] = shingles
        measured = [(one, measure_similarity(shingles, self._known[one])) for one in candidates]
        return [(one, similarity) for one, similarity in measured if similarity >= self._threshold]
