"""Records out of a JSON file of any size, one at a time, and the bad ones told apart from the good.

The file is cut at the borders of its records without being understood, and each record is then parsed by the standard
library. So a record that is not JSON, not UTF-8, too long or too deep costs itself and no other, and memory holds one
record. Streaming parsers (`ijson`) were tried for this: there the first bad byte ends the whole file, one endless
string fills the memory, halves of surrogate pairs silently become question marks, and a number of 5,000 digits raises
SystemError.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats.json_values import REST_OF_STRING, STRING, find_opener, parse
from chatbot.logs.formats.layout import Layout
from chatbot.logs.formats.source import HEAD, Limits

_FLAT = rb'(?:[^"\[\]{}]++|"' + REST_OF_STRING + rb")*+"
_INSIDE = re.compile(
    rb'(?:[^"\[\]{}]++|"' + REST_OF_STRING + rb"|\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\])*+", re.DOTALL
)
"""What can be stepped over in one go inside a record: strings, numbers, and brackets that hold no other brackets."""
_BETWEEN = re.compile(rb'["\[\]{},:]')


@dataclass(frozen=True, slots=True)
class Record:
    """`name` is the key under which it stands in an object, else empty. `place` is where it stands in the file."""

    place: str
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    place: str
    name: str
    reason: str


def read_records(stream: BufferedReader, layout: Layout, limits: Limits) -> Iterator[Record | BrokenRecord]:
    """The records of `stream`, which stands behind a byte order mark. Raises what `stream` raises."""
    if layout == "lines":
        yield from _read_lines(stream, limits)
    else:
        splitter = _Splitter(layout, limits)
        while block := stream.read(HEAD):
            yield from splitter.split(block)
            if splitter.lost:
                return
        yield from splitter.finish()


def _read_lines(stream: BufferedReader, limits: Limits) -> Iterator[Record | BrokenRecord]:
    number = 0
    while line := stream.readline(limits.record + 1):
        number += 1
        whole = line.endswith(b"\n")
        try:
            if line.strip():
                yield Record(f"line {number}", "", parse(line, limits))
        except InvalidInput as error:
            yield BrokenRecord(f"line {number}", "", error.message)
        while not whole and (rest := stream.readline(HEAD)):
            whole = rest.endswith(b"\n")


class _Splitter:
    """Cuts the file at the borders of its records, a block at a time."""

    def __init__(self, layout: Layout, limits: Limits) -> None:
        self._layout = layout
        self._limits = limits
        self._open = bytearray()
        """The brackets that are open."""
        self._entered = 0
        """How many of them are around records and not in one."""
        self._excess = 0
        """Open brackets below the limit of depth, which are counted and not kept."""
        self._in_string = False
        self._escaped = False
        self._part = bytearray()
        """The record so far, from earlier blocks."""
        self._fault = ""
        """Why this record is dropped instead of kept."""
        self._name = ""
        self._number = 0
        self._line = 1
        self.lost = False
        """The brackets do not match: nobody knows where the next record begins."""

    def split(self, block: bytes) -> Iterator[Record | BrokenRecord]:
        """The records that end in `block`."""
        start = position = 0
        if self._in_string:
            position = self._skip_string(block, 1 if self._escaped else 0)
        while not self._in_string:
            between = len(self._open) == self._entered and not self._excess
            found = _BETWEEN.search(block, position) if between else _INSIDE.match(block, position)
            at = len(block) if found is None else found.start() if between else found.end()
            if at == len(block):
                break
            sign, position = block[at], at + 1
            if sign == ord('"'):
                position = self._skip_string(block, position)
            elif sign in b"[{":
                if between and self._enters(sign):
                    self._keep(block[start:position])
                    self._drop()
                    self._entered += 1
                    self._open.append(sign)
                    start = position
                elif len(self._open) - self._entered >= self._limits.depth:
                    self._excess += 1
                    self._fault = self._fault or f"is nested more than {self._limits.depth} deep"
                else:
                    self._open.append(sign)
            elif sign == ord(","):
                yield from self._take(block[start:at])
                start = position
            elif sign == ord(":"):
                if self._open[-1:] == b"{":
                    self._keep(block[start:at])
                    self._name = self._take_name()
                    start = position
            elif self._excess:
                self._excess -= 1
            elif self._open[-1:] != find_opener(sign):
                yield self._lose("its brackets do not match, so the rest of the file is not read")
                return
            elif between:
                yield from self._take(block[start:at])
                self._entered -= 1
                self._open.pop()
                start = position
            else:
                self._open.pop()
                if not self._open:
                    yield from self._take(block[start:position])
                    start = position
        self._keep(block[start:])

    def finish(self) -> Iterator[Record | BrokenRecord]:
        """What is left at the end of the file."""
        if self._open or self._in_string:
            yield self._lose("the file ends in the middle")
        else:
            yield from self._take(b"")

    def _enters(self, sign: int) -> bool:
        if self._entered == 0:
            return self._layout != "values"
        return self._layout == "lists" and self._entered == 1 and sign == ord("[") and self._open[0] == ord("{")

    def _skip_string(self, block: bytes, position: int) -> int:
        """The position behind the string that `position` is in; it may go on in the next block."""
        if found := STRING.match(block, position):
            self._in_string = self._escaped = False
            return found.end()
        rest = len(block) - position
        self._in_string = True
        self._escaped = rest > 0 and (rest - len(block[position:].rstrip(b"\\"))) % 2 == 1
        return len(block)

    def _keep(self, piece: bytes) -> None:
        self._line += piece.count(b"\n")
        if len(self._part) + len(piece) > self._limits.record:
            self._fault = self._fault or f"is longer than {self._limits.record:,} bytes"
        if self._fault:
            self._part.clear()
        else:
            self._part += piece

    def _drop(self) -> None:
        self._part.clear()
        self._fault = ""

    def _take_name(self) -> str:
        try:
            name = parse(bytes(self._part), self._limits)
        except InvalidInput:
            name = ""
        self._drop()
        return name if isinstance(name, str) else ""

    def _take(self, piece: bytes) -> Iterator[Record | BrokenRecord]:
        """The record that ends with `piece`; nothing if there is only white space."""
        self._keep(piece)
        raw, fault, name = bytes(self._part), self._fault, self._name if self._entered < 2 else ""
        self._drop()
        if self._entered < 2:
            self._name = ""
        if not fault and not raw.strip():
            return
        if self._layout != "lists" or self._entered == 2:
            self._number += 1
        try:
            if fault:
                raise InvalidInput(fault)
            yield Record(self._place(raw), name, parse(raw, self._limits))
        except InvalidInput as error:
            yield BrokenRecord(self._place(raw), name, error.message)

    def _lose(self, reason: str) -> BrokenRecord:
        self.lost = True
        self._number += 1
        return BrokenRecord(self._place(b""), self._name, reason)

    def _place(self, raw: bytes) -> str:
        return f"record {self._number}, line {self._line - raw.lstrip().count(bytes([10]))}"
