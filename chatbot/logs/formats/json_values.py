"""One JSON value out of bytes that nobody vouches for: within limits of size and depth, and fit to be stored."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats.source import Limits

# Possessive quantifiers know no way back: what a hostile file makes of them costs no more than other files.
REST_OF_STRING = rb'[^"\\]*+(?:\\.[^"\\]*+)*+"'
STRING = re.compile(REST_OF_STRING, re.DOTALL)
"""The rest of a string after its opening quote."""

_LONGEST_NUMBER = 20  # digits; a 64-bit number has 19
_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def parse(raw: bytes, limits: Limits) -> Any:
    """The value of one record. Numbers that no program can hold (NaN, 1e400) are None, and so not there.

    Raises InvalidInput that says what is wrong with it.
    """
    if len(raw) > limits.record:
        raise InvalidInput(f"is longer than {limits.record:,} bytes")
    parts = raw.count(b"[") + raw.count(b"{")
    if parts > limits.parts:
        raise InvalidInput(f"has more than {limits.parts:,} parts")
    try:
        value = _DECODER.decode(raw.decode())
        if parts > limits.depth and _measure_depth(value) > limits.depth:
            raise InvalidInput(f"is nested more than {limits.depth} deep")
        return _clean(value) if _UNSTORABLE.search(raw) else value
    except RecursionError:
        raise InvalidInput(f"is nested more than {limits.depth} deep") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"is not UTF-8 (byte {raw[error.start]:#04x})") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(f"is not JSON: {error.msg}, character {error.pos + 1}") from None


def find_opener(closer: int) -> bytes:
    """The bracket that `closer` closes."""
    return b"[" if closer == ord("]") else b"{"


def _measure_depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level:
        members = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list))
        level = [member for part in members for member in part]
        depth += 1
    return depth - 1


def _clean(value: Any) -> Any:
    """`value` without what a database refuses: halves of surrogate pairs (in UTF-8) and NUL (in PostgreSQL)."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_clean(member) for member in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(member) for key, member in value.items()}
    return value


def _read_float(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _read_integer(text: str) -> int | None:
    return int(text) if len(text) <= _LONGEST_NUMBER else None


def _read_constant(text: str) -> None:
    """NaN and Infinity are no JSON, but many programs write them."""


_DECODER = json.JSONDecoder(parse_float=_read_float, parse_int=_read_integer, parse_constant=_read_constant)
