"""A blind duel: two replies side by side, one key that decides, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from textual.widgets import Static

from chatbot.engine.protocol import Finished, GenerationRequest, Piece
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import EngineLost
from chatbot.store.opinions import Opinion
from chatbot.store.records import Message
from chatbot.terminal.screens.choose import Choose
from chatbot.terminal.screens.duel import DuelScreen
from chatbot.terminal.screens.dueling import DuelActions
from tests.terminal.conftest import Chat, Opener

LEFT = pytest.param(True, id="alpha-is-left")
RIGHT = pytest.param(False, id="alpha-is-right")


class Fighters(ScriptedEngine):
    """Each model says something of its own, again and again until it is let end."""

    def __init__(self, *, failing: str = "", endless: bool = False) -> None:
        super().__init__([["unused"]], names=("scripted", "alpha", "beta"), delay=0.002)
        self.failing = failing
        self.endless = endless
        self.running = 0
        self.most_running = 0
        self.awake = asyncio.Event()
        """Before it is set, beta is still being loaded."""
        self.awake.set()

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Piece | Finished]:  # type: ignore[override]
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        if request.model == "beta":
            await self.awake.wait()
        said = {"alpha": "Ants", "beta": "Bees"}.get(request.model, "Other")
        self._replies = [[f"{said} ", *(["and more "] * (5000 if self.endless else 20)), "end."]]
        if request.model == self.failing:
            self._replies = [[f"{said} ", EngineLost(f"The model {request.model} broke.", hint="Try again.")]]
        try:
            async for item in super().stream(request):
                yield item
        finally:
            self.running -= 1


def put_alpha(monkeypatch: pytest.MonkeyPatch, left: bool) -> None:
    order = ("alpha", "beta") if left else ("beta", "alpha")
    monkeypatch.setattr(DuelActions, "draw_places", staticmethod(lambda _: order))


async def challenge(chat: Chat, text: str = "Which insects?", models: str = "alpha beta") -> DuelScreen:
    """Says `text` to both and returns the screen on which they answer."""
    await chat.say(f"/duel {models}".strip())
    await chat.until_shown("The next prompt is a duel")
    await chat.say(text)
    await chat.until(lambda: isinstance(chat.app.screen, DuelScreen), "the duel")
    screen = chat.app.screen
    assert isinstance(screen, DuelScreen)
    return screen


async def until_ended(chat: Chat, screen: DuelScreen) -> None:
    await chat.until(lambda: all(side.has_ended for side in screen.sides), "both replies")


async def until_over(chat: Chat) -> None:
    await chat.until(
        lambda: len(chat.app.screen_stack) == 1 and not chat.screen.turns and not chat.screen.workers_busy, "the chat"
    )


def replies(chat: Chat) -> dict[str, Message]:
    """All replies that are seen, by their first word."""
    assert chat.screen.conversation_id
    tree = chat.manager.store.logs.tree(chat.screen.conversation_id)
    return {one.content.split(" ")[0]: one for one in tree if one.role == "assistant"}


def preferences(chat: Chat) -> list[Opinion]:
    judgements = chat.manager.store.judgements
    return [said for one in replies(chat).values() for said in judgements.history(one.id) if said.preferred_over]


@pytest.mark.parametrize("alpha_left", [LEFT, RIGHT])
@pytest.mark.parametrize("key", ["left", "1", "right", "2"])
async def test_one_key_decides_and_both_versions_are_kept(
    open_chat: Opener, monkeypatch: pytest.MonkeyPatch, key: str, alpha_left: bool
) -> None:
    put_alpha(monkeypatch, alpha_left)
    async with open_chat(engine=Fighters()) as chat:
        screen = await challenge(chat)
        await until_ended(chat, screen)
        await chat.until_shown("Which is better?")
        shown = chat.shown
        assert "Ants" in shown
        assert "Bees" in shown
        left = shown.index("Ants") < shown.index("Bees")
        assert left == alpha_left
        for name in ("alpha", "beta", "scripted"):
            assert name not in shown
        await chat.press(key)
        await until_over(chat)
        wins_left = key in {"left", "1"}
        winner, loser = ("alpha", "beta") if wins_left == alpha_left else ("beta", "alpha")
        word = {"alpha": "Ants", "beta": "Bees"}[winner]
        await chat.until_shown(f"{'Left' if wins_left else 'Right'} won: {winner} is preferred to {loser}.")
        assert chat.contents[0] == "Which insects?"
        assert chat.contents[1].startswith(word)
        assert len(chat.contents) == 2
        (said,) = preferences(chat)
        assert said.message_id == replies(chat)[word].id
        assert said.written_by["model"] == winner
        assert said.written_by["over"]["model"] == loser
        assert said.written_by["model_version_id"] != said.written_by["over"]["model_version_id"]
        assert said.written_by["seed"] != said.written_by["over"]["seed"]
        await chat.ask("And then?")  # which says nothing new about the two
        assert len(preferences(chat)) == 1


async def test_both_write_at_the_same_time(open_chat: Opener) -> None:
    engine = Fighters(endless=True)
    async with open_chat(engine=engine) as chat:
        screen = await challenge(chat)
        await chat.until(lambda: all(side.text for side in screen.sides), "both")
        assert engine.most_running == 2
        await chat.press("1")
        await chat.until_shown("Both must have ended")
        assert not preferences(chat)
        await chat.press("s")
        await until_ended(chat, screen)
        await chat.until_shown("■ stopped")
        await chat.press("2")
        await until_over(chat)
        assert len(preferences(chat)) == 1


@pytest.mark.parametrize("alpha_left", [LEFT, RIGHT])
async def test_the_model_that_was_loaded_already_does_not_show_itself_by_its_start(
    open_chat: Opener, monkeypatch: pytest.MonkeyPatch, alpha_left: bool
) -> None:
    put_alpha(monkeypatch, alpha_left)
    engine = Fighters()
    engine.awake.clear()
    async with open_chat(engine=engine) as chat:
        screen = await challenge(chat)
        alpha, beta = screen.sides if alpha_left else screen.sides[::-1]
        await chat.until(lambda: alpha.has_ended, "the one reply")
        assert not beta.has_begun
        assert "Ants" not in chat.shown
        assert chat.shown.count("writing") == 3  # over both, and below
        engine.awake.set()
        await chat.until(lambda: "Ants" in chat.shown and "Bees" in chat.shown, "both")
        await chat.press("escape")
        await until_over(chat)


async def test_names_are_told_nowhere_before_the_verdict(open_chat: Opener) -> None:
    async with open_chat(engine=Fighters(endless=True)) as chat:
        screen = await challenge(chat)
        chat.app._notifications.clear()
        await chat.until(lambda: all(side.text for side in screen.sides) and "and more" in chat.shown, "both")
        hidden = "\n".join(str(widget.render()) for widget in chat.screen.query(Static) if widget.display)
        assert "alpha" not in chat.shown + hidden
        assert chat.screen.status.status.model not in {"alpha", "beta"}
        await chat.press("s", "escape")
        await until_over(chat)


async def test_neither_records_nothing_and_can_be_taken_back(
    open_chat: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_alpha(monkeypatch, left=True)
    async with open_chat(engine=Fighters()) as chat:
        await until_ended(chat, await challenge(chat))
        await chat.press("0")
        await until_over(chat)
        await chat.until_shown("Nothing is recorded. Left was alpha. Right was beta")
        assert set(replies(chat)) == {"Ants"}
        await chat.press("alt+z")
        await chat.until(lambda: set(replies(chat)) == {"Ants", "Bees"}, "the other one")
        await chat.until_shown("‹1/2›")
        assert chat.contents[1].startswith("Ants")
        assert not preferences(chat)


async def test_going_on_after_neither_prefers_nothing(open_chat: Opener) -> None:
    async with open_chat(engine=Fighters()) as chat:
        await until_ended(chat, await challenge(chat))
        await chat.press("equals_sign")
        await until_over(chat)
        await chat.ask("And then?")
        assert not preferences(chat)


async def test_escape_stops_both_and_leaves_it_open(open_chat: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    put_alpha(monkeypatch, left=False)
    engine = Fighters(endless=True)
    async with open_chat(engine=engine) as chat:
        screen = await challenge(chat)
        await chat.until(lambda: all(side.text for side in screen.sides), "both")
        await chat.press("escape")
        await until_over(chat)
        await chat.until_shown("Left open. Left was beta. Right was alpha.")
        assert engine.closed_early == 2
        assert {one.status for one in replies(chat).values()} == {"stopped"}
        assert chat.contents[1].startswith("Bees")
        await chat.until_shown("‹1/2›")
        assert not preferences(chat)


@pytest.mark.parametrize("alpha_left", [LEFT, RIGHT])
async def test_if_one_fails_the_other_stays(
    open_chat: Opener, monkeypatch: pytest.MonkeyPatch, alpha_left: bool
) -> None:
    put_alpha(monkeypatch, alpha_left)
    async with open_chat(engine=Fighters(failing="beta")) as chat:
        await until_ended(chat, await challenge(chat))
        failed, stays = (2, 1) if alpha_left else (1, 2)
        await chat.until_shown(f"{failed} failed, {stays} stays")
        await chat.until_shown("✗ The model beta broke.")
        await chat.press("1")  # there is nothing to decide
        await chat.press("enter")
        await until_over(chat)
        await chat.until_shown("was beta and failed; the other reply stays.")
        assert chat.contents[1].startswith("Ants")
        assert not preferences(chat)


@pytest.mark.parametrize("alpha_left", [LEFT, RIGHT])
async def test_a_model_that_is_gone_leaves_the_turn_to_the_other(
    open_chat: Opener, monkeypatch: pytest.MonkeyPatch, alpha_left: bool
) -> None:
    put_alpha(monkeypatch, alpha_left)
    engine = Fighters()
    async with open_chat(engine=engine) as chat:
        await chat.ask("An earlier turn.")
        await chat.say("/duel alpha beta")
        await chat.until_shown("The next prompt is a duel")
        engine._names = ("alpha", "scripted")
        chat.manager._answering._windows.clear()  # what the engine listed before
        await chat.say("Which insects?")
        await chat.until(lambda: isinstance(chat.app.screen, DuelScreen), "the duel")
        screen = chat.app.screen
        assert isinstance(screen, DuelScreen)
        await until_ended(chat, screen)
        await chat.until_shown("There is no model beta")
        await chat.press("enter")
        await until_over(chat)
        assert chat.contents[2] == "Which insects?"
        assert chat.contents[3].startswith("Ants")
        assert len(chat.contents) == 4


async def test_a_new_conversation_whose_left_model_is_gone(open_chat: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    put_alpha(monkeypatch, left=False)
    engine = Fighters()
    async with open_chat(engine=engine) as chat:
        await chat.say("/duel alpha beta")
        await chat.until_shown("The next prompt is a duel")
        engine._names = ("alpha",)
        await chat.say("Which insects?")
        await chat.until_shown("1 failed, 2 stays")
        await chat.press("escape")
        await until_over(chat)
        assert chat.contents[0] == "Which insects?"
        assert chat.contents[1].startswith("Ants")


async def test_both_failed_is_told_and_tried_again(open_chat: Opener) -> None:
    engine = Fighters(failing="alpha")
    async with open_chat(engine=engine) as chat:
        await until_ended(chat, await challenge(chat, models="alpha alpha"))
        await chat.until_shown("Both failed")
        await chat.press("enter")
        await until_over(chat)
        await chat.until_shown("✗ The model alpha broke.")
        await chat.press("f5")
        await chat.until(lambda: chat.contents[-1].startswith("Other"), "another reply")


async def test_the_two_are_asked_for_and_one_may_fight_itself(open_chat: Opener) -> None:
    async with open_chat(engine=Fighters()) as chat:
        await chat.say("/duel")
        await chat.until_shown("A duel between…")
        assert isinstance(chat.app.screen, Choose)
        await chat.press("enter")
        await chat.until_shown("scripted against…")  # the one that answers now
        await chat.until_shown("● alpha")  # another one is offered first
        await chat.press("up", "enter")
        await chat.until_shown("scripted, twice")
        await chat.say("Which insects?")
        await chat.until(lambda: isinstance(chat.app.screen, DuelScreen), "the duel")
        screen = chat.app.screen
        assert isinstance(screen, DuelScreen)
        await until_ended(chat, screen)
        await chat.press("2")
        await until_over(chat)
        seeds = {request.sampling.seed for request in chat.engine.requests}
        assert len(seeds) == 2
        assert {request.model for request in chat.engine.requests} == {"scripted"}


@pytest.mark.parametrize("way", ["escape", "/duel off"])
async def test_a_duel_is_called_off(open_chat: Opener, way: str) -> None:
    async with open_chat(engine=Fighters()) as chat:
        await chat.say("/duel alpha beta")
        await chat.until_shown("The next prompt is a duel")
        await (chat.press(way) if way == "escape" else chat.say(way))
        await chat.until(lambda: "is a duel" not in chat.shown and not chat.screen.workers_busy, "the end")
        await chat.ask("Which insects?")
        assert len(chat.engine.requests) == 1


@pytest.mark.parametrize(("models", "told"), [("alpha \x1b[31m", "There is no model ␛[31m"), ("a b c", "between two")])
async def test_models_that_are_not_there_are_refused(open_chat: Opener, models: str, told: str) -> None:
    async with open_chat(engine=Fighters()) as chat:
        await chat.say(f"/duel {models}")
        await chat.until_shown(told)
        assert chat.screen.duel_models is None


async def test_a_duel_in_the_place_of_an_edited_message(open_chat: Opener) -> None:
    async with open_chat(engine=Fighters()) as chat:
        await chat.ask("one")
        await chat.say("/duel alpha beta")
        await chat.until_shown("The next prompt is a duel")
        await chat.press("alt+e")
        await chat.until(lambda: chat.screen.editing is not None, "editing")
        await chat.say("ONE")
        await chat.until_shown("Which is better?")
        await chat.press("1")
        await until_over(chat)
        assert chat.contents[0] == "ONE"
        await chat.until_shown("‹2/2›")


async def test_leaving_the_program_in_a_duel_keeps_both(open_chat: Opener) -> None:
    async with open_chat(engine=Fighters(endless=True)) as chat:
        screen = await challenge(chat)
        await chat.until(lambda: all(side.text for side in screen.sides), "both")
    async with open_chat(latest=True) as chat:
        await chat.until(lambda: chat.contents, "the conversation")
        assert {one.status for one in replies(chat).values()} == {"stopped"}
        assert set(replies(chat)) == {"Ants", "Bees"}


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (79, 24), (40, 14)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_two_columns_or_one_under_the_other(open_chat: Opener, size: tuple[int, int]) -> None:
    async with open_chat(engine=Fighters(), size=size) as chat:
        screen = await challenge(chat, "Which insects? " * 30)
        await until_ended(chat, screen)
        left, right = screen.left, screen.right
        await chat.until(lambda: left.region.area and right.region.area, "both")
        if size[0] >= 80:
            assert left.region.y == right.region.y
            assert abs(left.region.width - right.region.width) <= 1
        else:
            assert left.region.x == right.region.x
            assert left.region.bottom <= right.region.y
        widgets = [screen.query_one("#duel-prompt"), left, right, screen.query_one("#duel-hint")]
        for widget in widgets:
            assert 0 <= widget.region.x < widget.region.right <= size[0]
            assert 0 <= widget.region.y < widget.region.bottom <= size[1]
        for one, other in pairwise(widgets):
            assert not one.region.overlaps(other.region)
        assert all("left" in chat.shown and word in chat.shown for word in ("right", "neither"))


async def test_hostile_replies_are_shown_safely(open_chat: Opener) -> None:
    hostile = "\x1b[31mred\x1b]52;c;QQ==\x07 \u202eabc \x9b2J [/b]"
    async with open_chat([[hostile]]) as chat:
        screen = await challenge(chat, hostile, "scripted scripted")
        await until_ended(chat, screen)
        await chat.until_shown("␛[31mred␛]52;c;QQ==")
        assert not set(chat.shown) & set("\x1b\x07\x9b\u202e")
        await chat.press("1")
        await until_over(chat)


async def test_up_and_down_scroll_both(open_chat: Opener) -> None:
    async with open_chat([["line\n\n"] * 100], size=(80, 24)) as chat:
        screen = await challenge(chat, models="scripted scripted")
        await until_ended(chat, screen)
        scrollers = [side.scroller for side in screen.sides]
        await chat.until(lambda: all(one.scroll_y == one.max_scroll_y > 20 for one in scrollers), "the ends")
        await chat.press("pageup")
        await chat.until(lambda: all(one.scroll_y == one.max_scroll_y - 10 for one in scrollers), "ten rows up")
        await chat.press("escape")
        await until_over(chat)


def test_chance_puts_either_on_the_left() -> None:
    drawn = {DuelActions.draw_places(("alpha", "beta")) for _ in range(200)}
    assert drawn == {("alpha", "beta"), ("beta", "alpha")}
