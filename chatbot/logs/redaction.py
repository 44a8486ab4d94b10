"""Personal data in text, found and masked.

Pure: text in, findings or masked text out. `find` is the preview; `redact` changes exactly what `find` shows. No search
is perfect: what it leaves out is in each module's first lines, so a person looks at the preview.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chatbot.logs.accounts import find_cards, find_ibans
from chatbot.logs.addresses import find_emails, find_ips
from chatbot.logs.findings import PLACEHOLDER, PLACEHOLDERS, Finding, Kind, flatten
from chatbot.logs.names import NameFinder, read_names
from chatbot.logs.phones import REGIONS, PhoneFinder
from chatbot.logs.secrets import find_secrets

__all__ = ["Finding", "Kind", "Redacted", "Redactor", "read_names"]

_CERTAINTY = {kind: rank for rank, kind in enumerate(PLACEHOLDERS)}
_ROUNDS = 8
_OPAQUE = "\ufffc"


@dataclass(frozen=True, slots=True)
class Redacted:
    """The masked text, and how many findings of each kind were masked in it; kinds without any are left out."""

    text: str
    counts: Mapping[Kind, int]


class Redactor:
    """Finds and masks e-mail and IP addresses, phone, account and card numbers, secrets, and the given `names`.

    `regions` are those whose national phone numbers are read; raises ValueError for one that does not exist.
    """

    def __init__(self, names: Sequence[str] = (), regions: Sequence[str] = REGIONS) -> None:
        self._names = NameFinder(names)
        self._phones = PhoneFinder(regions)

    def find(self, text: str) -> list[Finding]:
        """What `redact` would mask, in order and without overlaps; where two overlap, the more certain kind wins.

        What is left beside a mask may be a finding of its own (the rest of one that overlapped), so the search goes
        on in the masked text until it finds nothing more.
        """
        findings: list[Finding] = []
        for _ in range(_ROUNDS):
            masked, origins = _mask(flatten(text), findings)
            new = [
                Finding(kind, start + shift, end + shift, text[start + shift : end + shift])
                for kind, start, end in _choose(list(self._search(masked)), masked)
                for shift in [_shift_at(origins, start)]
            ]
            if not new:
                break
            findings = sorted([*findings, *new], key=lambda finding: finding.start)
        return findings

    def redact(self, text: str) -> Redacted:
        """`text` with each finding replaced by its kind in brackets; doing it again changes nothing more."""
        findings = self.find(text)
        counts = Counter(finding.kind for finding in findings)
        return Redacted(_mask(text, findings)[0], dict(counts))

    def _search(self, text: str) -> Iterator[tuple[Kind, int, int]]:
        text = PLACEHOLDER.sub(_hide, text)
        yield from (("secret", *span) for span in find_secrets(text))
        yield from (("iban", *span) for span in find_ibans(text))
        yield from (("card", *span) for span in find_cards(text))
        yield from (("email", *span) for span in find_emails(text))
        yield from (("ip", *span) for span in find_ips(text))
        yield from (("phone", *span) for span in self._phones.find(text))
        yield from (("name", *span) for span in self._names.find(text))


def _hide(placeholder: re.Match[str]) -> str:
    """As long, but without its word: `[phone]` must not make a phone number of the number after it."""
    return f"[{_OPAQUE * (len(placeholder.group()) - 2)}]"


def _choose(found: list[tuple[Kind, int, int]], text: str) -> list[tuple[Kind, int, int]]:
    """Without overlaps: placeholders that stand there already win, then the more certain kind, then the longer one."""
    if not found:
        return []
    taken = bytearray(len(text))
    for match in PLACEHOLDER.finditer(text):
        taken[match.start() : match.end()] = b"\x01" * (match.end() - match.start())
    chosen = []
    for kind, start, end in sorted(found, key=lambda item: (_CERTAINTY[item[0]], item[1] - item[2], item[1])):
        if taken.find(1, start, end) < 0:
            taken[start:end] = b"\x01" * (end - start)
            chosen.append((kind, start, end))
    return chosen


def _mask(text: str, findings: Sequence[Finding]) -> tuple[str, list[tuple[int, int]]]:
    """The text with placeholders, and for each piece kept: where it begins there, and how far it moved."""
    pieces, origins, at, length = [], [(0, 0)], 0, 0
    for finding in findings:
        shown = PLACEHOLDERS[finding.kind]
        pieces += [text[at : finding.start], shown]
        length += finding.start - at + len(shown)
        at = finding.end
        origins.append((length, at - length))
    return "".join([*pieces, text[at:]]), origins


def _shift_at(origins: list[tuple[int, int]], start: int) -> int:
    return origins[bisect_right(origins, (start, float("inf"))) - 1][1]
