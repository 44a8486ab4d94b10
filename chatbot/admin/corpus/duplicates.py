"""Exact and near duplicates among more texts than memory holds.

A text is cut into shingles of five words (a sign of a script without spaces counts as a word), of which datasketch's
MinHash makes a sketch of 128 numbers. Texts that agree in all numbers of one of the sketch's bands are compared by
their whole sketches, which estimates the Jaccard similarity of their shingles with a standard error of 0.04 or less
(Broder 1997; Lee et al. 2022, arXiv:2107.06499, whose five words and 0.8 these are). Bands, sketches and hashes stand
in a temporary SQLite file: 2 KB for each text, whatever its length.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatbot.logs.findings import UNSPACED

_PERMUTATIONS = 128
_ROWS = 8  # numbers in a band: a pair that is 0.8 alike agrees in one of 16 bands in 95 of 100 cases, one of 0.5 in 6
_WORDS = 5
_CHUNK = 4096  # shingles that are sketched at once: 4 MB of products
_CACHE = 16 << 10  # KiB of the file that SQLite keeps in memory
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_SPACED_WORD = re.compile(r"\w+")  # the same where there is none of those signs, and faster
_DENSE = re.compile(f"[{UNSPACED}]")
_MOST_CANDIDATES = 50  # of one band; in a set of thousands of forms each would be compared with all

SCHEMA = """
PRAGMA journal_mode=OFF;
PRAGMA synchronous=OFF;
PRAGMA locking_mode=EXCLUSIVE;
CREATE TABLE text(sha BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE sketch(number INTEGER PRIMARY KEY, numbers BLOB);
CREATE TABLE band(hash INTEGER, number INTEGER, PRIMARY KEY(hash, number)) WITHOUT ROWID;
"""


class Duplicates:
    """Remembers texts. Raises sqlite3.Error if the disk is full."""

    def __init__(self, path: Path, near: float) -> None:
        """`path` is a file to make; from the similarity `near` on two texts are one, above 1 only if they are equal."""
        self._near = near
        self._count = 0
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.executescript(SCHEMA)
        self._file.execute(f"PRAGMA cache_size=-{_CACHE}")
        self._file.execute("BEGIN")
        self._empty: Any = None
        if near <= 1:
            from datasketch import MinHash

            self._empty = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=int)

    def close(self) -> None:
        self._file.close()

    def take(self, text: str) -> str:
        """`exact` or `near` if a text before was the same or nearly, else nothing, and the text is remembered."""
        sha = hashlib.sha256(text.strip().encode()).digest()
        if not self._file.execute("INSERT OR IGNORE INTO text VALUES (?)", (sha,)).rowcount:
            return "exact"
        if self._empty is None:
            return ""
        sketch = self._sketch(text)
        bands = [
            int.from_bytes(hashlib.blake2b(bytes([place]) + band.tobytes(), digest_size=8).digest(), "big", signed=True)
            for place, band in enumerate(sketch.reshape(-1, _ROWS))
        ]
        for other in self._find_candidates(bands):
            if float(np.mean(sketch == other)) >= self._near:
                return "near"
        self._count += 1
        self._file.execute("INSERT INTO sketch VALUES (?, ?)", (self._count, sketch.tobytes()))
        self._file.executemany("INSERT OR IGNORE INTO band VALUES (?, ?)", [(one, self._count) for one in bands])
        return ""

    def _find_candidates(self, bands: list[int]) -> list[NDArray[np.uint64]]:
        found: set[int] = set()
        for band in bands:
            query = "SELECT number FROM band WHERE hash = ? ORDER BY number LIMIT ?"
            found.update(number for (number,) in self._file.execute(query, (band, _MOST_CANDIDATES)))
        query = "SELECT numbers FROM sketch WHERE number = ?"
        return [
            np.frombuffer(self._file.execute(query, (number,)).fetchone()[0], np.uint64) for number in sorted(found)
        ]

    def _sketch(self, text: str) -> NDArray[np.uint64]:
        shingles = cut_shingles(text)
        sketch = self._empty.copy()  # its permutations are made once
        for start in range(0, len(shingles), _CHUNK):
            sketch.update_batch(shingles[start : start + _CHUNK].tolist())
        return np.asarray(sketch.hashvalues, np.uint64)


def cut_shingles(text: str) -> NDArray[np.uint32]:
    """The hashes of each five words that follow each other, without case and punctuation; of all words if they are
    fewer. Each once, sorted, never empty."""
    pattern = _WORD if _DENSE.search(text) else _SPACED_WORD
    words = pattern.findall(text.casefold()) or [text]
    known = {word: zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in set(words)}
    hashes = np.array([known[word] for word in words], np.uint64)
    size = min(_WORDS, len(hashes))
    mixed = np.full(len(hashes) - size + 1, size, np.uint64)
    for place in range(size):  # modulo 2^64, which is meant
        mixed = (mixed ^ hashes[place : place + len(mixed)]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return np.unique((mixed >> np.uint64(32)).astype(np.uint32))
