"""`chatbot logs list`, `search` and `show`."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from chatbot.config import Home
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.store.database import Store
from tests.cli.logs.talks import (
    EGGS,
    HARD,
    HOSTILE,
    PAN,
    PRIVATE,
    RAIN,
    SEVEN,
    SPRING,
    TEN,
    UNANSWERED,
    WEATHER,
    ids,
    run,
)

BOUND = "\x1b\x9b\x07\u202e"


def test_an_empty_log_says_so_and_is_an_empty_list(home: Home) -> None:
    done = run("list")
    assert (done.code, done.out, done.err) == (0, "", "There are no conversations yet.\n")
    assert run("list", "--json").json == []
    assert run("search", "anything", "--json").json == []


def test_the_newest_conversation_is_listed_first(log: Store) -> None:
    assert ids(run("list", "--json")) == [EGGS, PRIVATE, UNANSWERED, HOSTILE, WEATHER]
    done = run("list", "-n", "2")
    lines = done.out.splitlines()
    assert lines[0].split() == ["ID", "CHANGED", "SAID", "MARKS", "MODELS", "TITLE"]
    assert lines[1].split() == [EGGS[:18], "2026-03-02", "5", "?3", "tiny", "Boiling", "eggs"]
    assert len(lines) == 3
    assert "--offset 2" in done.err
    assert ids(run("list", "--json", "-n", "2", "--offset", "2")) == [UNANSWERED, HOSTILE]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--persona", "cook"], [EGGS]),
        (["--model", "tiny"], [EGGS]),
        (["--rating", "down"], [WEATHER]),
        (["--tag", "wrong"], [WEATHER]),
        (["--text", "minutes"], [EGGS]),
        (["--text", "伞"], [WEATHER]),
        (["--conversation", "019c"], [HOSTILE]),
        (["--since", "2026-03-02"], [EGGS]),
        (["--until", "2026-03-01T13:30+00:00"], [WEATHER]),
        (["--state", "approved"], []),
        (["--status", "stopped"], []),
        (["--bin"], []),
    ],
)
def test_each_filter_chooses(log: Store, filters: list[str], expected: list[str]) -> None:
    assert ids(run("list", "--json", *filters)) == expected


def test_a_number_beyond_the_database_is_no_error(log: Store) -> None:
    assert len(ids(run("list", "--json", "-n", str(1 << 70)))) == 5
    assert ids(run("list", "--json", "--offset", str(1 << 70))) == []


def test_what_matches_nothing_is_told(log: Store) -> None:
    assert run("list", "--rating", "up").err == "No conversation matches.\n"


@pytest.mark.parametrize("wrong", [["--since", "soon"], ["--rating", "good"], ["--state", "x"], ["--limit", "0"]])
def test_a_wrong_filter_is_wrong_usage(log: Store, wrong: list[str]) -> None:
    done = run("list", *wrong)
    assert done.code == 2
    assert wrong[0] in done.err


def test_text_that_is_no_text_is_refused(log: Store) -> None:
    assert run("list", "--persona", "\udcff").code == 8
    assert run("search", "\udcff").code == 8


def test_columns_stand_under_each_other_in_any_script(log: Store) -> None:
    log.conversations.change(WEATHER, title="北京" * 60)
    for columns in (60, 80, 120):
        lines = run("list", columns=columns).out.splitlines()
        start = lines[0].index("TITLE")
        assert all(cell_len(line) <= columns for line in lines)
        chinese = next(line for line in lines if "北京" in line)
        assert cell_len(chinese[: chinese.index("北")]) == start
        assert chinese.endswith("…")


def test_hostile_text_never_reaches_the_terminal(log: Store) -> None:
    commands = [["list"], ["search", "clear"], ["search", "red"], ["show", HOSTILE], ["show", HOSTILE, "--tree"]]
    commands += [["show", WEATHER], ["review"], ["lineage", HOSTILE], ["delete", HOSTILE], ["export", "-f", "json"]]
    for command in [*commands, *([*one, "--json"] for one in commands)]:
        done = run(*command)
        assert done.code == 0, command
        assert not set(BOUND) & set(done.out + done.err), command


def test_search_finds_one_chinese_character(log: Store) -> None:
    done = run("search", "伞")
    assert [line.split()[-1] for line in done.out.splitlines()[::2]] == [RAIN[:18]]
    assert "下雨，请带伞。" in done.out
    (hit,) = run("search", "带伞", "--json").json
    start, end = hit["spans"][0]
    assert hit["snippet"][start:end] == "带伞"
    assert (hit["message"], hit["conversation"], hit["role"]) == (RAIN, WEATHER, "assistant")


def test_search_takes_filters_and_several_words(log: Store) -> None:
    assert [hit["message"] for hit in run("search", "minutes", "--json").json] == [TEN, SEVEN]
    assert [hit["message"] for hit in run("search", "seven", "minutes", "--json").json] == [SEVEN]
    assert run("search", "minutes", "--persona", "default").err == "Nothing was found.\n"
    assert run("search", " ").code == 8


def test_the_hit_is_seen_however_narrow_the_terminal(log: Store) -> None:
    from chatbot.cli.logs.listing import draw_snippet

    text = "天气" * 40 + "水" + "天气" * 40
    for width in (20, 40, 80):
        drawn = draw_snippet(text, [(80, 81)], width)
        assert "水" in drawn
        assert cell_len(drawn) <= width


def test_show_prints_the_branch_on_screen(log: Store) -> None:
    done = run("show", "019a")
    assert done.code == 0
    assert "Boil it for seven minutes." in done.out
    assert "Ten minutes." in done.out
    assert "Put it in a pan." not in done.out
    assert "‹1/2›" in done.out
    assert [one["id"] for one in run("show", EGGS, "--json").json["messages"]][-1] == TEN


def test_show_takes_a_message_for_the_branch_to_it(log: Store) -> None:
    for arguments in ([PAN], [EGGS, "--path", PAN]):
        assert [one["id"] for one in run("show", *arguments, "--json").json["messages"]][1:] == [PAN]
    assert run("show", WEATHER, "--path", PAN).code == 8


def test_show_all_tells_which_messages_are_on_the_branch(log: Store) -> None:
    said = run("show", EGGS, "--all", "--json").json["messages"]
    assert {one["id"]: one["on_branch"] for one in said}[PAN] is False
    assert len(said) == 5


def test_show_tells_what_was_thought_of_a_reply(log: Store) -> None:
    done = run("show", WEATHER)
    assert "rated down" in done.out
    assert "#wrong" in done.out
    assert "“It was ␛[31msunny.”" in done.out
    assert run("show", WEATHER, "--json").json["messages"][1]["tags"] == ["wrong"]
    assert "cut off" in run("show", HOSTILE).out


def test_the_tree_opens_columns_for_alternatives_only(log: Store) -> None:
    lines = run("show", EGGS, "--tree").out.splitlines()[2:]
    assert [line[: line.index(" ·")].rstrip() for line in lines] == [
        "● user",
        "├─● tiny",
        "│ ● user",
        "│ ● tiny",
        "└─○ tiny",
    ]
    assert HARD[:18] in lines[2]


def test_a_tree_of_any_depth_is_drawn_within_the_width() -> None:
    from chatbot.cli.logs.drawing import draw_tree
    from chatbot.store.records import Message

    def say(key: str, parent: str | None) -> Message:
        return Message(key, "c", parent, "user", "x" * 300, "complete", SPRING)

    spine = [say(f"{depth}", f"{depth - 1}" if depth else None) for depth in range(5000)]
    twigs = [say(f"{depth}b", f"{depth - 1}") for depth in range(1, 5000)]
    lines = list(draw_tree([*spine, *twigs], {"0"}, 80))
    assert len(lines) == 9999
    assert max(map(cell_len, lines)) <= 80


def test_views_exclude_each_other(log: Store) -> None:
    assert run("show", EGGS, "--all", "--tree").code == 2


@pytest.mark.parametrize(("prefix", "code"), [("zz", 5), ("", 8), ("019", 8)])
def test_an_id_that_is_none_or_several_is_an_error(log: Store, prefix: str, code: int) -> None:
    done = run("show", prefix)
    assert done.code == code
    assert done.out == ""
    assert "id" in done.err.lower()


def test_the_beginning_of_the_ids_of_a_conversation_and_of_a_message_of_another_is_ambiguous(log: Store) -> None:
    assert run("show", EGGS[:9], "--json").code == 0  # its own messages begin so, too
    stray = ArchivedMessage("1", None, "user", "stray", id="019a0000-0000-7fff-8000-000000000000")
    log.archive.add([ArchivedConversation("stray", (stray,), title="stray")], source="test")
    done = run("show", EGGS[:9])
    assert done.code == 8
    assert EGGS in done.err
    assert f"message {stray.id} of another" in done.err
    assert run("show", EGGS).code == run("show", stray.id).code == 0
