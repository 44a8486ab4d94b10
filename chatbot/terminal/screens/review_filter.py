"""The filter of the review in one line, in the words of the command line's options: `rating:down since:7d moon rocks`.

What has no name is searched for. The line is read without the database, so that a mistake in it is told before anything
is opened.
"""

from __future__ import annotations

import re
import shlex
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from chatbot.errors import InvalidInput

CHOICES = {
    "rating": ("up", "down", "none"),
    "state": ("waiting", "approved", "rejected", "redacted"),
    "status": ("complete", "stopped", "failed", "interrupted", "streaming"),
}
NAMES = ("rating", "state", "status", "model", "persona", "tag", "since", "until", "conversation", "text")
EXAMPLE = "rating:down model:NAME tag:TAG since:7d words to find"

_AGE = re.compile(r"(\d{1,6})([hdw])")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def read_filter(line: str, now: datetime | None = None) -> dict[str, Any]:
    """The arguments of a LogFilter. Raises InvalidInput, naming the word that is at fault."""
    values: dict[str, Any] = {}
    words: list[str] = []
    for part in _split(line):
        name, colon, value = part.partition(":")
        if not colon or not name.isalpha():
            words.append(f'"{part}"' if " " in part else part)
        elif name not in NAMES:
            raise InvalidInput(f"There is no filter “{name}:”.", hint=f"There are {', '.join(NAMES)}.")
        elif not value:
            raise InvalidInput(f"{name}: what?", hint=f"Write it as in {EXAMPLE}.")
        elif name in {"since", "until"}:
            values[name] = read_moment(value, whole_day=name == "until", now=now)
        elif value not in CHOICES.get(name, (value,)):
            raise InvalidInput(f"{name} is one of {', '.join(CHOICES[name])}.")
        else:
            values[name] = value
    if words:
        values["text"] = " ".join(filter(None, [values.get("text", ""), *words]))
    return values


def write_filter(**values: str) -> str:
    """The line that `read_filter` reads as `values`; empty ones are left out."""
    return " ".join(f"{name}:{_quote(value)}" for name, value in values.items() if value)


def read_moment(text: str, *, whole_day: bool = False, now: datetime | None = None) -> datetime:
    """The moment that `text` names, in this machine's time zone; with `whole_day`, a day means its end. Raises
    InvalidInput."""
    now = now or datetime.now(UTC)
    try:
        if age := _AGE.fullmatch(text):
            return now - timedelta(hours=int(age[1]) * _HOURS[age[2]])
        if (day := _find_day(text, now)) is not None:
            return datetime.combine(day + timedelta(days=whole_day), time.min).astimezone().astimezone(UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        hint = "Write 2026-11-01, 2026-11-01T10:00, today, yesterday, 12h, 7d or 2w."
        raise InvalidInput(f"“{text[:40]}” is no date.", hint=hint) from None


def _find_day(text: str, now: datetime) -> date | None:
    today = now.astimezone().date()
    if text in {"today", "yesterday"}:
        return today - timedelta(days=text == "yesterday")
    return date.fromisoformat(text) if _DAY.fullmatch(text) else None


def _split(line: str) -> list[str]:
    try:
        line.encode()
    except UnicodeEncodeError:
        raise InvalidInput("The filter is not UTF-8.") from None
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.quotes, lexer.commenters = True, '"', ""
    try:
        return list(lexer)
    except ValueError:
        raise InvalidInput("A quotation mark is open.", hint='Close it, as in text:"two words".') from None


def _quote(value: str) -> str:
    if re.search(r'[\s"\\]', value):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return value
