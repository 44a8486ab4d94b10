"""What a document is before it is one: a source whose text can be read as often as it is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from chatbot.text import printable_line

_MOST_NAMED = 50
_MOST_KINDS = 200
_OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Draft:
    """`read` gives the text from its beginning, in pieces."""

    source: str
    read: Callable[[], Iterator[str]]
    licence: str = ""
    language: str = ""
    conversation: str = ""
    messages: tuple[str, ...] = ()
    origin: str = ""
    """The file or collection that it is counted under; empty is `source`."""

    @classmethod
    def of_text(cls, source: str, text: str, **more: Any) -> Draft:
        return cls(source, lambda: iter([text]), **more)


def count_in(counts: Counter[str], name: str, number: int = 1) -> None:
    """Counts under a name; when there are too many names, under one for all others, so that memory stays bounded."""
    counts[name if name in counts or len(counts) < _MOST_KINDS else _OTHERS] += number


def count_out(counts: Any, name: str, number: int) -> dict[str, int]:
    """The counts of `count_in`, of which anything may have become on the disk, less `number` of a name."""
    known = {key: value for key, value in counts.items() if isinstance(value, int)} if isinstance(counts, dict) else {}
    name = name if name in known else _OTHERS
    return {
        key: value - number if key == name else value for key, value in known.items() if key != name or value > number
    }


@dataclass
class Intake:
    """What was read, and what could not be."""

    files: int = 0
    documents: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    """Files and lines, by reason."""
    named: list[str] = field(default_factory=list)
    """The first of them by name."""
    _lines: set[tuple[str, str]] = field(default_factory=set)
    encodings: Counter[str] = field(default_factory=Counter)
    """Files that were not in UTF-8."""

    def pass_over(self, name: str, reason: str) -> None:
        """`reason` is counted up to its first colon."""
        count_in(self.passed_over, printable_line(reason.partition(":")[0], 80))
        self._name(f"{name} {reason}")

    def pass_over_line(self, name: str, number: int, reason: str) -> None:
        """The first line of a file is named for each reason; all are counted."""
        count_in(self.passed_over, reason)
        if (name, reason) not in self._lines:
            self._lines.add((name, reason))
            self._name(f"{name}, line {number:,}: {reason}, and others like it are not named")

    def _name(self, told: str) -> None:
        if len(self.named) < _MOST_NAMED:
            self.named.append(printable_line(told, 300))

    def describe(self) -> dict[str, Any]:
        """For the manifest's counts."""
        told: dict[str, Any] = {"files": self.files, "documents": self.documents}
        for name, counts in (("passed_over", self.passed_over), ("encodings", self.encodings)):
            if counts:
                told[name] = dict(sorted(counts.items()))
        return told | ({"named": self.named} if self.named else {})
