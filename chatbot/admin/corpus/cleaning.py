"""Text in one form: NFC, line ends as \\n, no control characters, no trailing blanks, two blank lines at most.

Words, punctuation, indents and case stay: a model should write as people do. Project Gutenberg's licence is taken off
where its marks stand around the text, since thousands of books repeat it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

_MARK = r"^\*{3} ?%s OF (?:THE|THIS) PROJECT GUTENBERG[^\n]*\n?"
_START = re.compile(_MARK % "START", re.MULTILINE)
_END = re.compile(_MARK % "END", re.MULTILINE)
_HEAD = 1 << 16  # characters in which a beginning is looked for
_MOST_MARK = 200  # characters; the words that make a line a mark are fewer
_BLANKS = re.compile(r"\n{4,}")

# Controls, and what only steers how a text is shown: soft hyphens, byte order marks, halves of surrogate pairs.
_DROPPED = [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xD800, 0xE000)]
_TABLE: dict[int, str | None] = dict.fromkeys(_DROPPED)
_TABLE |= {ord(sign): "\n" for sign in "\n\x0b\x0c\x85\u2028\u2029"}
_TABLE |= {0x09: "\t"}


def clean(text: str, *, first: bool = True, last: bool = True) -> str:
    """A part of a document in one form; the first part begins and the last ends with what is no blank line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_TABLE)
    *lines, end = unicodedata.normalize("NFC", text).split("\n")
    text = "\n".join([*(line.rstrip() for line in lines), end])
    text = _BLANKS.sub("\n\n\n", text)
    if first:
        text = text.lstrip("\n")
    return text.rstrip() if last else text


def strip_gutenberg(pieces: Iterable[str], on_found: Callable[[], object]) -> Iterator[str]:
    """The text between the marks of Project Gutenberg, all of it if its beginning has none; `on_found` hears of one."""
    rest = iter(pieces)
    held = ""
    for piece in rest:
        held += piece
        if len(held) >= _HEAD:
            break
    start = _START.search(held)
    if start is None:
        yield held
        yield from rest
        return
    on_found()
    rest = chain([held[start.end() :]], rest)
    held = ""
    inside = False  # a line whose beginning is passed on already, so no mark begins where the next piece does
    for piece in rest:
        if inside:
            done = piece.find("\n") + 1 or len(piece)
            yield piece[:done]
            inside = not piece[:done].endswith("\n")
            piece = piece[done:]  # noqa: PLW2901  # what is left begins a line
        held += piece
        if end := _END.search(held):
            yield held[: end.start()]
            return
        whole = held.rfind("\n") + 1
        if whole < len(held) and not _may_become_mark(held[whole:]):
            whole, inside = len(held), True
        yield held[:whole]
        held = held[whole:]
    yield held


def _may_become_mark(line: str) -> bool:
    """Whether a line that is cut off by the end of a piece may go on as a mark; all others are not waited for."""
    return len(line) < _MOST_MARK and (line.startswith("***") or "***".startswith(line))
