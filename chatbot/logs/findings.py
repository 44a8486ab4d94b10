"""What a search for personal data hands back, and how the text is looked at.

A finding points into the text as it was written: the searches read a flattened copy in which each character stands for
one character of the original, so their offsets hold in both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["email", "phone", "iban", "card", "ip", "secret", "name"]

PLACEHOLDERS: Mapping[Kind, str] = {
    "secret": "[secret]",
    "iban": "[IBAN]",
    "card": "[card]",
    "email": "[e-mail]",
    "ip": "[IP]",
    "phone": "[phone]",
    "name": "[name]",
}
"""What each kind becomes; the most certain kinds first: check digits and prefixes tell more than a shape."""

PLACEHOLDER = re.compile("|".join(re.escape(shown) for shown in PLACEHOLDERS.values()))

UNSPACED = (
    "\u0e00-\u0e7f\u1100-\u11ff\u2e80-\u2fdf\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Scripts that set no space between words, or hang particles on them (Thai, Chinese, Japanese, Korean), for a class."""

LETTER = rf"[^\W{UNSPACED}]"
"""A letter, digit or underscore of a script that sets spaces: next to one, a word is not at its border."""

ACCOUNT_BEGUN = re.compile(r"\b[A-Z]{2}\d\d(?:[ -]?[A-Z0-9]{4})*[ -]$")
"""At the end of a text: an account number has begun, so the digits after it are its own, valid or not."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """Personal data of one `kind` in `text[start:end]`; `text` here is that piece."""

    kind: Kind
    start: int
    end: int
    text: str


def flatten(text: str) -> str:
    """`text` with wide forms, digits, spaces and hyphens of all scripts as their ASCII counterparts, one for one."""
    return text if text.isascii() else text.translate(_table())


def lower(text: str) -> str:
    """`text` in small letters, one for one: İ alone would become two characters, so it stays."""
    low = text.lower()
    return low if len(low) == len(text) else text.replace("İ", "I").lower()


@cache
def _table() -> dict[int, str]:
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    for code in range(0x80, 0x1FC00):  # the planes that have digits
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Nd":
            table[code] = str(unicodedata.digit(character))
        elif category == "Zs":
            table[code] = " "
    return table | dict.fromkeys([0x2010, 0x2011, 0x2012, 0x2013, 0x2212], "-")
