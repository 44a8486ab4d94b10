"""What a reader does in the chat, key by key, on a real store."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import partial

import pytest

from chatbot.dialogue.manager import Manager
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import DatabaseBusy, EngineLost, EngineUnavailable
from tests.terminal.conftest import Chat, Opener

SLOW = ["word "] * 400


def chat_says(chat: Chat, contents: list[str]) -> bool:
    return chat.contents == contents


def has_title(chat: Chat, title: str) -> bool:
    return chat.manager.conversations()[0].title == title


async def test_a_turn_is_shown_and_kept(open_chat: Opener) -> None:
    async with open_chat([["The **sky** ", "is `blue`."]]) as chat:
        await chat.ask("Why?")
        assert chat.contents == ["Why?", "The **sky** is `blue`."]
        await chat.until_shown("The sky is blue.")
        assert chat.screen.conversation is not None
        kept = chat.manager.transcript(chat.screen.conversation.id)
        assert [message.content for message in kept] == chat.contents
        await chat.until(lambda: chat.screen.sidebar.conversations, "the conversation in the list")
        await chat.until_shown("/2,048 (")


async def test_typing_works_before_the_database_is_open(open_chat: Opener) -> None:
    async with open_chat([["Yes."]], ready=False) as chat:
        await chat.press("h", "i", "enter")
        await chat.until(lambda: chat.contents == ["hi", "Yes."], "the turn")


async def test_escape_stops_and_keeps_the_text(open_chat: Opener) -> None:
    async with open_chat([SLOW, [" and on."]], delay=0.005) as chat:
        await chat.say("Count.")
        await chat.until_shown("word word")
        await chat.press("escape")
        await chat.until_idle()
        await chat.until_shown("■ stopped")
        assert chat.engine.closed_early == 1
        stopped = chat.screen.transcript.messages[-1]
        assert stopped.status == "stopped"
        assert stopped.content.startswith("word word")
        await chat.press("ctrl+g")
        await chat.until(lambda: chat.contents[-1] == stopped.content + " and on.", "the reply that went on")


async def test_the_next_prompt_waits_in_a_queue_that_can_be_taken_back(open_chat: Opener) -> None:
    async with open_chat([SLOW, ["Second."]], delay=0.01) as chat:
        await chat.say("One")
        await chat.until_shown("word")
        await chat.say("Two")
        await chat.say("Three")
        await chat.until_shown("next: Three")
        await chat.press("alt+q")
        assert chat.screen.prompt.text == "Three"
        await chat.until(lambda: len(chat.contents) == 4 and chat.contents[3] == "Second.", "the queued turn")
        assert chat.contents[2] == "Two"
        assert chat.screen.prompt.text == "Three"


async def test_regenerate_makes_siblings_to_step_among(open_chat: Opener) -> None:
    async with open_chat([["First."], ["Second."], ["Third."]]) as chat:
        await chat.ask("Again?")
        for expected in ("Second.", "Third."):
            await chat.press("ctrl+r")
            await chat.until(partial(chat_says, chat, ["Again?", expected]), expected)
            await chat.until_idle()
        await chat.until_shown("‹3/3›")
        await chat.press("alt+left")
        await chat.until(lambda: chat.contents == ["Again?", "Second."], "the one before")
        await chat.until_shown("‹2/3›")
        await chat.press("alt+right")
        await chat.until(lambda: chat.contents == ["Again?", "Third."], "the one after")


async def test_edit_branches_and_keeps_the_old_branch(open_chat: Opener) -> None:
    async with open_chat([["A."], ["B."], ["C."]]) as chat:
        await chat.ask("one")
        await chat.ask("two")
        await chat.press("alt+e")
        await chat.until(lambda: chat.screen.prompt.text == "two", "the text to edit")
        chat.screen.prompt.load("TWO")
        await chat.press("enter")
        await chat.until(lambda: chat.contents == ["one", "A.", "TWO", "C."], "the new branch")
        await chat.until_idle()
        await chat.press("alt+left")
        await chat.until(lambda: chat.contents == ["one", "A.", "two", "B."], "the old branch")


async def test_escape_leaves_an_edit_as_it_was(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("one")
        await chat.press("alt+e")
        await chat.until(lambda: chat.screen.editing is not None, "editing")
        await chat.press("escape")
        await chat.until(lambda: chat.screen.editing is None and not chat.screen.prompt.text, "the end of editing")
        assert chat.contents == ["one", "A."]


async def test_delete_a_turn_and_take_it_back(open_chat: Opener) -> None:
    async with open_chat([["A."], ["B."]]) as chat:
        await chat.ask("one")
        await chat.ask("two")
        await chat.press("alt+d")
        await chat.until(lambda: chat.contents == ["one", "A."], "the deletion")
        await chat.until(lambda: "two" not in chat.shown, "the turn to be off the screen")
        await chat.press("alt+z")
        await chat.until(lambda: chat.contents == ["one", "A.", "two", "B."], "the turn to be back")
        await chat.until(lambda: "┃ two" in chat.shown and "B." in chat.shown, "both messages")


async def test_a_lost_engine_keeps_the_text_and_can_be_retried(open_chat: Opener) -> None:
    lost = EngineLost("The connection to the engine broke.", hint="Try again.")
    async with open_chat([["Half a ", lost], ["A whole one."]]) as chat:
        await chat.say("Tell me.")
        await chat.until_shown("✗ The connection to the engine broke.")
        await chat.until_idle()
        assert chat.contents == ["Tell me.", "Half a "]
        await chat.press("f5")
        await chat.until(lambda: chat.contents == ["Tell me.", "A whole one."], "the second try")


async def test_an_engine_that_cannot_be_reached_loses_no_prompt(open_chat: Opener) -> None:
    gone = EngineUnavailable("The engine cannot be reached.", hint="See `chatbot doctor`.")

    class Unreachable(ScriptedEngine):
        async def models(self) -> list:  # type: ignore[type-arg]
            raise gone

    async with open_chat(engine=Unreachable([["x"]])) as chat:
        await chat.say("Do not lose me.")
        await chat.until(lambda: "✗" in chat.shown, "the error")
        await chat.until_idle()
        await chat.until(
            lambda: "Do not lose me." in chat.contents or "Do not lose me." in chat.screen.prompt.text, "it"
        )


async def test_a_busy_database_at_the_start_is_told_and_tried_again(open_chat: Opener) -> None:
    tries = []

    def opener() -> Manager:
        tries.append(1)
        if len(tries) == 1:
            raise DatabaseBusy("Another process holds the database.", hint="Wait for it.")
        return Manager(open_chat.store(), ScriptedEngine([["Hi."]]), settings=open_chat.settings, home=open_chat.home)

    async with open_chat(opener=opener, ready=False) as chat:
        await chat.say("kept")
        await chat.until_shown("Another process holds the database.")
        await chat.press("f5")
        await chat.until(lambda: chat.contents == ["kept", "Hi."], "the turn that waited")


async def test_an_interrupted_reply_offers_what_to_do(open_chat: Opener) -> None:
    async with open_chat([["Half"]]) as chat:
        await chat.ask("Go on.")
    with contextlib.closing(sqlite3.connect(open_chat.home.data / "chatbot.db")) as connection, connection:
        connection.execute("UPDATE message SET status = 'interrupted' WHERE role = 'assistant'")
    async with open_chat([["Half", " and the rest."]], latest=True) as chat:
        await chat.until_shown("This reply was interrupted.")
        await chat.say("/drop")
        await chat.until(lambda: chat.contents == ["Go on."], "the reply to be dropped")


async def test_drafts_are_kept_for_each_conversation(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("one")
        first = chat.screen.conversation
        assert first is not None
        chat.screen.prompt.load("half written")
        await chat.press("ctrl+n")
        await chat.until(lambda: chat.screen.conversation is None and chat.screen.prompt.text == "", "a new one")
        chat.screen.prompt.load("another thought")
        await chat.until(lambda: chat.manager.draft(None) == "another thought", "the draft to be kept while typing")
        chat.screen.open_in_turn(first.id)
        await chat.until(lambda: chat.screen.prompt.text == "half written", "the first draft")
    async with open_chat() as chat:
        await chat.until(lambda: chat.screen.prompt.text == "another thought", "the draft after a new start")


async def test_slash_commands_complete_and_run(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("one")
        await chat.press("slash", "r", "e", "n")
        await chat.until_shown("/rename [TITLE]")
        await chat.press("tab")
        assert chat.screen.prompt.text == "/rename "
        await chat.press(*"Cats", "enter")
        await chat.until(lambda: chat.manager.conversations()[0].title == "Cats", "the new title")
        await chat.say("/nonsense")
        await chat.until_shown("There is no command /nonsense")
        assert chat.screen.prompt.text == "/nonsense"
        assert chat.contents == ["one", "A."]


async def test_a_conversation_is_pinned_archived_and_deleted_with_undo(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("one")
        await chat.press("alt+p")
        await chat.until_shown("Pinned")
        await chat.press("alt+a")
        await chat.until(lambda: not chat.screen.sidebar.conversations, "an empty list")
        await chat.say("/archived")
        await chat.until_shown("Archived")
        await chat.until(lambda: len(chat.screen.sidebar.conversations) == 1, "the archive")
        await chat.press("alt+a")
        await chat.say("/archived")
        await chat.until(lambda: len(chat.screen.sidebar.conversations) == 1, "the list")
        await chat.say("/remove")
        await chat.until(lambda: not chat.screen.sidebar.conversations and chat.screen.conversation is None, "it gone")
        await chat.press("alt+z")
        await chat.until(lambda: chat.contents == ["one", "A."], "it back")


async def test_the_filter_finds_titles(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        for title in ("Cats", "Dogs"):
            await chat.press("ctrl+n")
            await chat.until(lambda: chat.screen.conversation is None, "a new conversation")
            await chat.ask(title)
            await chat.say(f"/rename {title}")
            await chat.until(partial(has_title, chat, title), "the title")
        await chat.say("/find Cat")
        await chat.until(lambda: [one.title for one in chat.screen.sidebar.conversations] == ["Cats"], "the filter")
        await chat.press("enter")
        await chat.press("enter")
        await chat.until(lambda: chat.contents == ["Cats", "A."], "the conversation that was found")


async def test_what_no_longer_fits_is_said(open_chat: Opener) -> None:
    async with open_chat(engine=ScriptedEngine([["word " * 60]], context=300)) as chat:
        for number in range(6):
            await chat.ask(f"question {number} " + "long " * 20)
        await chat.until_shown("no longer fit")


async def test_a_reply_goes_on_while_another_conversation_is_read(open_chat: Opener) -> None:
    async with open_chat([["word "] * 60, ["B."]], delay=0.01) as chat:
        await chat.say("one")
        await chat.until_shown("word word")
        await chat.press("ctrl+n")
        await chat.until(lambda: not chat.contents, "the new conversation")
        await chat.ask("two")
        assert chat.contents == ["two", "B."]
        await chat.until(lambda: not chat.screen.turns, "the other reply")
        other = next(one for one in chat.manager.conversations() if one.id != chat.screen.conversation_id)
        assert chat.manager.transcript(other.id)[-1].content == "word " * 60


async def test_leaving_while_a_reply_is_written_keeps_it(open_chat: Opener) -> None:
    async with open_chat([SLOW], delay=0.005) as chat:
        await chat.say("Count.")
        await chat.until_shown("word word")
    async with open_chat(latest=True) as chat:
        await chat.until(lambda: chat.contents, "the conversation")
        reply = chat.screen.transcript.messages[-1]
        assert reply.status == "stopped"
        assert reply.content.startswith("word word")


@pytest.mark.parametrize("key", ["f1", "ctrl+p"])
async def test_help_and_palette_open_and_close(open_chat: Opener, key: str) -> None:
    async with open_chat() as chat:
        await chat.press(key)
        await chat.until(lambda: len(chat.app.screen_stack) == 2, "the overlay")
        await chat.press("escape")
        await chat.until(lambda: len(chat.app.screen_stack) == 1, "the chat")


async def test_the_palette_finds_a_conversation(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("one")
        await chat.say("/rename [/b] Zebras [red]")
        await chat.until(lambda: "Zebras" in chat.manager.conversations()[0].title, "the title")
        await chat.press("ctrl+n", "ctrl+p")
        await chat.until(lambda: len(chat.app.screen_stack) == 2, "the palette")
        await chat.press(*"Zebras")
        await chat.until_shown("[/b] Zebras [red]")
        await chat.press("enter")
        await chat.until(lambda: chat.contents == ["one", "A."], "the conversation")
