"""Moments as a person types and reads them, in the time zone of this machine."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

import typer

_AGE = re.compile(r"(\d{1,6})\s*([hdw])")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def parse_since(text: str) -> datetime:
    """The moment that `text` names; a day begins at midnight. Raises BadParameter."""
    return _parse(text, whole_day=False)


def parse_until(text: str) -> datetime:
    """The first moment that is too late: a day counts to its end. Raises BadParameter."""
    return _parse(text, whole_day=True)


def _parse(text: str, *, whole_day: bool) -> datetime:
    word = text.strip().lower()
    try:
        if found := _AGE.fullmatch(word):
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        if (day := _find_day(word)) is not None:
            # By the calendar, not by 24 hours: the day on which clocks are changed is longer or shorter.
            return datetime.combine(day + timedelta(days=whole_day), time.min).astimezone().astimezone(UTC)
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no date. Write it as 2026-11-01, 2026-11-01T10:00, today, yesterday, 12h, 7d or 2w."
        ) from None


def _find_day(word: str) -> date | None:
    today = datetime.now().astimezone().date()
    if word in {"today", "yesterday"}:
        return today - timedelta(days=word == "yesterday")
    return date.fromisoformat(word) if _DAY.fullmatch(word) else None


def show_time(moment: datetime) -> str:
    """Day and minute: `2026-11-01 14:03`."""
    return _to_local(moment).strftime("%Y-%m-%d %H:%M")


def show_day(moment: datetime, now: datetime | None = None) -> str:
    """Short, for lists: the minute if it was today, else the day."""
    local, today = _to_local(moment), (now or datetime.now(UTC)).astimezone().date()
    return local.strftime("%H:%M") if local.date() == today else local.strftime("%Y-%m-%d")


def _to_local(moment: datetime) -> datetime:
    try:
        return moment.astimezone()
    except (OverflowError, OSError, ValueError):  # at the ends of the calendar some zones have no such day
        return moment
