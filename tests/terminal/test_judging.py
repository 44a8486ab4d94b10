"""Judging in the chat: one key each, and what it does to the store."""

from __future__ import annotations

from functools import partial

import pytest

from chatbot.errors import DatabaseBusy
from chatbot.store.opinions import Opinion
from chatbot.store.records import Message
from chatbot.terminal.screens.messages import _HINTS
from chatbot.terminal.screens.remark import Remark, TagSuggester, join_tags, split_tags
from tests.terminal.conftest import Chat, Opener

HOSTILE = "\x1b[31mred\x1b]52;c;QQ==\x07 \u202eabc\u2066 \x9b2J\ttab\r\nnext \U000e0041 中文 [/b] end"


def newest_reply(chat: Chat) -> Message:
    return next(one for one in reversed(chat.screen.transcript.messages) if one.role == "assistant")


def read(chat: Chat, message: Message) -> Message:
    return chat.manager.store.messages.get(message.id)


def history(chat: Chat, message_id: str) -> list[Opinion]:
    return chat.manager.store.judgements.history(message_id)


def siblings(chat: Chat) -> list[Message]:
    """All replies of the conversation that are seen, in their order."""
    assert chat.screen.conversation_id
    return [one for one in chat.manager.store.logs.tree(chat.screen.conversation_id) if one.role == "assistant"]


def pairs(chat: Chat) -> list[tuple[str, str, bool]]:
    """(preferred, over what, whether only implied), as the texts of the replies."""
    contents = {one.id: one.content for one in siblings(chat)}
    return [
        (contents[said.message_id], contents[said.preferred_over], said.written_by.get("implied", False))
        for one in siblings(chat)
        for said in history(chat, one.id)
        if said.preferred_over
    ]


def has_rating(chat: Chat, rating: int) -> bool:
    return read(chat, newest_reply(chat)).rating == rating and newest_reply(chat).rating == rating


async def select_newest(chat: Chat) -> None:
    await chat.press("alt+up")
    await chat.until(lambda: chat.screen.transcript.selected is not None, "a selection")


async def correct(chat: Chat, text: str) -> None:
    await chat.until(lambda: chat.screen.correction is not None, "the editor")
    editor = chat.screen.correction
    assert editor is not None
    await chat.until(lambda: editor.has_focus, "the editor's focus")
    editor.load_text(text)


# --- ratings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selected", "up", "down"), [(True, "plus", "minus"), (False, "alt+y", "alt+n"), (False, "f6", "f7")]
)
async def test_a_key_rates_and_the_same_key_takes_it_back(
    open_chat: Opener, selected: bool, up: str, down: str
) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        if selected:
            await select_newest(chat)
        await chat.press(up)
        await chat.until(partial(has_rating, chat, 1), "the rating")
        await chat.until_shown("▲ rated up")
        await chat.until_shown("once it is approved in /review")
        await chat.press(down)
        await chat.until(partial(has_rating, chat, -1), "the other rating")
        await chat.until_shown("▼ rated down")
        await chat.until_shown("it comes first in /review")
        assert "▲" not in chat.shown
        await chat.press(down)
        await chat.until(partial(has_rating, chat, 0), "no rating")
        await chat.until(lambda: "▼" not in chat.shown, "the mark to go")


