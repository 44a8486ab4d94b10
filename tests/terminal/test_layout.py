"""Every widget inside the screen and none over another, from a wide terminal to a very small one."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.terminal.conftest import Chat, Opener

REPLY = [
    "# 标题\n\n天空是蓝色的 🎉🎉\n\n```python\nx = 1\n```\n\n| a | b |\n|---|---|\n| long cell | 2 |\n\n",
    "- item\n" * 20,
]
SIZES = [(160, 48), (80, 24), (60, 20), (40, 12), (20, 8)]


def check_regions(chat: Chat) -> None:
    width, height = chat.app.size
    visible = [
        chat.screen.query_one(name)
        for name in (
            "#sidebar",
            "#welcome",
            "#transcript",
            "#below",
            "#notice",
            "#queue",
            "#completions",
            "#prompt",
            "#status",
        )
    ]
    visible = [widget for widget in visible if widget.display and widget.region.area]
    for widget in visible:
        region = widget.region
        assert 0 <= region.x < region.right <= width, (widget, region)
        assert 0 <= region.y < region.bottom <= height, (widget, region)
    for one, other in combinations(visible, 2):
        assert not one.region.overlaps(other.region), (one, one.region, other, other.region)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_nothing_overlaps_or_leaves_the_screen(open_chat: Opener, size: tuple[int, int]) -> None:
    async with open_chat([REPLY], size=size) as chat:
        await chat.until(lambda: chat.screen.prompt.region.area, "the prompt")
        check_regions(chat)
        await chat.ask("天空为什么是蓝色的？")
        check_regions(chat)
        assert chat.screen.prompt.region.area
        assert chat.screen.query_one("#status").region.height == 1
        assert chat.screen.sidebar.region.area == 0 or size[0] >= 92
        lines = chat.shown.split("\n")
        assert len(lines) == size[1]


async def test_the_sidebar_comes_and_goes_with_the_width_and_the_key(open_chat: Opener) -> None:
    async with open_chat(size=(120, 30)) as chat:
        await chat.until(lambda: chat.screen.sidebar.display, "the sidebar")
        await chat.pilot.resize_terminal(80, 24)
        await chat.until(lambda: not chat.screen.sidebar.display, "it to hide itself")
        await chat.press("ctrl+b")
        await chat.until(lambda: chat.screen.sidebar.display, "it on demand")
        check_regions(chat)
        await chat.press("ctrl+b")
        await chat.until(lambda: not chat.screen.sidebar.display and chat.screen.prompt.has_focus, "the prompt")


async def test_the_scroll_follows_until_the_reader_scrolls_away(open_chat: Opener) -> None:
    async with open_chat([["a line\n\n"] * 3000], delay=0.004, size=(80, 24)) as chat:
        await chat.say("go")
        transcript = chat.screen.transcript
        await chat.until(lambda: transcript.max_scroll_y > 20, "a screenful")
        assert transcript.is_at_end
        await chat.press("pageup")
        place = transcript.scroll_y
        height = transcript.max_scroll_y
        await chat.until(lambda: transcript.max_scroll_y > height + 10, "more text below")
        assert transcript.scroll_y == place
        await chat.until_shown("there is more below")
        await chat.press("ctrl+end")
        await chat.until(lambda: transcript.is_at_end, "the end")
        height = transcript.max_scroll_y
        await chat.until(lambda: transcript.max_scroll_y > height, "more text")
        await chat.until(lambda: transcript.is_at_end, "following")
        await chat.until(lambda: "there is more below" not in chat.shown, "the sign to go")
        await chat.press("escape")


@pytest.mark.parametrize("theme", ["chatbot-dark", "chatbot-light", "chatbot-ansi", "nord", "textual-light"])
async def test_themes(open_chat: Opener, theme: str) -> None:
    async with open_chat([REPLY], theme=theme) as chat:
        await chat.ask("hello")
        assert chat.app.theme == theme
        await chat.until_shown("long cell")


async def test_a_chosen_theme_is_kept_for_the_next_start(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.say("/theme chatbot-light")
        await chat.until(lambda: chat.app.theme == "chatbot-light", "the theme")
    async with open_chat() as chat:
        assert chat.app.theme == "chatbot-light"
