"""Long texts in parts, cut where a reader would pause: between paragraphs, else lines, else sentences, else words.

Nothing is lost: the parts joined are the text. Where it is cut depends on the text alone, not on the pieces in which it
arrives.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

PART = 1 << 18
"""The most characters of a row, about; what is longer is cut, so that memory stays bounded."""
SECTION = 8_000
"""Characters of a section, about: some two thousand tokens, longer than what a small model sees at once."""
SMALL_SECTION = 800
"""The same where all the text is less than twenty sections."""
_SENTENCE = re.compile(r"[.!?…。！？]+[\"'”’»)\]]*\s?")
_COMBINING = 32  # marks on one letter that are looked at


def cut(pieces: Iterable[str], size: int) -> Iterator[str]:
    """Parts of `size` characters at most, or a quarter more for blank lines and for the last one; at least half."""
    held = ""
    most = size + size // 4
    for piece in pieces:
        held += piece
        at = 0
        while len(held) - at > most:
            end = _find_end(held, at, size)
            yield held[at:end]
            at = end
        held = held[at:]
    if held:
        yield held


def _find_end(text: str, start: int, size: int) -> int:
    low, high = start + size // 2, start + size
    if (gap := max(text.rfind("\n\n", low, high), text.rfind("\n\r\n", low, high))) >= 0:
        end = gap + 2
        while end < high + size // 4 and text[end] in "\r\n":
            end += 1
        return end
    if (line := text.rfind("\n", low, high)) >= 0:
        return line + 1
    ends = [match.end() for match in _SENTENCE.finditer(text, low, high)]
    if ends:
        return ends[-1]
    if (space := text.rfind(" ", low, high)) >= 0:
        return space + 1
    end = high
    while end > high - _COMBINING and unicodedata.combining(text[end]):
        end -= 1
    return end
