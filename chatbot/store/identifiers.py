"""Identifiers: UUIDs of version 7 (RFC 9562, section 5.7), which sort by the time they were made.

Sorting by identifier is then sorting by age, and new rows land at the end of an index. Within one process they never
repeat nor go back, even within a millisecond or when the clock is set back: the 12 bits after the version are a
counter (method 1 of section 6.2).
"""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import datetime

_SECOND = 1000 << 12
_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_identifier(text: str) -> bool:
    """Whether `text` is an identifier as they are made here."""
    return _FORM.fullmatch(text) is not None


class IdentifierSource:
    """Makes identifiers in rising order; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0  # milliseconds since 1970 << 12 | counter
        self._past = 0  # the same of the last one that was made for a moment

    def next(self, moment: datetime | None = None) -> str:
        """A new identifier, as 36 characters; with `moment`, one that sorts as if it had been made then."""
        with self._lock:
            if moment is None:
                self._last = place = max((time.time_ns() // 1_000_000) << 12, self._last + 1)
            else:
                # Messages of the past come in their order, thousands with the same time if the source knows only days.
                wanted = min(max(int(moment.timestamp() * 1000), 0), (1 << 48) - 1) << 12
                # Two processes that add the past of the same moment would begin at the same place: so anywhere.
                first = wanted | int.from_bytes(os.urandom(2), "big") & 0x7FF
                self._past = place = self._past + 1 if wanted <= self._past < wanted + _SECOND else first
            milliseconds, counter = place >> 12, place & 0xFFF
        noise = int.from_bytes(os.urandom(8), "big") >> 2
        digits = f"{milliseconds << 80 | 7 << 76 | counter << 64 | 0b10 << 62 | noise:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
