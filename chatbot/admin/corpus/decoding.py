"""From bytes to text: which encoding a file is in, and its text piece by piece.

UTF-8 is read strictly, since one wrong byte says that it is something else. Marks at the beginning and the zeros of
UTF-16 are known; all else is guessed by charset-normalizer from a sample, and told. A file is looked at to its end
before its first piece is given out: nobody learns half of a file that turns out to be unreadable.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

from chatbot.errors import InvalidInput

Open = Callable[[], AbstractContextManager[IO[bytes]]]
"""Opens the same bytes from their beginning, as often as it is called."""

HEAD = 1 << 16
_BLOCK = 1 << 18
_SAMPLE = 1 << 18  # bytes that a guess is made from
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = re.compile(rb"[\x01-\x06\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.01  # of a text's bytes
_MULTIBYTE = re.compile(rb"[\xc3-\xf4][\x80-\xbf]")
HINT = "Convert it with `iconv -f ENCODING -t utf-8`, or name it with --encoding."


@dataclass(frozen=True, slots=True)
class Encoding:
    name: str
    """As Python's codecs know it."""
    guessed: bool = False


def find_encoding(open_: Open, wanted: str = "") -> Encoding:
    """The encoding in which the whole of a file can be read; `wanted` is tried alone. Raises InvalidInput with the
    reason, which completes “FILE …”, for what is binary or in no encoding that can be told."""
    with open_() as file:
        head = file.read(HEAD)
    if wanted:
        found = Encoding(wanted)
    elif marked := next((name for mark, name in _MARKS if head.startswith(mark)), ""):
        found = Encoding(marked)
    elif b"\0" in head:
        found = Encoding(_find_wide(head), guessed=True)
    elif len(_CONTROLS.findall(head)) > _MOST_CONTROLS * len(head):
        raise InvalidInput("is binary")
    else:
        found = Encoding("utf-8")
    place = _find_fault(open_, found.name)
    if place is None:
        return found
    if found.name != "utf-8":
        raise InvalidInput(f"is not {found.name}: byte {place:,}", hint=HINT)
    return _guess(open_, place)


def decode(open_: Open, encoding: Encoding) -> Iterator[str]:
    """The text in pieces of about a quarter of a million characters, line ends as they are. Raises InvalidInput."""
    decoder = codecs.getincrementaldecoder(encoding.name)("strict")
    try:
        with open_() as file:
            while block := file.read(_BLOCK):
                if text := decoder.decode(block):
                    yield text
            if text := decoder.decode(b"", final=True):
                yield text
    except UnicodeError:
        raise InvalidInput("changes while it is read") from None


def _find_wide(head: bytes) -> str:
    """UTF-16 without a mark, by where the zeros are. Raises InvalidInput."""
    half = len(head) // 2
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd > 0.3 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.3 * half and odd < 0.05 * half:
        return "utf-16-be"
    raise InvalidInput("is binary")


def _find_fault(open_: Open, name: str) -> int | None:
    """Near which byte a file stops being in an encoding, None if it is to its end."""
    decoder = codecs.getincrementaldecoder(name)("strict")
    done = 0
    with open_() as file:
        while True:
            block = file.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as error:
                return done + (error.start if isinstance(error, UnicodeDecodeError) else 0)
            if "\0" in text:
                raise InvalidInput("is binary")
            if not block:
                return None
            done += len(block)


def _guess(open_: Open, place: int) -> Encoding:
    """The encoding of what is not UTF-8 from byte `place` on. Raises InvalidInput."""
    from charset_normalizer import from_bytes

    with open_() as file:
        start = max(place - _SAMPLE // 2, 0)
        for _ in range(start // _BLOCK):
            file.read(_BLOCK)
        file.read(start % _BLOCK)
        sample = file.read(_SAMPLE)
    faults = len(sample.decode("utf-8", "replace").split("\ufffd")) - 1
    if len(_MULTIBYTE.findall(sample)) > 4 * faults:
        raise InvalidInput(
            f"is UTF-8 with damage at byte {place:,}", hint="`iconv -c -f utf-8 -t utf-8` takes the damage out."
        )
    best = from_bytes(sample).best()
    if best is None or best.encoding in {"ascii", "utf_8"}:
        raise InvalidInput(f"is in an unknown encoding: byte {place:,} is not UTF-8", hint=HINT)
    found = Encoding(codecs.lookup(best.encoding).name, guessed=True)
    if _find_fault(open_, found.name) is not None:
        raise InvalidInput(f"is in an unknown encoding: byte {place:,} is not UTF-8", hint=HINT)
    return found
