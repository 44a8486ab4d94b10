"""The table of actions, remapped keys, the clipboard's sequences."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from chatbot.terminal.actions import ACTIONS, BY_NAME, is_key, resolve_keys, show_keys
from chatbot.terminal.clipboard import encode_osc52, find_tool, is_remote
from chatbot.terminal.screens.chat import ChatScreen
from chatbot.terminal.widgets.sidebar import name_day
from tests.terminal.conftest import Opener


def test_every_action_can_be_done_and_reached() -> None:
    for action in ACTIONS:
        assert callable(getattr(ChatScreen, f"action_{action.name}")), action.name
        assert action.keys or action.slash, action.name


def test_no_key_and_no_command_means_two_things() -> None:
    keys = [key for action in ACTIONS for key in action.keys.split(",") if key]
    assert len(keys) == len(set(keys))
    assert all(map(is_key, keys))
    commands = [action.slash for action in ACTIONS if action.slash]
    assert len(commands) == len(set(commands))


def test_remapping() -> None:
    keys, problems = resolve_keys({"regenerate": "F6, ctrl+y"})
    assert keys["regenerate"] == "f6,ctrl+y"
    assert not problems


@pytest.mark.parametrize(
    ("remapped", "problem"),
    [
        ({"regenrate": "f6"}, "no action “regenrate”"),
        ({"\x1b[31m": "f6"}, "no action “␛[31m”"),
        ({"regenerate": "ctlr+g"}, "“ctlr+g” is no key"),
        ({"regenerate": "f6", "stop": "f6"}, "f6 is given to regenerate and stop"),
    ],
)
def test_what_is_wrong_with_the_keys_is_said(remapped: dict[str, str], problem: str) -> None:
    _, problems = resolve_keys(remapped)
    assert any(problem in said for said in problems), problems


def test_a_key_that_the_user_took_is_taken_from_its_owner() -> None:
    keys, problems = resolve_keys({"new_conversation": "ctrl+r"})
    assert keys["regenerate"] == ""
    assert keys["new_conversation"] == "ctrl+r"
    assert not problems


async def test_a_remapped_key_works_and_a_wrong_name_is_told(open_chat: Opener) -> None:
    async with open_chat([["A."], ["B."]], keys={"regenerate": "f6", "send": "f7", "nonsense": "f8"}) as chat:
        await chat.until_shown("“nonsense”")
        chat.screen.prompt.load("hello")
        await chat.press("f7")
        await chat.until(lambda: chat.contents == ["hello", "A."], "the turn")
        await chat.until_idle()
        await chat.press("ctrl+r")
        await chat.press("f6")
        await chat.until(lambda: chat.contents == ["hello", "B."], "another reply")


def test_keys_as_a_reader_knows_them() -> None:
    assert show_keys("ctrl+r,f5") == "Ctrl+R, F5"
    assert show_keys(BY_NAME["select_previous"].keys) == "Alt+↑"


def test_the_clipboards_sequence_and_its_wrappers() -> None:
    payload = base64.b64encode("你好\x1b".encode()).decode()
    assert encode_osc52("你好\x1b", {}) == f"\x1b]52;c;{payload}\x07"
    assert encode_osc52("a", {"TMUX": "/tmp/x"}) == "\x1bPtmux;\x1b\x1b]52;c;YQ==\x07\x1b\\"
    wrapped = encode_osc52("x" * 1000, {"TERM": "screen.xterm"})
    chunks = wrapped.removeprefix("\x1bP").removesuffix("\x1b\\").split("\x1b\\\x1bP")
    assert "".join(chunks) == encode_osc52("x" * 1000, {})
    assert max(map(len, chunks)) <= 250


def test_the_desktops_tool_only_where_the_reader_sits() -> None:
    assert is_remote({"SSH_CONNECTION": "1 2 3 4"})
    assert not is_remote({})
    assert find_tool({"PATH": "/nowhere", "DISPLAY": ":0"}) is None


@pytest.mark.parametrize(
    ("days", "name"), [(0, "Today"), (1, "Yesterday"), (10, "The last 30 days"), (400, "2025"), (-1, "Today")]
)
def test_days_have_names(days: int, name: str) -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    assert name in name_day(now - timedelta(days=days), now)
