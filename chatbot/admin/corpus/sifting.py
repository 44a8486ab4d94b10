"""Which parts of a document stay: cleaned, long enough, in a wanted language, worth learning, not there before.

Each step counts what it drops under its own name, in parts and in characters, so that nothing goes silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from chatbot.admin.corpus.cleaning import clean, strip_gutenberg
from chatbot.admin.corpus.cutting import cut
from chatbot.admin.corpus.duplicates import Duplicates
from chatbot.admin.corpus.languages import find_language
from chatbot.admin.corpus.quality import judge
from chatbot.admin.corpus.request import CorpusRequest

_CHINESE = {"yue": "zh", "wuu": "zh"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a document. `number` counts from 1; `only` is true if the document has no other."""

    text: str
    number: int
    only: bool
    language: str
    dropped: str = ""
    """The step that dropped it."""


@dataclass
class Sieve:
    """Sifts one document after the other; `duplicates` is None if all are to be kept."""

    request: CorpusRequest
    duplicates: Duplicates | None
    dropped: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    """Dropped, by step."""
    gutenberg: int = 0
    """Documents whose licence of Project Gutenberg was taken off."""

    def sift(self, pieces: Iterable[str], size: int, language: str) -> Iterator[Part]:
        """The parts of a document, of about `size` characters; also those that are dropped, since the first one places
        all."""
        raw = self.request.raw
        whole = pieces if raw else strip_gutenberg(pieces, self._count_gutenberg)
        for number, text, last in _number(cut(whole, size)):
            only = number == 1 and last
            if not raw:
                text = clean(text, first=number == 1, last=last)  # noqa: PLW2901  the text as it goes on
                if not language and text.strip():
                    language = find_language(text)
            reason = self._judge(text, only, language)
            if reason:
                self.dropped[reason] += 1
                self.characters[reason] += len(text)
            yield Part(text, number, only, language, reason)

    def describe(self) -> dict[str, Any]:
        """For the manifest's counts."""
        return {
            name: {"parts": count, "characters": self.characters[name]} for name, count in sorted(self.dropped.items())
        }

    def _count_gutenberg(self) -> None:
        self.gutenberg += 1

    def _judge(self, text: str, only: bool, language: str) -> str:
        if not text if self.request.raw else not text.strip():
            return "empty"
        if self.request.raw:
            return ""
        if only and len(text) < self.request.min_characters:
            return "too short"
        if self.request.languages and _CHINESE.get(language, language) not in self.request.languages:
            return "language"
        if self.request.quality and (rule := judge(text)):
            return f"quality: {rule}"
        if self.duplicates is not None and (kind := self.duplicates.take(text)):
            return f"duplicate: {kind}"
        return ""


def _number(parts: Iterator[str]) -> Iterator[tuple[int, str, bool]]:
    """Each part with its number, and whether it is the last."""
    held = next(parts, None)
    number = 1
    for part in parts:
        assert held is not None
        yield number, held, False
        held, number = part, number + 1
    if held is not None:
        yield number, held, True
