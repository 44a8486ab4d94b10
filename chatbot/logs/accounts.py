"""Bank account and card numbers in text: their check digits tell them from other long numbers.

IBAN: ISO 13616, the structure by country and the remainder by 97, both from python-stdnum. Cards: ISO/IEC 7812, the
prefixes and lengths of the issuers and the Luhn digit; one in ten numbers of that shape has it by chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from chatbot.logs.findings import ACCOUNT_BEGUN, LETTER, Span

_IBAN = re.compile(rf"(?<!{LETTER})[A-Za-z]{{2}}\d\d(?=[ -]?[A-Za-z0-9])")

_CARD = re.compile(
    rf"(?<!{LETTER})(?<!\d[.,])(?<!{LETTER}-)"
    r"(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?|\d{4}([ -])\d{6}\2\d{4,5})"
    rf"(?!{LETTER}|[.,-]\d)"
)
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"30[0-5]|309|36|3[89]"), (14, 16, 19)),  # Diners Club
    (re.compile(r"6011|64[4-9]|65"), (16, 17, 18, 19)),  # Discover
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),  # JCB
    (re.compile(r"62|81"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"50|5[6-8]|6304|67"), (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (re.compile(r"220[0-4]"), (16, 17, 18, 19)),  # Mir
    (re.compile(r"60|82|508"), (16,)),  # RuPay
)
_CARD_WORD = re.compile(r"card|visa|karte|carte|卡[号號]?[^\d\n]{0,12}$", re.IGNORECASE)


def find_ibans(text: str) -> Iterator[Span]:
    """Account numbers in one piece or in groups, large or small letters."""
    from stdnum import iban

    for match in _IBAN.finditer(text):
        length = _account_length(match.group()[:2].upper())
        if not length:
            continue
        whole = re.compile(rf"(?:[ -]?[A-Za-z0-9]){{{length}}}(?!{LETTER})").match(text, match.end())
        if whole and iban.is_valid(text[match.start() : whole.end()], check_country=False):
            yield match.start(), whole.end()


@cache
def _account_length(country: str) -> int:
    """How many characters follow the check digits; 0 for a country without IBAN."""
    from stdnum import numdb

    structure = numdb.get("iban").info(country)[0][1].get("bban", "")
    return sum(int(size) for size in re.findall(r"(\d+)!", structure))


def find_cards(text: str) -> Iterator[Span]:
    """Card numbers of 13 to 19 digits in one piece or grouped as on the card."""
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub("[ -]", "", match.group())
        if not any(issuer.match(digits) and len(digits) in lengths for issuer, lengths in _ISSUERS):
            continue
        if len(digits) == 13 and not _CARD_WORD.search(text, max(0, match.start() - 24), match.start()):
            continue  # no card has 13 digits any more, but every article in a shop has
        if ACCOUNT_BEGUN.search(text, max(0, match.start() - 40), match.start()):
            continue  # the middle of an account number whose check digits are wrong
        if luhn.is_valid(digits) and len(set(digits)) > 1:
            yield match.span()
