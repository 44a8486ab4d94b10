"""How the records lie in a JSON file, seen from its beginning.

A line of JSONL and a whole file on one line look the same until it is known what a record is, so the beginning is made
a whole value (cut at a comma, its brackets closed), and that is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

from chatbot.errors import InvalidInput
from chatbot.logs.formats.json_values import STRING, find_opener, parse
from chatbot.logs.formats.source import Limits

Layout = Literal["lines", "values", "members", "lists"]
"""What the records of a file are: its lines; its outermost values; the members of its outermost list or object; or the
members of the lists in its outermost object."""

_SIGN = re.compile(rb'["\[\]{},]')
_CUTS = 1000  # places where the beginning may be cut


def find_layout(head: bytes, is_record: Callable[[Any], bool], is_archive: Callable[[Any], bool]) -> Layout | None:
    """How the file that begins with `head` (without a byte order mark) is to be cut; None if it has no known form.

    `is_record` knows a record of any format by its looks, `is_archive` our own export.
    """
    begun = head.lstrip()
    value, first = _peek_value(begun)
    if begun[:1] == b"[":
        return "values" if is_record(value) else "members"
    if isinstance(value, dict):
        if is_archive(value):
            return "lists"
        if is_record(value):
            return "values" if b"\n" in first else "lines"
        if any(isinstance(member, list) and member and is_record(member[0]) for member in value.values()):
            return "lists"
        if any(isinstance(member, dict) and is_record(member) for member in value.values()):
            return "members"
    for line in begun.splitlines()[:20]:  # the first line may be the broken one
        try:
            if is_record(parse(line, Limits())):
                return "lines"
        except InvalidInput:
            continue
    return None


def _peek_value(head: bytes) -> tuple[Any, bytes]:
    """The first value in `head` and its bytes; if it is longer than `head` or broken, as much as can be made whole."""
    opened = bytearray()
    whole = b""
    cuts: list[tuple[int, bytes]] = []
    position = 0
    while not whole and (found := _SIGN.search(head, position)):
        at, position = found.span()
        sign = head[at]
        if sign == ord('"'):
            if not (string := STRING.match(head, position)):
                break
            position = string.end()
        elif sign in b"[{":
            opened.append(sign)
        elif sign == ord(","):
            cuts[_CUTS:] = [(at, bytes(opened))]
        elif opened[-1:] != find_opener(sign):
            return None, b""
        else:
            opened.pop()
            whole = b"" if opened else head[:position]
    begun = [whole] if whole else []
    while cuts:
        at, brackets = cuts[-1]
        begun.append(head[:at] + brackets[::-1].translate(bytes.maketrans(b"[{", b"]}")))
        del cuts[len(cuts) // 2 :]
    for text in begun:
        try:
            return parse(text, Limits()), whole or head
        except InvalidInput:
            continue  # a record in it is broken; before that one it may be whole
    return None, b""
