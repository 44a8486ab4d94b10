"""`chatbot logs stats`, its plots, and the dates of the filters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
import typer

from chatbot.cli.logs.plots import group_days
from chatbot.cli.logs.times import parse_since, parse_until, show_day
from chatbot.config import Home
from chatbot.store.database import Store
from tests.cli.logs.talks import TEN, run


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_figures_are_counted_and_drawn(log: Store) -> None:
    run("review", "--approve", TEN, "--yes")
    done = run("stats", columns=80)
    assert "5 conversations" not in done.out
    assert "Messages       6 prompts, 6 replies" in done.out
    assert "Rated          0 up, 1 down" in done.out
    assert "Reviewed       1 approved, 0 rejected, 5 waiting" in done.out
    row = next(line.split() for line in done.out.splitlines() if line.startswith("tiny/1"))
    assert row == ["tiny/1", "3", "0", "0", "16", "-", "30.0", "-"]
    for title in ("replies by their length", "messages a day", "tokens a second, median of the day"):
        assert title in done.out
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_json_holds_all_figures(log: Store) -> None:
    told = run("stats", "--json").json
    assert (told["conversations"], told["replies"], told["down"]) == (5, 6, 1)
    assert told["models"][1]["median_speed"] == 30.0
    assert sum(one["replies"] for one in told["lengths"]) == 6
    assert [(one["day"], one["messages"]) for one in told["days"]] == [("2026-03-01", 11), ("2026-03-02", 1)]
    assert run("stats", "--persona", "cook", "--json").json["replies"] == 3


def test_no_messages_are_told(home: Home) -> None:
    assert run("stats").err == "There are no messages yet.\n"
    assert run("stats", "--rating", "up").err == "No message matches.\n"


def test_days_are_gathered_into_the_shortest_period_that_fits() -> None:
    first = date(2026, 1, 31)
    days = [(first, 2, 10.0), (first + timedelta(days=2), 3, None), (first + timedelta(days=40), 5, 30.0)]
    assert group_days([], 10) == ("day", [])
    assert group_days(days[:2], 10) == ("day", [days[0], (date(2026, 2, 1), 0, None), days[1]])
    assert group_days(days, 10)[0] == "week"
    period, months = group_days(days, 5)
    assert period == "month"
    assert months == [(date(2026, 1, 1), 2, 10.0), (date(2026, 2, 1), 3, None), (date(2026, 3, 1), 5, 30.0)]


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026-11-01", "2026-10-31T23:00", "2026-11-01T23:00"),
        ("2026-11-01T10:00", "2026-11-01T09:00", "2026-11-01T09:00"),
        ("2026-11-01T10:00Z", "2026-11-01T10:00", "2026-11-01T10:00"),
        ("2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours: clocks were set back
    ],
)
def test_dates_are_local_and_a_day_counts_to_its_end(berlin: None, text: str, since: str, until: str) -> None:
    assert parse_since(text) == datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert parse_until(text) == datetime.fromisoformat(until).replace(tzinfo=UTC)


def test_ages_and_names_of_days() -> None:
    now = datetime.now(UTC)
    for text, age in (("12h", timedelta(hours=12)), ("7d", timedelta(days=7)), ("2w", timedelta(weeks=2))):
        assert abs(now - age - parse_since(text)) < timedelta(seconds=10)
    today = datetime.now().astimezone()
    assert parse_since("today").astimezone().date() == today.date()
    assert parse_until("yesterday") == parse_since("today")
    assert parse_until("today") > now


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "2026-02-30", "7", "7y", "999999w", "9999-12-31", "-3d"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="no date"):
        parse_until(text)


def test_lists_tell_the_minute_of_today_and_the_day_of_the_past(berlin: None) -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    assert show_day(datetime(2026, 11, 1, 8, 5, tzinfo=UTC), now) == "09:05"
    assert show_day(datetime(2026, 10, 31, 8, tzinfo=UTC), now) == "2026-10-31"
