"""The filter's line, and the way through the queue below the screen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from chatbot.cli.logs.filters import Filters
from chatbot.cli.review import write_line
from chatbot.config import Home
from chatbot.errors import ChatbotError, InvalidInput, NotFound
from chatbot.store.database import Store
from chatbot.terminal.screens.review_filter import read_filter, read_moment, write_filter
from chatbot.terminal.screens.review_walk import ReviewWalk
from tests.terminal.reviewing import open_store, say

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("", {}),
        ("rating:down model:smollm2", {"rating": "down", "model": "smollm2"}),
        ("since:7d", {"since": NOW - timedelta(days=7)}),
        ("moon landing", {"text": "moon landing"}),
        ('tag:"too long" "moon landing" 1969', {"tag": "too long", "text": '"moon landing" 1969'}),
        ('text:"foo bar" baz', {"text": "foo bar baz"}),
        ("don't", {"text": "don't"}),
        ("12:30", {"text": "12:30"}),
        ("标签 tag:太长", {"text": "标签", "tag": "太长"}),
    ],
)
def test_a_line_is_read_as_the_options_of_the_command_line(line: str, asked: dict[str, object]) -> None:
    assert read_filter(line, NOW) == asked


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ratting:up", "no filter “ratting:”"),
        ("rating:good", "rating is one of up, down, none"),
        ("state:done", "state is one of"),
        ("since:soon", "“soon” is no date"),
        ("until:9999999w", "no date"),
        ("model:", "model: what?"),
        ('text:"open', "quotation mark is open"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        read_filter(line, NOW)


def test_a_day_as_the_end_is_meant_as_a_whole() -> None:
    assert read_moment("2026-11-01", whole_day=True) - read_moment("2026-11-01") >= timedelta(hours=23)
    assert read_moment("yesterday", now=NOW) < read_moment("today", now=NOW) <= NOW


@pytest.mark.parametrize("value", ["plain", "two words", 'say "x" y', "back\\slash", "a:b", "日本 語"])
def test_what_is_written_is_read_again(value: str) -> None:
    assert read_filter(write_filter(model=value, text=value)) == {"model": value, "text": value}


def test_the_commands_options_become_the_screens_line() -> None:
    since = datetime(2026, 11, 1, 10, tzinfo=UTC).astimezone()
    asked = Filters(since=since, rating="down", text="two words", conversation="0192")
    assert read_filter(write_line(asked)) == {
        "since": since,
        "rating": "down",
        "text": "two words",
        "conversation": "0192",
    }
    assert write_line(Filters()) == ""


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    with open_store(home) as opened:
        yield opened


def make_walk(store: Store) -> ReviewWalk:
    return ReviewWalk(store, author="rita", wanted=10)


def list_texts(walk: ReviewWalk) -> list[str]:
    texts = []
    while (item := walk.open()) is not None:
        texts.append(item.reply.content)
        walk.place += 1
    return texts


def test_each_filter_means_what_it_says(store: Store) -> None:
    first = say(store, "q", "From one.", model="one", tags=["fine"])
    say(store, "q", "From two.", model="two", rating=1)
    say(store, "moon", "About the moon.", status="stopped", reason="")
    walk = make_walk(store)
    for line, texts in {
        "model:two": ["From two."],
        "rating:up": ["From two."],
        "tag:fine": ["From one."],
        "status:stopped": ["About the moon."],
        "from": ["From one.", "From two."],
        f"conversation:{first.conversation_id[:20]}": ["From one."],
        "persona:other": [],
        "until:yesterday": [],
    }.items():
        walk.choose(read_filter(line))
        assert list_texts(walk) == texts, line


def test_a_conversation_that_there_is_not_leaves_the_filter_as_it_was(store: Store) -> None:
    say(store, "q", "A.")
    walk = make_walk(store)
    walk.choose({"rating": "none"})
    with pytest.raises(NotFound):
        walk.choose({"conversation": "ffff"})
    assert walk.asked.rating == "none"


def test_what_was_decided_before_can_be_looked_at_again(store: Store) -> None:
    replies = [say(store, f"q {n}", f"Answer {n}.", model="one" if n else "two") for n in range(16)]
    store.judgements.decide([one.id for one in replies[:12]], "approve", author="x")
    store.judgements.decide([replies[12].id], "reject", author="x")
    store.judgements.say(replies[3].id, author="x", rating=1, tags=["good"])
    walk = make_walk(store)
    for line, count in {
        "state:approved": 12,
        "state:rejected": 1,
        "state:approved model:one": 11,
        "state:approved rating:up": 1,
        "state:approved tag:good": 1,
        "state:approved answer": 12,
        "state:approved until:yesterday": 0,
        "state:waiting": 3,
    }.items():
        walk.replies.clear()
        walk.choose(read_filter(line))
        assert len(list_texts(walk)) == count, line
    walk.choose(read_filter("state:approved"))
    walk.place = 0
    item = walk.open()
    assert item is not None
    assert item.use.trains


def test_replies_that_come_while_others_are_reviewed_are_met_at_the_end(store: Store) -> None:
    say(store, "q", "A.")
    walk = make_walk(store)
    walk.begin_again()
    assert walk.open() is not None
    walk.replies[0].done = "approved"
    say(store, "q", "Worse.", rating=-1)
    walk.begin_again()
    item = walk.open()
    assert item is not None
    assert item.reply.content == "Worse."


def test_no_error_but_ours_comes_from_any_line() -> None:
    for line in (
        '"',
        "::",
        ":",
        "a:",
        "since:0000-00-00",
        "since:99999h",
        "until:10000-01-01",
        "text:\x00",
        "x" * 9000,
    ):
        try:
            read_filter(line)
        except ChatbotError as error:
            assert error.message
