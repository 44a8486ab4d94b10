"""The token view: shades, the cursor, the alternatives, going on from one, and what can go wrong."""

from __future__ import annotations

import asyncio
import math
from contextlib import closing

import pytest

from chatbot.config import Home
from chatbot.engine.protocol import GenerationRequest, TokenLogprob
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import EngineLost, RequestRefused
from chatbot.store.records import Message
from chatbot.terminal.screens.tokens import TokensScreen
from chatbot.terminal.widgets.token_alternatives import describe_share, describe_text
from chatbot.terminal.widgets.tokens import ShadedToken, lay_out
from tests.terminal.reviewing import Review, open_review, open_store, say

TEXT = "The sky is green."


def token(text: str, share: float, *others: tuple[str, float]) -> TokenLogprob:
    top = sorted([(text, math.log(share)), *((other, math.log(p)) for other, p in others)], key=lambda one: -one[1])
    return TokenLogprob(text, math.log(share), tuple(top))


SCORES = (
    token("The", 0.9, ("A", 0.05)),
    token(" sky", 0.3, (" sea", 0.6)),
    token(" is", 0.97, (" was", 0.02)),
    TokenLogprob(" green", math.log(0.004), ((" blue", math.log(0.8)), (" clear", math.log(0.1)))),
    token(".", 0.8, ("", 0.1), ("\ufffd", 0.05)),
)


def fill(home: Home, text: str = TEXT) -> Message:
    with closing(open_store(home)) as store:
        return say(store, "What colour is the sky?", text, rating=-1)


def make_engine(**more: object) -> ScriptedEngine:
    return ScriptedEngine([[" as", " the", " sea."]], scores=[SCORES], **more)  # type: ignore[arg-type]


def view(review: Review) -> TokensScreen:
    screen = review.app.screen
    assert isinstance(screen, TokensScreen)
    return screen


async def open_tokens(review: Review) -> TokensScreen:
    await review.press("v")
    await review.until(lambda: isinstance(review.app.screen, TokensScreen), "the token view")
    await review.until(lambda: view(review).texts or "✗" in review.shown, "the tokens")
    return view(review)


