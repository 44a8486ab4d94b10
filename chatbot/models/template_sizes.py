"""What a template's operations would make, told before they make it.

A few characters of a template can ask for a text of any size: `'x'.center(10 ** 9)`, `'%999999999d' % 1`, `a ~ a` forty
times over, `replace`, `join`, a list that holds itself twice over, forty deep. Each function here gives an upper bound,
in characters, of what one operation is about to make; the environment holds it against its budget. An item of a list
counts as ITEM characters, which is about the memory that it takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2.exceptions import SecurityError

MAX_TEXT = 1 << 24  # characters of one text
ITEM = 8
_MAX_WIDTH = 4096  # what a text may be padded or indented to
_MAX_BITS = 1 << 16  # of a whole number
_MAX_JSON_INDENT = 16
_WIDTH_METHODS = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes"})
_WIDTH_FILTERS = frozenset({"center", "indent", "batch", "slice", "round", "tojson"})
# How many characters one can become: "ß" is "SS" in capitals, '"' is "&#34;", and "%F0%9F%8E%89" is one emoji.
_GROWTH = {
    "upper": 3,
    "title": 3,
    "capitalize": 3,
    "escape": 6,
    "e": 6,
    "forceescape": 6,
    "urlencode": 12,
    "tojson": 12,
}
_TEXT_FILTERS = frozenset(
    {"string", "lower", "trim", "striptags", "safe", "wordcount", "truncate", "center", "indent", "format", *_GROWTH}
)
_WIDE_PERCENT = re.compile(r"%(?:\(.*?\))?[-#0 +\d.]*(?:\*|\d{5})", re.DOTALL)
_WIDE_BRACES = re.compile(r":[^{}]*(?:\d{5}|\{)")


def measure(value: Any, indent: int = 0) -> int:
    """About how many characters `str(value)` has; with `indent`, when each level is indented so far.

    Raises SecurityError as soon as it is more than MAX_TEXT, so that a list that holds itself many times over ends too.
    """
    if isinstance(value, str | bytes):
        return len(value)
    size = 0
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        size += ITEM + depth * indent
        if isinstance(item, str | bytes):
            size += len(item)
        elif isinstance(item, int):
            size += item.bit_length() // 3
        elif isinstance(item, list | tuple | set | frozenset):
            size += ITEM * len(item)
            check_size(size)
            stack.extend((one, depth + 1) for one in item)
        elif isinstance(item, Mapping):
            size += ITEM * len(item)
            check_size(size)
            stack.extend((one, depth + 1) for pair in item.items() for one in pair)
        check_size(size)
    return size


def measure_made(value: Any) -> int:
    """What a value itself takes, without what it holds: that was there before it."""
    if isinstance(value, str | bytes):
        return len(value)
    return len(value) * ITEM if isinstance(value, list | tuple | dict | set | frozenset) else 0


def measure_operation(operator: str, left: Any, right: Any) -> int:
    """For `+`, `*`, `**` and `%`. Raises SecurityError for what is unreasonable whatever the budget."""
    if operator == "+":
        return measure_made(left) + measure_made(right)
    if operator == "%":
        return measure_percent(left, right) if isinstance(left, str | bytes) else 0
    if operator == "**":
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            raise SecurityError("it computes a power of what is no number")
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > _MAX_BITS:
            raise SecurityError("it computes too large a power")
        return 0
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > _MAX_BITS:
            raise SecurityError("it computes too large a number")
        return 0
    for one, count in ((left, right), (right, left)):
        if isinstance(one, str | bytes | list | tuple) and isinstance(count, int):
            return check_size(measure_made(one) * max(count, 0))
    return 0


def measure_percent(pattern: str | bytes, values: Any) -> int:
    """For `pattern % values`."""
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    if len(text) > MAX_TEXT >> 8 or _WIDE_PERCENT.search(text):
        raise SecurityError("it formats a text too wide")
    return len(text) + text.count("%") * (_MAX_WIDTH + measure(values)) if "%" in text else len(text)


def measure_format(pattern: str, values: tuple[Any, ...], named: Mapping[str, Any]) -> int:
    """For `pattern.format(*values, **named)`; a width that is itself a field is refused."""
    if len(pattern) > MAX_TEXT >> 8 or _WIDE_BRACES.search(pattern):
        raise SecurityError("it formats a text too wide")
    return len(pattern) + pattern.count("{") * (_MAX_WIDTH + measure(values) + measure(dict(named)))


def measure_method(owner: Any, name: str, values: tuple[Any, ...], named: Mapping[str, Any]) -> int:
    """For `owner.name(*values, **named)`, a method of a text, of bytes, or of a number."""
    given = [*values, *named.values()]
    if name in _WIDTH_METHODS:
        return _check_widths(given) * (len(owner) if name == "expandtabs" else 1) + measure_made(owner)
    if not isinstance(owner, str | bytes) or not given:
        return 0
    if name == "replace" and len(given) > 1:
        return measure_replacement(owner, given[0], given[1])
    if name == "join":
        return measure_joined(owner, given[0])
    if name == "translate":
        return len(owner) * (1 + max((measure(value) for value in dict(given[0]).values()), default=0))
    return 0


def measure_replacement(text: str | bytes, old: Any, new: Any) -> int:
    """For `text.replace(old, new)`."""
    if isinstance(text, str):
        return len(text) + (text.count(old) * measure(new) if isinstance(old, str) else 0)
    return len(text) + (text.count(old) * measure(new) if isinstance(old, bytes) else 0)


def measure_joined(separator: Any, parts: Any) -> int:
    """For `separator.join(parts)`."""
    if isinstance(parts, str | bytes):
        return len(parts) * (1 + measure(separator))
    return measure(parts) + measure(separator) * len(parts) if isinstance(parts, list | tuple | Mapping) else 0


def measure_filter(name: str, value: Any, values: tuple[Any, ...], named: Mapping[str, Any]) -> int:
    """For `value|name(*values, **named)`; an iterator must have become a list before."""
    given = [*values, *named.values()]
    width = _check_widths(given) if name in _WIDTH_FILTERS else 0
    if name == "replace" and len(given) > 1:
        measure(value)
        return measure_replacement(str(value), str(given[0]), given[1])
    if name == "join":
        return measure_joined(given[0] if given else "", value)
    if name == "sum" and any(isinstance(one, str | bytes | list | tuple) for one in [*values[1:], named.get("start")]):
        raise SecurityError("it adds up what are no numbers")
    if name == "tojson":
        if width > _MAX_JSON_INDENT:
            raise SecurityError("it indents too far")
        return measure(value, width) * _GROWTH[name]
    if name not in _TEXT_FILTERS:
        return width * ITEM
    size = measure(value) * _GROWTH.get(name, 1)
    if name == "format":
        return size + measure_percent(str(value), named or values)
    return size + width * (1 + str(value).count("\n") if name == "indent" else 1)


def check_size(size: int) -> int:
    """`size`. Raises SecurityError if no text may be so long."""
    if size > MAX_TEXT:
        raise SecurityError(f"it makes a text or list of more than {MAX_TEXT:,} characters")
    return size


def _check_widths(values: list[Any]) -> int:
    """The largest number among `values`, or length of a text, which can stand for a number of spaces."""
    width = 0
    for value in values:
        width = max(width, abs(value) if isinstance(value, int) else len(value) if isinstance(value, str) else 0)
    if width > _MAX_WIDTH:
        raise SecurityError(f"it asks for a width of more than {_MAX_WIDTH:,}")
    return width
