"""What goes wrong around the chat: a full disk, a database that does not open, an engine that dies. No text is lost."""

from __future__ import annotations

from typing import Any

import pytest
from textual.containers import VerticalScroll
from textual.widgets import Static

from chatbot.config import Home, Settings
from chatbot.dialogue.manager import Manager
from chatbot.engine.protocol import Health
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import ChatbotError, DatabaseTooNew, DatabaseUnwritable, EngineLost
from chatbot.terminal.widgets.status_line import StatusLine
from tests.terminal.conftest import Opener


async def test_a_prompt_outlives_a_full_disk(open_chat: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    full = True

    def refuse_when_full(method: Any) -> Any:
        def run(*arguments: Any) -> Any:
            if full:
                raise DatabaseUnwritable("The disk is full.", hint="Make room.")
            return method(*arguments)

        return run

    async with open_chat([["A."]]) as chat:
        full = False
        await chat.ask("again")
        full = True
        manager = chat.manager
        monkeypatch.setattr(manager, "save_draft", refuse_when_full(manager.save_draft))
        planner: Any = manager._planner
        monkeypatch.setattr(planner, "say", refuse_when_full(planner.say))
        await chat.say("again")  # the same words as before, which are kept: these are not
        await chat.until(lambda: "✗ The disk is full." in chat.shown, "the error")
        await chat.until(lambda: chat.screen.prompt.text == "again", "the prompt to come back")
        await chat.until(lambda: chat.screen._draft_failed, "a draft that could not be kept")
        full = False
        await chat.press("f5")
        await chat.until(lambda: chat.contents == ["again", "A."] * 2, "the second try")
        full = True
        await chat.say("a thought")
        await chat.until(lambda: chat.screen.prompt.text == "a thought", "the prompt to come back")
        await chat.until(lambda: chat.screen._draft_failed, "a draft that could not be kept")
        full = False
        conversation = chat.screen.conversation_id
    store = open_chat.store()
    assert store.conversations.draft(conversation) == "a thought"
    store.close()


async def test_a_refused_first_message_is_no_draft_of_the_next_conversation(open_chat: Opener) -> None:
    long = "word " * 5000
    async with open_chat() as chat:
        chat.screen.prompt.load(long)
        await chat.until(lambda: chat.manager.draft(None) == long, "the draft")
        await chat.press("enter")
        await chat.until(lambda: chat.contents == [long], "the message that is kept")
        await chat.press("ctrl+n")
        await chat.until(lambda: chat.screen.conversation is None and not chat.contents, "a new conversation")
        assert chat.screen.prompt.text == ""
        assert chat.manager.draft(None) == ""


async def test_a_database_that_does_not_open_takes_no_prompt(open_chat: Opener) -> None:
    def refuse() -> Manager:
        raise DatabaseTooNew("The database is newer.", hint="Update.")

    async with open_chat(opener=refuse, ready=False) as chat:
        await chat.until_shown("✗ failed: The database is newer.")
        await chat.say("keep me")
        await chat.until(lambda: chat.screen.prompt.text == "keep me", "the text back in the prompt")
        assert not chat.screen.queue
    assert isinstance(chat.app.failure, DatabaseTooNew)
    assert "neither sent nor kept" in str(chat.app.failure)


def test_the_failure_is_told_after_the_screen(home: Home, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from chatbot.terminal import app

    def run(self: app.ChatApp) -> None:
        self.failure = DatabaseTooNew("The database is newer.")

    monkeypatch.setattr(app.ChatApp, "run", run)
    with pytest.raises(ChatbotError, match="newer"):
        app.run_chat(settings, home)


class Dying(ScriptedEngine):
    """Its health fails in a way that nobody foresaw, and warming fails as well."""

    async def health(self) -> Health:
        raise ValueError("no JSON")

    async def warm(self, model: str) -> None:
        raise EngineLost("It broke.")


async def test_no_failure_of_the_health_ends_the_chat(open_chat: Opener) -> None:
    async with open_chat(engine=Dying([["A."]])) as chat:
        await chat.until_shown("✗ failed")
        await chat.ask("one")
        assert chat.contents == ["one", "A."]


async def test_a_failed_warming_is_forgotten_after_a_reply(open_chat: Opener) -> None:
    class Cold(ScriptedEngine):
        async def warm(self, model: str) -> None:
            raise EngineLost("It broke.")

    async with open_chat(engine=Cold([["A."]])) as chat:
        await chat.until_shown("✗ failed: It broke.")
        await chat.ask("one")
        await chat.until_shown("● ready")


async def test_a_lost_engine_is_said_once_with_what_can_be_done(open_chat: Opener) -> None:
    async with open_chat([["Half", EngineLost("The connection broke.")]]) as chat:
        await chat.say("one")
        await chat.until_shown("Ctrl+G continues it")
        assert chat.shown.count("The connection broke.") == 1


@pytest.mark.parametrize("width", [74, 84])
async def test_the_four_figures_fit(open_chat: Opener, width: int) -> None:
    async with open_chat(size=(width + 6, 24), sidebar=False) as chat:
        status = chat.screen.query_one(StatusLine)
        status.change(
            model="smollm2-135m-instruct", tokens=1220, window=8192, speed=11.2, first_token=0.21, engine="ready"
        )
        assert status.content_size.width == width
        line = status.render().plain
        assert "1,220/8,192 (14%) · 11 tok/s · first 0.2 s" in line
        assert "●" in line


async def test_what_another_process_keeps_is_listed(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        other = Manager(open_chat.store(), ScriptedEngine([["B."]]), settings=open_chat.settings, home=open_chat.home)
        async for _ in other.reply(None, "from elsewhere"):
            pass
        await other.close()
        await chat.until(lambda: chat.screen.sidebar.conversations, "the other's conversation")


async def test_escape_clears_the_filter(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("one")
        await chat.say("/find nothing like it")
        await chat.until_shown("nothing found")
        await chat.press("escape")
        await chat.until(lambda: chat.screen.sidebar.conversations and not chat.screen.sidebar.text, "the whole list")
        assert chat.screen.prompt.has_focus


async def test_stepping_back_after_an_edit_above(open_chat: Opener) -> None:
    async with open_chat([["A."], ["B."], ["C."], ["D."]]) as chat:
        await chat.ask("one")
        await chat.press("ctrl+r")  # an alternative below, in the old branch
        await chat.until(lambda: chat.contents == ["one", "B."], "another reply")
        await chat.until_idle()
        await chat.press("alt+e")
        await chat.until(lambda: chat.screen.prompt.text == "one", "the text to edit")
        chat.screen.prompt.load("ONE")
        await chat.press("enter")
        await chat.until(lambda: chat.contents == ["ONE", "C."], "the new branch")
        await chat.until_idle()
        await chat.press("alt+left")
        await chat.until(lambda: chat.contents == ["one", "B."], "the old branch")
        await chat.press("alt+right")
        await chat.until(lambda: chat.contents == ["ONE", "C."], "the way back")


async def test_a_broken_persona_is_told_at_the_start(open_chat: Opener) -> None:
    open_chat.home.personas.mkdir(parents=True, exist_ok=True)
    (open_chat.home.personas / "broken.toml").write_text("title = ")
    async with open_chat() as chat:
        await chat.until_shown("broken.toml")


async def test_the_hint_goes_with_the_selection(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("one")
        await chat.press("alt+up")
        await chat.until_shown("c copy")
        await chat.press("escape")
        await chat.until(lambda: "c copy" not in chat.shown, "the hint to go")


async def test_the_word_about_an_unknown_command_goes_with_it(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.say("/nonsense")
        await chat.until_shown("There is no command /nonsense")
        await chat.press("ctrl+c")
        await chat.until(lambda: "There is no command" not in chat.shown, "the word to go")


@pytest.mark.parametrize("size", [(120, 60), (60, 24)])
async def test_no_row_of_the_help_wraps_in_its_midst(open_chat: Opener, size: tuple[int, int]) -> None:
    async with open_chat(size=size) as chat:
        await chat.press("f1")
        await chat.until_shown("Send the prompt")
        await chat.press("pagedown")
        await chat.until(lambda: chat.app.screen.query_one(VerticalScroll).scroll_y > 0, "the rows below")
        text = chat.app.screen.query_one(".help Static", Static)
        described = str(text.content).split("The names stand behind")[0].split("Editing")[0]
        assert "/archived" in described
        assert max(map(len, described.split("\n"))) <= text.content_size.width