async def test_a_judgement_keeps_what_wrote_the_reply(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        await chat.press("alt+n")
        await chat.until(partial(has_rating, chat, -1), "the rating")
        reply = newest_reply(chat)
        (said,) = history(chat, reply.id)
        assert said.author == chat.screen.settings.review.signature
        assert said.written_by["model"] == "scripted"
        assert said.written_by["model_version_id"]
        assert said.written_by["seed"] == reply.generation["seed"]
        assert said.written_by["sampling"] == reply.generation["sampling"]
        assert "template_sha" in said.written_by


async def test_the_selected_reply_is_rated_not_the_newest(open_chat: Opener) -> None:
    async with open_chat([["A."], ["B."]]) as chat:
        await chat.ask("one")
        await chat.ask("two")
        await chat.press("alt+up", "up", "up")
        await chat.until(lambda: chat.screen.transcript.selected == chat.screen.transcript.messages[1], "the first")
        await chat.press("plus")
        await chat.until(lambda: chat.screen.transcript.messages[1].rating == 1, "its rating")
        await chat.press("up", "plus")
        await chat.until_shown("This is your own message")
        assert newest_reply(chat).rating == 0


async def test_plus_and_minus_are_letters_in_the_prompt(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        await chat.press("plus", "minus", "t", "w", "b")
        await chat.until(lambda: chat.screen.prompt.text == "+-twb", "the letters")
        assert newest_reply(chat).rating == 0


async def test_a_slash_command_rates_with_a_comment(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        await chat.say("/down It forgot the \x1b[31mhalf of it.")
        await chat.until_shown("“It forgot the ␛[31mhalf of it.”")
        assert has_rating(chat, -1)
        await chat.say("/down Still wrong.")  # a comment more, and no way back
        await chat.until_shown("“Still wrong.”")
        assert has_rating(chat, -1)
        await chat.press("alt+z")
        await chat.until_shown("“It forgot the")
        assert has_rating(chat, -1)


async def test_undo_takes_a_rating_back(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        await chat.press("alt+y")
        await chat.until(partial(has_rating, chat, 1), "the rating")
        await chat.say("/down No.")
        await chat.until(partial(has_rating, chat, -1), "the other rating")
        await chat.press("alt+z")
        await chat.until(partial(has_rating, chat, 1), "the rating before")
        await chat.until(lambda: "No." not in chat.shown, "the comment to go")


async def test_nothing_is_judged_while_it_is_written_or_where_nothing_is(open_chat: Opener) -> None:
    async with open_chat([["word "] * 400], delay=0.005) as chat:
        await chat.press("alt+y")
        await chat.until_shown("There is no reply to judge.")
        await chat.say("Count.")
        await chat.until_shown("word word")
        await chat.press("alt+n")
        await chat.until_shown("still being written")
        await chat.press("escape")
        await chat.until_idle()
        assert newest_reply(chat).rating == 0


async def test_a_database_that_is_busy_is_told_and_the_rating_tried_again(
    open_chat: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        judgements = chat.manager.store.judgements
        toggle = judgements.toggle_rating

        def refuse(*_: object, **__: object) -> Message:
            raise DatabaseBusy("Another process holds the database.", hint="Wait for it.")

        monkeypatch.setattr(judgements, "toggle_rating", refuse)
        await chat.press("alt+y")
        await chat.until_shown("✗ Another process holds the database.")
        monkeypatch.setattr(judgements, "toggle_rating", toggle)
        await chat.press("f5")
        await chat.until(partial(has_rating, chat, 1), "the rating")


async def test_marks_are_there_after_a_new_start(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        await chat.say("/up Short and right.")
        await chat.until_shown("“Short and right.”")
        await chat.say("/tag clear, to the point")
        await chat.until_shown("clear, to the point")
    async with open_chat(latest=True) as chat:
        await chat.until_shown("▲ rated up · clear, to the point · “Short and right.”")


# --- tags and a comment -----------------------------------------------------------------------------------------------


async def test_the_form_keeps_tags_and_a_comment_and_undo_takes_both_back(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        await select_newest(chat)
        await chat.press("t")
        await chat.until(lambda: isinstance(chat.app.screen, Remark), "the form")
        await chat.until_shown("wrong · incomplete")
        await chat.press(*"unc", "right", "comma", *"rude", "tab", *"Not so.", "enter")
        await chat.until_shown("unclear, rude · “Not so.”")
        judged = chat.manager.store.judgements.get(newest_reply(chat).id)
        assert (judged.tags, judged.comment, judged.rating) == (("unclear", "rude"), "Not so.", 0)
        await chat.press("z")
        await chat.until(lambda: "rude" not in chat.shown, "the words to go")
        judged = chat.manager.store.judgements.get(newest_reply(chat).id)
        assert (judged.tags, judged.comment) == ((), "")


async def test_escape_leaves_the_form_without_a_trace(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        await chat.press("alt+t")
        await chat.until(lambda: isinstance(chat.app.screen, Remark), "the form")
        await chat.press(*"wrong", "escape")
        await chat.until(lambda: len(chat.app.screen_stack) == 1 and not chat.screen.workers_busy, "the chat")
        assert not history(chat, newest_reply(chat).id)


async def test_a_tag_that_is_none_is_refused(open_chat: Opener) -> None:
    async with open_chat() as chat:
        await chat.ask("Hi?")
        await chat.say("/tag " + "x" * 60)
        await chat.until_shown("A tag is up to")
        assert not history(chat, newest_reply(chat).id)


@pytest.mark.parametrize("tags", [[], ["a"], ["two words"], ["a", "two words"], ["wrong", "rude"]])
def test_tags_are_read_as_they_are_written(tags: list[str]) -> None:
    assert split_tags(join_tags(tags)) == tags


def test_tags_are_parted_by_spaces_where_there_is_no_comma() -> None:
    assert split_tags(" wrong  rude ") == ["wrong", "rude"]
    assert split_tags("too long, rude,,") == ["too long", "rude"]


async def test_the_tag_that_is_being_written_is_completed() -> None:
    suggest = TagSuggester(["wrong", "too long"]).get_suggestion
    assert await suggest("wrong, to") == "wrong, too long"
    assert await suggest("wrong") is None
    assert await suggest("") is None


# --- corrections ------------------------------------------------------------------------------------------------------


async def test_a_correction_takes_the_replys_place_and_both_are_kept(open_chat: Opener) -> None:
    async with open_chat([["The earth is flat."]]) as chat:
        await chat.ask("What shape?")
        chat.screen.prompt.load("a draft")
        await select_newest(chat)
        await chat.press("w")
        await chat.until_shown("Ctrl+S keeps it, Esc leaves it as it was.")
        editor = chat.screen.correction
        assert editor is not None
        assert editor.text == "The earth is flat."
        await chat.press("ctrl+end", *(["backspace"] * 5), *"round.", "ctrl+s")
        await chat.until(lambda: chat.contents == ["What shape?", "The earth is round."], "the correction")
        await chat.until_shown("‹2/2› · ✎ corrected by")
        assert "▲" not in chat.shown
        assert chat.screen.prompt.text == "a draft"
        assert chat.screen.correction is None
        original, correction = siblings(chat)
        assert (original.content, original.decision) == ("The earth is flat.", "reject")
        assert (correction.decision, correction.model) == ("", "")  # it waits for a review
        assert pairs(chat) == [("The earth is round.", "The earth is flat.", False)]
        (said,) = (one for one in history(chat, correction.id) if one.preferred_over)
        assert said.written_by["over"]["model"] == "scripted"
        assert chat.screen.transcript.selected == chat.screen.transcript.last
        await chat.press("z")
        await chat.until(lambda: chat.contents == ["What shape?", "The earth is flat."], "the original")
        assert [one.decision for one in siblings(chat)] == [""]


async def test_undoing_a_correction_brings_the_very_reply_back(open_chat: Opener) -> None:
    async with open_chat([["First."], ["Second."]]) as chat:
        await chat.ask("Again?")
        await chat.press("ctrl+r")
        await chat.until(partial(shows, chat, "Second."), "another reply")
        await chat.until_idle()
        await chat.press("alt+left")
        await chat.until(partial(shows, chat, "First."), "the first")
        await chat.press("alt+w")
        await correct(chat, "Better.")
        await chat.press("ctrl+s")
        await chat.until(partial(shows, chat, "Better."), "the correction")
        await chat.press("alt+z")
        await chat.until(partial(shows, chat, "First."), "the original")


def shows(chat: Chat, reply: str) -> bool:
    return chat.contents[-1] == reply


async def test_a_correction_in_the_middle_stays_an_alternative(open_chat: Opener) -> None:
    async with open_chat([["A."], ["B."]]) as chat:
        await chat.ask("one")
        await chat.ask("two")
        await chat.press("alt+up", "up", "up", "w")
        await correct(chat, "A, corrected.")
        await chat.press("ctrl+s")
        await chat.until_shown("your text is ‹2/2›")
        assert chat.contents == ["one", "A.", "two", "B."]
        await chat.until_shown("‹1/2› · rejected")
        assert ("A, corrected.", "A.", False) in pairs(chat)
        await chat.press("right")
        await chat.until(lambda: chat.contents == ["one", "A, corrected."], "the correction's branch")
        await chat.press("left")
        await chat.until(lambda: chat.contents == ["one", "A.", "two", "B."], "the branch with what follows")
        await chat.press("alt+z")
        await chat.until(lambda: "‹1/2›" not in chat.shown, "the correction to go")


async def test_escape_leaves_a_reply_as_it_was(open_chat: Opener) -> None:
    async with open_chat([["Right."]]) as chat:
        await chat.ask("Hi?")
        await chat.press("alt+w")
        await chat.until(lambda: chat.screen.correction is not None, "the editor")
        await chat.press("escape")
        await chat.until(lambda: chat.screen.correction is None, "the editor to go")
        await chat.press("alt+w")
        await correct(chat, "Something else")
        await chat.press("escape")
        await chat.until_shown("Once more forgets what you changed")
        await chat.press("x", "escape")  # changed since: asked again
        await chat.until(lambda: chat.screen.correction is not None, "the editor still")
        await chat.press("escape")
        await chat.until(lambda: chat.screen.correction is None and chat.screen.prompt.has_focus, "the prompt")
        assert len(siblings(chat)) == 1
        assert not history(chat, newest_reply(chat).id)
        await chat.until_shown("Right.")


async def test_what_is_not_changed_or_is_empty_is_no_correction(open_chat: Opener) -> None:
    async with open_chat([["Right."]]) as chat:
        await chat.ask("Hi?")
        await chat.press("alt+w")
        await chat.until(lambda: chat.screen.correction is not None, "the editor")
        await chat.press("ctrl+s")
        await chat.until_shown("Nothing was changed.")
        await chat.press("alt+w")
        await correct(chat, " \n")
        await chat.press("ctrl+s")
        await chat.until_shown("✗ A correction cannot be empty.")
        assert chat.screen.correction is not None
        assert len(siblings(chat)) == 1


async def test_what_would_disturb_a_correction_waits(open_chat: Opener) -> None:
    async with open_chat([["Right."]]) as chat:
        await chat.ask("Hi?")
        await chat.press("alt+w")
        await correct(chat, "Else")
        for key in ("ctrl+n", "ctrl+r", "alt+d", "alt+left"):
            chat.app._notifications.clear()
            await chat.press(key)
            await chat.until(lambda: chat.app._notifications, f"a word after {key}")
        editor = chat.screen.correction
        assert editor is not None
        await chat.press("ctrl+q")
        await chat.until_shown("Once more forgets what you changed")
        assert editor.text == "Else"
        assert chat.contents == ["Hi?", "Right."]


async def test_a_hostile_reply_is_corrected_safely(open_chat: Opener) -> None:
    async with open_chat([[HOSTILE]]) as chat:
        await chat.ask("Hi?")
        await chat.press("alt+w")
        await chat.until(lambda: chat.screen.correction is not None, "the editor")
        await chat.until_shown("␛[31mred␛]52;c;QQ==")
        editor = chat.screen.correction
        assert editor is not None
        assert not set(chat.shown) & set("\x1b\x07\x9b\u202e\u2066\U000e0041")
        assert editor.text == HOSTILE  # nothing is lost by looking at it
        await chat.press("ctrl+end", "!", "ctrl+s")
        await chat.until(lambda: len(siblings(chat)) == 2, "the correction")
        assert siblings(chat)[1].content == HOSTILE + "!"


async def test_a_long_correction_is_as_high_as_the_transcript(open_chat: Opener) -> None:
    async with open_chat([["line\n\n"] * 200], size=(80, 24)) as chat:
        await chat.ask("Hi?")
        await chat.press("alt+w")
        await chat.until(lambda: chat.screen.correction is not None, "the editor")
        editor, transcript = chat.screen.correction, chat.screen.transcript
        assert editor is not None
        await chat.until(lambda: editor.region.height == transcript.content_size.height - 1, "its height")
        await chat.until(lambda: transcript.region.contains_region(editor.region), "all of it on screen")


async def test_a_correction_is_no_models_and_good_already(open_chat: Opener) -> None:
    async with open_chat([["A."]]) as chat:
        await chat.ask("Hi?")
        await chat.press("alt+w")
        await correct(chat, "B.")
        await chat.press("ctrl+s")
        await chat.until(partial(shows, chat, "B."), "the correction")
        await chat.press("f6")
        await chat.until_shown("rated up already")
        assert has_rating(chat, 1)
        await chat.press("ctrl+g")
        await chat.until_shown("A person wrote this reply")
        await chat.ask("and?")  # the conversation goes on from the correction
        assert [one.content for one in chat.engine.requests[-1].messages[-3:]] == ["Hi?", "B.", "and?"]


# --- alternatives -----------------------------------------------------------------------------------------------------


async def regenerate(chat: Chat, expected: str) -> None:
    await chat.press("ctrl+r")
    await chat.until(partial(shows, chat, expected), expected)
    await chat.until_idle()


@pytest.mark.parametrize(("back", "better", "worse"), [(True, "First.", "Second."), (False, "Second.", "First.")])
async def test_going_on_from_an_alternative_prefers_it(open_chat: Opener, back: bool, better: str, worse: str) -> None:
    async with open_chat([["First."], ["Second."], ["Third."]]) as chat:
        await chat.ask("Again?")
        await regenerate(chat, "Second.")
        await chat.until_shown("going on from it says so too")
        if back:
            await chat.press("alt+left")
            await chat.until_shown("‹1/2›")
        await chat.ask("and then?")
        assert pairs(chat) == [(better, worse, True)]


async def test_the_best_of_three_is_preferred_to_the_other_two(open_chat: Opener) -> None:
    async with open_chat([["First."], ["Second."], ["Third."]]) as chat:
        await chat.ask("Again?")
        await chat.press("f8")
        await chat.until_shown("no alternatives")
        await regenerate(chat, "Second.")
        await regenerate(chat, "Third.")
        await chat.press("alt+left")
        await chat.until(partial(shows, chat, "Second."), "the second")
        await select_newest(chat)
        await chat.press("b")
        await chat.until_shown("Preferred to the 2 others")
        assert sorted(pairs(chat)) == [("Second.", "First.", False), ("Second.", "Third.", False)]
        assert has_rating(chat, 0)


# --- what a reader is told --------------------------------------------------------------------------------------------


async def test_the_hints_fit_80_columns(open_chat: Opener) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.ask("Hi?")
        await select_newest(chat)
        await chat.until_shown("+− rate · t tag · w correct · b best")
        assert chat.screen.notice.region.height == 1
        await chat.press("up")
        await chat.until_shown("e edit")
        assert chat.screen.notice.region.height == 1
        assert all(len(hint) <= chat.screen.notice.content_size.width for hint in _HINTS.values())


async def test_every_row_of_the_help_fits_80_columns(open_chat: Opener) -> None:
    async with open_chat(size=(80, 50)) as chat:
        await chat.press("f1")
        await chat.until_shown("/up [COMMENT]")
        await chat.until_shown("/duel [MODEL MODEL]")
        rows = [line for line in chat.shown.split("\n") if "rate_up" in line]
        assert rows
        assert all("Alt+Y, F6" in row for row in rows)


async def test_the_judgements_are_commands(open_chat: Opener) -> None:
    async with open_chat(size=(80, 24)) as chat:
        await chat.press("slash", "d")
        await chat.until_shown("/duel [MODEL MODEL]")
        await chat.until_shown("/down [COMMENT]")
