"""Text made safe to show.

A terminal obeys control characters: they move the cursor, change the title, write the clipboard. Whatever a person, a
file or a model wrote therefore passes through `printable()` on its way to a screen. The text that is stored and the
text that the model reads stay as they were written; only what is shown changes.
"""

from __future__ import annotations

_REPLACEMENT = "\ufffd"

# C0 controls become their Unicode pictures (ESC → ␛), so that a reader sees that something was there.
_TABLE: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)}
_TABLE |= {0x0D: "\n", 0x0B: "\n", 0x0C: "\n", 0x7F: "\u2421"}
# C1 controls: an 8-bit terminal takes U+009B for ESC [ and U+009D for ESC ].
_TABLE |= dict.fromkeys(range(0x80, 0xA0), _REPLACEMENT)
_TABLE |= {0x85: "\n", 0x2028: "\n", 0x2029: "\n"}
# Marks that reorder what stands around them ("Trojan Source", CVE-2021-42574), and the invisible tag characters.
_TABLE |= dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "")
_TABLE |= dict.fromkeys([0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)], "")
# Half of a surrogate pair cannot be encoded and would raise at the moment of writing.
_TABLE |= dict.fromkeys(range(0xD800, 0xE000), _REPLACEMENT)

# Halves of surrogate pairs cannot be UTF-8, and PostgreSQL takes no NUL.
_UNSTORABLE = dict.fromkeys([0, *range(0xD800, 0xE000)], _REPLACEMENT)


def printable(text: str) -> str:
    """`text` with nothing left that a terminal would obey: newlines, tabs and visible characters only.

    Works piece by piece on a stream, except that a carriage return and a newline that arrive apart make two newlines.
    """
    return text.replace("\r\n", "\n").translate(_TABLE)


def printable_line(text: str, limit: int = 0) -> str:
    """`printable` on one line: white space runs become one space; cut with an ellipsis after `limit` characters."""
    line = " ".join(printable(text).split())
    if limit and len(line) > limit:
        return line[: limit - 1].rstrip() + "…"
    return line


def storable(text: str) -> str:
    """`text` without what a database refuses."""
    return text.translate(_UNSTORABLE)
