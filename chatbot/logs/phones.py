"""Phone numbers in text.

What a phone number is, phonenumbers knows (Google's tables of every country's numbers). Its own search over text takes
amounts such as 9 022 964 503 for one, and in fourteen regions minutes for a megabyte of digits; so runs of digits are
looked at here first. A number with its country code is taken anywhere. A national one must be a valid number of one of
the regions and be written as that region writes it: with its leading 0, or in the usual groups. Near a word such as
"phone", any grouping will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from chatbot.logs.findings import ACCOUNT_BEGUN, LETTER, Span

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

REGIONS = ("US", "GB", "DE", "FR", "CN", "JP", "IN", "AU", "IT", "ES", "NL", "CH", "AT", "BR")
"""Whose national notation is read if nothing else is said (ISO 3166); each adds some look-alikes."""

_KINDS = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan")
"""The tables of one region that make a number valid, as the library names them."""

_SEPARATOR = r"(?: [-/] |[ .-]?\(|\)[ ./-]?|[ ./-])"
_RUN = re.compile(rf"(?<!{LETTER})(?:\(?\+)?\(?\d(?:{_SEPARATOR}?\d)*+")
_GROUP = re.compile(r"\d+")

_WORD_BEFORE = re.compile(
    r"(?:\b(?:tele?fone?|tele?phone|tel|phone|call|cell|mobile?|mobil(?:nummer)?|fax|whatsapp|sms|text me at|ring|dial|"
    r"handy(?:nummer)?|rufnummer|anrufen|ruf|appele[rz]?|téléphone|portable|fixe|teléfono|móvil|telefono|cellulare)\b"
    r"|电话|電話|手机|手機|号码是|致电|拨打|传真|携帯)[^\d\n]{0,16}$",
    re.IGNORECASE,
)
_OTHER_NUMBER = re.compile(
    r"(?:\b(?:order|invoice|ticket|isbn|ean|case|part|model|id|tracking|serial|bestell\w*|rechnung\w*|artikel\w*|"
    r"commande|facture|nr|no|number)\b|[#№]|n°|订单|单号|编号)[^\d\n]{0,8}$",
    re.IGNORECASE,
)
_GLUED_BEFORE = re.compile(r"(?:[.,#$€£¥^%&_~@\\/<]|\d[:*]|-)$")
_GLUED_AFTER = re.compile(
    rf"{LETTER}|[,:]\d|-\w| ?(?:[%€$£¥°元円万亿年月]|"
    r"(?:USD|EUR|GBP|CHF|euros?|dollars?|km|kg|cm|mm|ms|bytes?|people)\b)"
)
_DATE = re.compile(r"(?:1[89]|20)\d\d[ ./-]\d{1,2}[ ./-]\d{1,2}|\d{1,2}[ ./-]\d{1,2}[ ./-](?:(?:1[89]|20)\d\d|\d\d)")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:[ .]\d{3})+")
_CHINESE_MOBILE = re.compile(r"1[3-9]\d{9}")


class PhoneFinder:
    """Finds numbers with a country code, and those in the national notation of `regions`."""

    def __init__(self, regions: Sequence[str] = REGIONS) -> None:
        import phonenumbers

        self._library = phonenumbers
        self._regions: list[tuple[str, str, re.Pattern[str]]] = []
        for region in regions:
            metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
            if not metadata:
                raise ValueError(f"{region} is no region that has phone numbers")
            described = (getattr(metadata, kind) for kind in _KINDS)
            patterns = [kind.national_number_pattern for kind in described if kind and kind.national_number_pattern]
            self._regions.append((region, metadata.national_prefix or "", re.compile("|".join(patterns))))

    def find(self, text: str) -> Iterator[Span]:
        seen: dict[str, bool] = {}  # a text repeats numbers, and each costs the library some 0.1 ms
        for run in _RUN.finditer(text):
            if run.end() - run.start() < 7 or _GLUED_AFTER.match(text, run.end()):
                continue
            if "+" in run.group() or run.group().lstrip("(").startswith("00"):
                span = self._find_international(run, seen)
                if span:
                    yield span
            elif not _GLUED_BEFORE.search(text, max(0, run.start() - 2), run.start()):
                yield from self._find_national(text, run, seen)

    def _find_international(self, run: re.Match[str], seen: dict[str, bool]) -> Span | None:
        """The longest valid number at the start of the run: what follows it may be another number."""
        groups = list(_GROUP.finditer(run.group()))
        ends: list[int] = []
        count = 0
        for group in groups:
            count += len(group.group())
            if count > 17:
                break
            if count >= 8:
                ends.append(group.end())
        for end in reversed(ends):
            piece = run.group()[:end]
            if piece not in seen:
                seen[piece] = self._is_international(piece)
            if seen[piece]:
                return run.start() + (piece[0] == "(" and ")" not in piece), run.start() + end
        return None

    def _is_international(self, piece: str) -> bool:
        written = piece.lstrip("(")
        number = self._parse(written if written.startswith("+") else f"+{written[2:]}", None)
        return number is not None and self._library.is_valid_number(number)

    def _find_national(self, text: str, run: re.Match[str], seen: dict[str, bool]) -> Iterator[Span]:
        start, whole = run.start(), run.group()
        before = text[max(0, start - 40) : start]
        called = bool(_WORD_BEFORE.search(before))
        if not called and (_OTHER_NUMBER.search(before) or ACCOUNT_BEGUN.search(before)):
            return
        found = 0
        for first, last in _pieces(whole):
            written = whole[first:last]
            key = f"{called:d}{written}"
            if first >= found and key not in seen:
                seen[key] = self._is_national(written, called)
            if first >= found and seen[key]:
                yield start + first + (written[0] == "(" and ")" not in written), start + last
                found = last

    def _is_national(self, written: str, called: bool) -> bool:
        written = written if ")" in written else written.lstrip("(")
        groups = _GROUP.findall(written)
        digits = "".join(groups)
        if written.count("(") != written.count(")"):
            return False
        if not 7 <= len(digits) <= 13 or _DATE.fullmatch(written) or len(set(digits)) < 3:
            return False
        leading = digits.startswith("0")
        free = called or "(" in written
        if not called:
            if len(groups) == 1 and not (leading and 10 <= len(digits) <= 11) and not _CHINESE_MOBILE.fullmatch(digits):
                return False
            if sum(len(group) == 1 for group in groups) > 1 or _THOUSANDS.fullmatch(written):
                return False
            if len(groups) == 2 and "." in written:
                return False
            if len(digits) < 9:
                return False
            if leading:
                if len(groups) > 1 and not 2 <= len(groups[0]) <= 6:
                    return False
                free = True
        return any(self._is_of_region(written, groups, free, called, *region) for region in self._regions)

    def _is_of_region(
        self,
        written: str,
        groups: list[str],
        free: bool,
        called: bool,
        region: str,
        prefix: str,
        pattern: re.Pattern[str],
    ) -> bool:
        digits = "".join(groups)
        bare = bool(pattern.fullmatch(digits))
        if not bare and not (prefix and pattern.fullmatch(digits.removeprefix(prefix))):
            return False
        if called or (free and (not bare if prefix else bare)):
            return True  # a valid number with the prefix that it has at home, however it is grouped
        number = self._parse(written, region)
        if number is None:
            return False
        usual = _GROUP.findall(self._library.format_number(number, self._library.PhoneNumberFormat.NATIONAL))
        if groups in (usual, [prefix, *usual]):
            return True
        return "".join(usual) == digits and (free or len(groups) == 1)

    def _parse(self, written: str, region: str | None) -> PhoneNumber | None:
        try:
            return self._library.parse(written, region)
        except self._library.NumberParseException:
            return None


def _pieces(run: str) -> Iterator[Span]:
    """The run, then those of its parts that other signs set apart: `2024 415-555-0132`. A table yields nothing."""
    groups = [group.span() for group in _GROUP.finditer(run)]
    sizes = [end - start for start, end in groups]
    if sum(sizes) > 36 or (sum(sizes) > 13 and sizes.count(4) >= 3):  # a card or an account number that is not valid
        return
    yield 0, len(run)
    between = [run[groups[at][1] : groups[at + 1][0]].strip("()") for at in range(len(groups) - 1)]
    for first in range(len(groups)):
        for last in range(len(groups) - 1, first - 1, -1):
            inner = between[first:last]
            outer = between[first - 1 : first] + between[last : last + 1]
            if 9 <= sum(sizes[first : last + 1]) <= 13 and not set(inner) & set(outer):
                start, end = groups[first][0], groups[last][1]
                yield start - (run[:start].endswith("(")), end