def test_the_shades() -> None:
    shares = (1.0, 0.5, 0.49, 0.2, 0.1, 0.04, 0.009, 0.0)
    shades = [ShadedToken("x", math.log(share) if share else -math.inf).shade for share in shares]
    assert shades == [0, 0, 1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("width", [8, 13, 40])
def test_every_token_has_its_place_and_no_row_is_too_wide(width: int) -> None:
    texts = ["The", " sk", "y", "\n\n", "", "天空", "是", " ", "super", "califragilistic", "\t", " \x1b[31m", "。"] * 3
    rows = lay_out([ShadedToken(text, -1.0) for text in texts], width)
    assert {piece.token for row in rows for piece in row} == set(range(len(texts)))
    assert all(sum(piece.cells for piece in row) <= width + 1 for row in rows)  # a sign for a line break may hang over
    assert "\x1b" not in "".join(piece.text for row in rows for piece in row)


def test_shares_and_names() -> None:
    assert [describe_share(share) for share in (0.5, 0.004, 0.00001)] == ["50.0 %", "0.40 %", "<0.01 %"]
    assert describe_text(" blue") == "“blue”"
    assert describe_text("\n") == "“↵”"
    assert describe_text("") == "the end, or a mark"


async def test_the_cursor_and_the_alternatives(home: Home) -> None:
    fill(home)
    async with open_review(home, engine=make_engine()) as review:
        screen = await open_tokens(review)
        await review.until_shown("5 tokens, read by scripted")
        await review.until_shown("1 improbable")
        assert screen.text.cursor == 3  # the first one that is improbable
        await review.until_shown("Token 4 of 5: “green”  0.40 %")
        await review.until_shown("80.0 %")
        await review.until(lambda: "● “green”" in review.shown, "the token itself among them")
        await review.press("left")
        await review.until_shown("Token 3 of 5: “is”  97.0 %")
        await review.press("home")
        await review.until_shown("Token 1 of 5: “The”")
        await review.press("n")
        await review.until_shown("Token 4 of 5")
        await review.press("end", "p")
        await review.until_shown("Token 4 of 5")
        await review.press("tab")
        assert screen.alternatives.chosen == 1
        await review.press("shift+tab", "escape")
        await review.until_reply(TEXT)
        assert len(review.store.logs.tree(review.screen.item.conversation.id)) == 2  # type: ignore[union-attr]


@pytest.mark.parametrize(("keys", "begins"), [(["1"], "The sky is blue"), (["tab", "enter"], "The sky is clear")])
async def test_going_on_from_an_alternative(home: Home, keys: list[str], begins: str) -> None:
    old = fill(home)
    async with open_review(home, engine=make_engine(delay=0.01)) as review:
        await open_tokens(review)
        await review.press(*keys)
        await review.until_reply(f"{begins} as the sea.")
        await review.until_shown("both are in the queue")
        new = review.screen.item
        assert new is not None
        assert new.reply.parent_id == old.parent_id
        assert review.decision(old) == ""
        await review.do("left")
        await review.until_reply(TEXT)
        await review.do("right", "a")
        assert review.decision(new.reply) == "approve"


async def test_what_cannot_be_gone_on_from_is_said(home: Home) -> None:
    fill(home)
    async with open_review(home, engine=make_engine()) as review:
        await open_tokens(review)
        await review.press("end", "2")
        await review.until_shown("With that the reply ends")
        await review.press("3")
        await review.until_shown("That is a part of a character")
        await review.press("9", "escape")
        await review.until_reply(TEXT)


async def test_a_continuation_that_is_stopped_keeps_what_was_said(home: Home) -> None:
    old = fill(home)
    engine = ScriptedEngine([[" word"] * 500], scores=[SCORES], delay=0.01)
    async with open_review(home, engine=engine) as review:
        await open_tokens(review)
        await review.press("1")
        await review.until_shown("The sky is blue word word")
        await review.press("escape")
        await review.until(lambda: review.reply.startswith("The sky is blue word"), "what was said")
        assert engine.closed_early == 1
        siblings = [one for one in review.store.logs.tree(old.conversation_id) if one.role == "assistant"]
        assert [one.status for one in siblings] == ["complete", "stopped"]


async def test_a_continuation_that_fails_is_told(home: Home) -> None:
    fill(home)
    engine = ScriptedEngine([[" as", EngineLost("The engine broke.", hint="Try again.")]], scores=[SCORES])
    async with open_review(home, engine=engine) as review:
        await open_tokens(review)
        await review.press("1")
        await review.until_shown("✗ The engine broke.")
        await review.until_shown("Try again.")
        await review.press("escape")
        await review.until_reply("The sky is blue as")


async def test_an_engine_that_cannot_tell_is_told_with_its_hint(home: Home) -> None:
    fill(home)
    refused = RequestRefused("This server has no scores.", hint="Use the private engine.")
    async with open_review(home, engine=ScriptedEngine([["x"]], scores=[refused])) as review:
        await open_tokens(review)
        await review.until_shown("✗ This server has no scores.")
        await review.until_shown("Use the private engine.")
        await review.press("1", "enter", "left", "escape")
        await review.until_reply(TEXT)


async def test_reading_is_shown_and_can_be_left(home: Home) -> None:
    fill(home)
    cancelled = []

    class Slow(ScriptedEngine):
        async def score(self, request: GenerationRequest) -> tuple[TokenLogprob, ...]:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append(request)
                raise
            return ()

    async with open_review(home, engine=Slow([["x"]])) as review:
        await review.press("v")
        await review.until_shown("The model reads the reply…")
        await review.press("escape")
        await review.until_reply(TEXT)
        await review.until(lambda: cancelled, "the computation to stop")


@pytest.mark.parametrize(
    ("size", "theme"),
    [((120, 36), "chatbot-dark"), ((80, 24), "chatbot-light"), ((60, 20), "chatbot-ansi")],
    ids=str,
)
async def test_every_size_and_theme(home: Home, size: tuple[int, int], theme: str) -> None:
    fill(home, "天空是 蓝色的。 \x1b[31m[b]x[/b] " * 30)
    async with open_review(home, size=size, theme=theme) as review:
        screen = await open_tokens(review)
        await review.until(lambda: screen.text.region.area, "the text")
        assert screen.text.region.height >= 4
        assert screen.query_one("#hints").region.bottom <= size[1]
        for key in ("down", "pagedown", "up", "end"):
            await review.press(key)
            assert "\x1b" not in review.shown
        assert screen.text.cursor == len(screen.texts) - 1
        shaded = {segment.style for row in range(screen.text.size.height) for segment in screen.text.render_line(row)}
        assert len(shaded) >= 4
        assert any(style and style.underline for style in shaded)
