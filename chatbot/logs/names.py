"""The names of people in text, from a list that somebody wrote.

A name matches as whole words, whatever the case, with any white space between its parts. In scripts that set no spaces
it matches anywhere. Words are looked up in a dictionary first, so that ten thousand names cost no more than ten.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from chatbot.errors import InvalidInput
from chatbot.logs.findings import LETTER, UNSPACED, Span, flatten

_MARKS = "\u0300-\u036f"
_WORD = re.compile(rf"(?:{LETTER}|[{_MARKS}])+|[{UNSPACED}]")
_WITHIN_WORD = re.compile(rf"(?:{LETTER}|[{_MARKS}])(?:{LETTER}|[{_MARKS}])|[{UNSPACED}][{_MARKS}]")
_LONGEST = 200
_VARIANTS = {"'": "['’ʼ`]", "’": "['’ʼ`]", "-": "[-‐‑]"}


class NameFinder:
    """Finds `names`; a longer one is tried before a shorter one that begins alike."""

    def __init__(self, names: Sequence[str]) -> None:
        self._by_start: dict[str, list[str]] = {}
        self._compiled: dict[str, re.Pattern[str]] = {}  # when its first word is met: most names of a list never are
        for name in sorted({" ".join(_compose(name).split()) for name in names}, key=len, reverse=True):
            first = _WORD.search(name)
            if first:
                self._by_start.setdefault(first.group().casefold(), []).append(name[first.start() :])

    def find(self, text: str) -> Iterator[Span]:
        if not self._by_start:
            return
        for word in _WORD.finditer(text):
            key = word.group().casefold()
            for name in self._by_start.get(key if key.isascii() else _compose(key), ()):
                if name not in self._compiled:
                    self._compiled[name] = _compile(name)
                match = self._compiled[name].match(text, word.start())
                if match and _ends_word(text, match.end()):
                    yield match.span()
                    break


def _compose(name: str) -> str:
    return unicodedata.normalize("NFC", flatten(name))


def _compile(name: str) -> re.Pattern[str]:
    parts = []
    for character in name:
        apart = unicodedata.normalize("NFD", character)
        if character == " ":
            parts.append(r"\s+")
        elif apart != character:
            parts.append(f"(?:{re.escape(character)}|{re.escape(apart)})")
        else:
            parts.append(_VARIANTS.get(character, re.escape(character)))
    return re.compile("".join(parts), re.IGNORECASE)


def _ends_word(text: str, end: int) -> bool:
    return not _WITHIN_WORD.match(text, end - 1)


def read_names(path: Path) -> list[str]:
    """The names in a UTF-8 file, one a line; blank lines and those that begin with # do not count.

    Raises InvalidInput with the file and line for bytes that are not UTF-8, control characters, a line too long for a
    name, and a single character, which would match everywhere.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    names = []
    for number, line in enumerate(lines, 1):
        place = f"{path}, line {number}"
        try:
            name = line.decode().strip()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{place}: not UTF-8.", hint="Save the file as UTF-8, one name a line.") from error
        if not name or name.startswith("#"):
            continue
        if any(unicodedata.category(character) == "Cc" and character != "\t" for character in name):
            raise InvalidInput(f"{place}: a control character.", hint="One name a line, as text.")
        if len(name) > _LONGEST:
            raise InvalidInput(f"{place}: longer than {_LONGEST} characters.", hint="One name a line.")
        if sum(character.isalpha() for character in name) < 2:
            raise InvalidInput(f"{place}: a name needs two letters.", hint="One character would match everywhere.")
        names.append(name)
    return names
