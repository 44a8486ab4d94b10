"""The prompt: growth, new lines, history, folded pastes, the editor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from textual import events

from tests.terminal.conftest import Chat, Opener

LONG = "\n".join(f"line {number}" for number in range(214))


async def paste(chat: Chat, text: str) -> None:
    chat.screen.prompt.post_message(events.Paste(text))
    await chat.until(lambda: chat.screen.prompt.text, "the paste")


async def test_it_grows_to_ten_lines_and_shrinks(open_chat: Opener) -> None:
    async with open_chat() as chat:
        prompt = chat.screen.prompt
        assert prompt.content_size.height == 1
        for _ in range(3):
            await chat.press("a", "shift+enter")
        await chat.until(lambda: prompt.content_size.height == 4, "four lines")
        await chat.press("b", "alt+enter", "c", "ctrl+j")
        assert prompt.text == "a\na\na\nb\nc\n"
        prompt.load("\n".join("x" * 11))
        await chat.until(lambda: prompt.content_size.height in {9, 10}, "ten lines")
        prompt.clear_all()
        await chat.until(lambda: prompt.content_size.height == 1, "one line")


async def test_up_and_down_recall_what_was_said(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("first")
        await chat.ask("second")
        await chat.press(*"new", "up")
        assert chat.screen.prompt.text == "second"
        await chat.press("up")
        assert chat.screen.prompt.text == "first"
        await chat.press("down", "down")
        assert chat.screen.prompt.text == "new"


async def test_a_large_paste_is_folded_and_sent_in_full(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.press(*"see: ")
        chat.screen.prompt.post_message(events.Paste(LONG))
        await chat.until_shown("[pasted 214 lines #1]")
        await chat.press("!", "enter")
        await chat.until(lambda: chat.contents == [f"see: {LONG}!", "A."], "the whole paste")


async def test_a_folded_paste_is_unfolded_or_deleted_as_one(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await paste(chat, LONG)
        await chat.press("backspace")
        assert chat.screen.prompt.text == ""
        await paste(chat, LONG)
        await chat.press("alt+u")
        await chat.until(lambda: chat.screen.prompt.text == LONG, "the text in full")


async def test_a_small_paste_stands_as_it_is(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await paste(chat, "two\r\nlines")
        assert chat.screen.prompt.text == "two\nlines"


async def test_a_paste_with_control_characters_is_folded_and_sent_as_it_was(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await paste(chat, "\x1b]0;title\x07")
        assert "\x1b" not in chat.screen.prompt.text
        await chat.press("enter")
        await chat.until(lambda: chat.contents[:1] == ["\x1b]0;title\x07"], "the message")
        assert "\x1b" not in chat.shown


async def test_a_large_draft_is_folded_again(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await paste(chat, LONG)
        await chat.until(lambda: chat.manager.draft(None) == LONG, "the draft in full")
    async with open_chat() as chat:
        await chat.until_shown("[pasted 214 lines #1]")
        assert chat.screen.prompt.full_text == LONG


async def test_a_paste_of_a_megabyte_does_not_hold_up(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await paste(chat, "x" * 1_000_000)
        assert chat.screen.prompt.text == "[pasted 1000000 characters #1]"


async def test_the_editor_has_the_text_and_gives_it_back(
    open_chat: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatbot.terminal import editor

    program = tmp_path / "editor.py"
    program.write_text("import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text().upper())")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {program}")
    async with open_chat() as chat:
        monkeypatch.setattr(chat.app, "suspend", __import__("contextlib").nullcontext)
        assert editor.edit_text(chat.app, "shout") == "SHOUT"
        monkeypatch.setenv("EDITOR", "/nowhere/editor")
        chat.screen.prompt.load("kept")
        await chat.press("ctrl+o")
        await chat.until_shown("does not start")
        assert chat.screen.prompt.text == "kept"


@pytest.mark.parametrize("typed", ["/help", "hello"])
async def test_enter_means_what_is_written_and_not_what_was_offered_before(open_chat: Opener, typed: str) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.press("slash")
        await chat.until(lambda: chat.screen.prompt.completing, "the commands")
        chat.screen.prompt.load(typed)  # what a burst of letters leaves, before the screen has heard of any
        await chat.screen.prompt._on_key(events.Key("enter", None))
        if typed == "hello":
            await chat.until(lambda: chat.contents == ["hello", "A."], "the turn")
        else:
            await chat.until(lambda: len(chat.app.screen_stack) == 2, "the help")
