"""The review, key by key: what each does in the database, that undo takes it back, and what the screen says of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from chatbot.config import Home, Settings
from chatbot.dialogue.manager import Manager
from chatbot.errors import DatabaseBusy, DatabaseTooNew
from chatbot.logs.reviewing import ReviewItem
from chatbot.store.records import Message
from chatbot.terminal.screens import review_walk
from chatbot.terminal.screens.review import ReviewScreen
from chatbot.terminal.screens.review_help import ReviewHelp
from chatbot.terminal.screens.review_keys import BY_KEY, REVIEW_KEYS
from chatbot.terminal.widgets.correction import CorrectionEditor
from tests.terminal.conftest import Opener, Terminal
from tests.terminal.reviewing import Review, open_review, open_store, say


def fill(home: Home) -> list[Message]:
    """Three replies, worst first."""
    with closing(open_store(home)) as store:
        plain = say(store, "Hello", "Plain.")
        cut = say(store, "A story", "Cut of", reason="length")
        down = say(store, "Capital?", "Sydney.", rating=-1)
    return [down, cut, plain]


def test_every_key_does_something_and_none_does_two_things() -> None:
    for entry in REVIEW_KEYS:
        assert callable(getattr(ReviewScreen, f"action_{entry.name}")), entry.name
    keys = [key for entry in REVIEW_KEYS for key in entry.keys.split(",")]
    assert len(keys) == len(set(keys)) == len(BY_KEY)


async def test_the_worst_comes_first_with_the_reason_and_what_becomes_of_it(home: Home) -> None:
    with closing(open_store(home)) as store:
        say(store, "u", "Rated up.", rating=1)
        say(store, "n", "Plain.")
        say(store, "p", "Improbable.", mean_logprob=-2.5)
        say(store, "q", "Less improbable.", mean_logprob=-1.5)
        say(store, "r", "Repetitive.", compression_ratio=7.0)
        say(store, "i", "Interrupted.", status="interrupted", reason="")
        say(store, "c", "Cut off.", reason="length")
        say(store, "d", "Rated down.", rating=-1)
    wanted = ["Rated down.", "Cut off.", "Interrupted.", "Repetitive.", "Improbable.", "Less improbable.", "Plain."]
    async with open_review(home) as review:
        for text in [*wanted, "Rated up."]:
            await review.until_reply(text)
            await review.until_shown("does not train: nobody has approved it yet")
            await review.do("s")
        await review.until_shown("8 replies that you skipped still wait")
        await review.do("left", "left", "left", "left", "left")
        await review.until_shown("repetitive")
        await review.do("f5")
        await review.until_reply("Rated down.")


async def test_the_line_of_progress(home: Home) -> None:
    fill(home)
    async with open_review(home, wanted=5) as review:
        await review.until_shown("0 approved of 5 wanted · 3 wait")
        await review.do("a")
        await review.until_shown("1 approved of 5 wanted · 2 wait")
        await review.do("u")
        await review.until_shown("0 approved of 5 wanted · 3 wait")


@pytest.mark.parametrize(("key", "decision"), [("a", "approve"), ("x", "reject")])
async def test_deciding_goes_on_to_the_next_and_undo_comes_back(home: Home, key: str, decision: str) -> None:
    down, _, _ = fill(home)
    async with open_review(home) as review:
        await review.press(key)
        await review.until_reply("Cut of")
        assert review.decision(down) == decision
        assert review.store.judgements.history(down.id)[-1].author == "rita"
        await review.press("u")
        await review.until_reply("Sydney.")
        assert review.decision(down) == ""


async def test_what_was_decided_is_reached_by_going_back_and_says_what_becomes_of_it(home: Home) -> None:
    fill(home)
    async with open_review(home) as review:
        await review.do("a", "left")
        await review.until_reply("Sydney.")
        await review.until_shown("does not train: approved but rated down")
        await review.do("x", "left", "left")
        await review.until_shown("✗ does not train: rejected")
        await review.do("right", "right", "right")
        await review.until_shown("That was the last one")


async def test_a_quick_second_key_decides_about_no_reply_that_nobody_has_seen(home: Home) -> None:
    _, cut, plain = fill(home)
    async with open_review(home) as review:
        for _ in range(3):
            review.app.simulate_key("a")
        await review.until_done()
        await review.until(lambda: review.reply == "Cut of", "the second reply")
        await review.until_done()
        assert (review.decision(cut), review.decision(plain)) == ("", "")


async def test_ratings_stay_in_sight_and_can_be_taken_back(home: Home) -> None:
    _, _, plain = fill(home)
    async with open_review(home, filter_line="rating:none text:plain") as review:
        await review.do("plus")
        assert review.store.messages.get(plain.id).rating == 1
        assert review.reply == "Plain."
        await review.do("minus")
        assert review.store.messages.get(plain.id).rating == -1
        await review.until_shown("rated down")
        await review.do("u", "z")
        assert review.store.messages.get(plain.id).rating == 0
        await review.do("u")
        await review.until_shown("nothing to take back")


async def test_tags_and_a_comment(home: Home) -> None:
    down, _, _ = fill(home)
    async with open_review(home) as review:
        await review.press("t")
        await review.write("wrong, too long")
        await review.press("c")
        await review.write("It is [b]Canberra[/b].")
        judged = review.store.judgements.get(down.id)
        assert judged.tags == ("wrong", "too long")
        assert judged.comment == "It is [b]Canberra[/b]."
        await review.until_shown("#wrong  #too long  “It is [b]Canberra[/b].”")
        await review.do("u", "u")
        judged = review.store.judgements.get(down.id)
        assert (judged.tags, judged.comment) == ((), "")
        await review.press("t", "escape")
        await review.until(lambda: not review.screen.form, "the form to close")
        assert review.reply == "Sydney."


async def test_an_esc_too_many_does_not_throw_the_reviewer_out(home: Home) -> None:
    fill(home)
    async with open_review(home) as review:
        await review.press("t", "escape")
        await review.until(lambda: not review.screen.form, "the form to close")
        await review.press("escape", "escape")
        await review.until_shown("q leaves.")
        assert review.reply == "Sydney."


async def test_letters_in_a_form_are_no_decisions(home: Home) -> None:
    down, _, _ = fill(home)
    async with open_review(home) as review:
        await review.press("c", "a", "x", "b", "q")
        assert review.screen.line.input.value == "axbq"
        await review.press("escape", "e")
        await review.until(lambda: review.app.focused is review.screen.editor is not None, "the editor")
        await review.press("a", "x", "q")
        editor = review.screen.editor
        assert editor is not None
        assert editor.text == "axqSydney."
        assert review.decision(down) == ""
        await review.press("escape")
        await review.until_reply("Sydney.")


async def test_a_correction_takes_the_place_of_the_reply_and_undo_gives_it_back(home: Home) -> None:
    down, _, _ = fill(home)
    async with open_review(home) as review:
        await correct(review, "Canberra.")
        await review.until_reply("Cut of")
        siblings = [one for one in review.store.logs.tree(down.conversation_id) if one.role == "assistant"]
        assert [(one.content, one.decision) for one in siblings] == [("Sydney.", "reject"), ("Canberra.", "approve")]
        await review.do("left")
        await review.until_shown("does not train: rejected")
        assert review.screen.walk is not None
        assert review.screen.walk.replies[0].done == "corrected"
        await review.do("u")
        await review.until_reply("Sydney.")
        assert review.decision(down) == ""
        assert len([one for one in review.store.logs.tree(down.conversation_id) if one.role == "assistant"]) == 1


async def correct(review: Review, text: str) -> None:
    await review.press("e")
    await review.until(lambda: review.app.focused is review.screen.editor is not None, "the editor")
    editor = review.screen.editor
    assert editor is not None
    editor.load_text(text)
    await review.press("ctrl+s")
    await review.until(lambda: not review.screen.form, "the end of the correction")
    await review.until_done()


async def test_a_correction_that_was_left_is_there_again(home: Home) -> None:
    down, _, _ = fill(home)
    async with open_review(home) as review:
        await review.press("e")
        await review.until(lambda: review.app.focused is review.screen.editor is not None, "the editor")
        await review.press("N", "o")
        await review.press("escape")
        await review.until(lambda: not review.screen.query(CorrectionEditor), "the editor to go")
        assert review.decision(down) == ""
        await review.until_shown("Sydney.")
        await review.press("e")
        await review.until(lambda: review.app.focused is review.screen.editor is not None, "the editor")
        editor = review.screen.editor
        assert editor is not None
        assert editor.text == "NoSydney."
        await review.press("escape")
        await review.until(lambda: not review.screen.form, "the editor to go")


async def test_bulk_approval_asks_with_the_count_and_is_one_step(home: Home) -> None:
    with closing(open_store(home)) as store:
        replies = [say(store, f"Question {n}", f"Answer {n}") for n in range(5)]
        other = say(store, "Capital?", "Sydney.", rating=-1)
    async with open_review(home, filter_line="rating:none") as review:
        await review.press("b")
        await review.until_shown("Approve 5 replies at once")
        await review.until_shown("Filter: rating:none")
        await review.press("escape")
        await review.until_done()
        assert review.decision(replies[0]) == ""
        await review.press("b")
        await review.until_shown("Approve 5 replies at once")
        await review.press("down", "enter")
        await review.until_done()
        assert {review.decision(one) for one in replies} == {"approve"}
        assert review.decision(other) == ""
        await review.until_shown("Nothing waits that this filter means")
        await review.do("u")
        assert {review.decision(one) for one in replies} == {""}
        await review.until_reply("Answer 4")


async def test_the_filter_is_changed_and_what_is_wrong_with_it_is_said(home: Home) -> None:
    fill(home)
    async with open_review(home) as review:
        await review.do("a")
        await review.press("f")
        await review.write("ratting:up")
        await review.until_shown("There is no filter “ratting:”")
        await review.write("status:complete plain")
        await review.until_reply("Plain.")
        await review.until_shown("filter: status:complete plain")
        await review.do("left")
        await review.until_reply("Sydney.")  # what was decided stays in reach
        await review.press("f")
        await review.write("")
        await review.until_reply("Cut of")
        assert "filter:" not in review.shown


async def test_an_empty_queue_says_so_and_what_to_do(home: Home) -> None:
    async with open_review(home, wanted=3) as review:
        await review.until_shown("Nothing waits for a review.")
        await review.until_shown("3 more approved replies are wanted")
        await review.do("a", "x", "e", "v", "r", "t", "u", "b", "left", "right", "plus")
        assert not review.screen.form


async def test_all_done_is_praised(home: Home) -> None:
    fill(home)
    async with open_review(home, wanted=2) as review:
        await review.do("a", "a", "a")
        await review.until_shown("Everything is reviewed.")
        await review.until_shown("as many approved replies as the next training wants")


async def test_a_reply_stands_in_its_conversation_and_the_rest_of_a_long_one_is_announced(home: Home) -> None:
    with closing(open_store(home)) as store:
        first = say(store, "Why is the sky blue?", "It scatters.", rating=1)
        say(store, "And at sunset?", "\n\n".join(f"Line {n}." for n in range(60)), where=first.conversation_id)
    async with open_review(home) as review:
        await review.until_shown("And at sunset?")
        await review.until_shown("Line 0.")
        await review.until_shown("more rows")
        rows = review.shown
        await review.press("space")
        await review.until(lambda: "Line 0." not in review.shown and review.shown != rows, "the next page")
        await review.press("end")
        await review.until(lambda: "Line 59." in review.shown and "more row" not in review.shown, "the end")
        assert review.screen.transcript.messages[0].content == "Why is the sky blue?"


async def test_of_a_long_conversation_only_the_end_is_mounted(home: Home) -> None:
    with closing(open_store(home)) as store:
        where = ""
        for n in range(30):
            last = say(store, f"Question {n}", f"Answer {n}", where=where, rating=-1 if n == 29 else 0)
            where = last.conversation_id
    async with open_review(home) as review:
        await review.until_reply("Answer 29")
        assert len(review.screen.transcript.messages) == 60
        assert len(review.screen.transcript.views) <= 40
        await review.press("home")
        await review.until(lambda: len(review.screen.transcript.views) > 40, "older ones on the way up")


async def test_the_queue_is_read_in_pages(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_walk, "PAGE", 4)
    with closing(open_store(home)) as store:
        for n in range(10):
            say(store, f"Question {n}", f"Answer {n}")
    async with open_review(home) as review:
        walk = review.screen.walk
        assert walk is not None
        assert len(walk.replies) == 4
        await review.do("a", "s", "a")
        await review.until_reply("Answer 6")
        assert [one.done for one in walk.replies] == ["approved", "", "approved", "", "", "", "", ""]
        await review.do("s", "s", "s", "s", "s", "s")
        await review.until_reply("Answer 0")
        assert len({one.message_id for one in walk.replies}) == len(walk.replies) == 10


async def test_the_list_shows_why_and_opens_a_reply(home: Home) -> None:
    fill(home)
    async with open_review(home, size=(120, 30)) as review:
        await review.until_shown("▸ Capital?")
        await review.until_shown("cut off")
        await review.do("a")
        await review.until_shown("✓ Capital?")
        await review.press("l")
        await review.until(lambda: not review.screen.queue_list.display, "the list to hide")
        await review.press("l")
        await review.until(lambda: review.screen.queue_list.has_focus, "the list")
        await review.press("end", "enter")
        await review.until_reply("Plain.")
        assert review.screen.transcript.has_focus


@pytest.mark.parametrize(
    ("size", "theme"),
    [
        ((120, 36), "chatbot-dark"),
        ((80, 24), "chatbot-light"),
        ((60, 20), "chatbot-ansi"),
        ((40, 12), "chatbot-dark"),
    ],
    ids=str,
)
async def test_every_size_and_theme(home: Home, size: tuple[int, int], theme: str) -> None:
    with closing(open_store(home)) as store:
        say(store, "天空为什么是蓝色的？", "因为瑞利散射。" * 20, rating=-1, tags=("太长",), title="天空")
    async with open_review(home, size=size, theme=theme) as review:
        await review.until_shown("因为瑞利散射")
        width, height = size
        for name in ("#progress", "#reasons", "#title", "#transcript", "#figures", "#hints"):
            widget = review.screen.query_one(name)
            if widget.display and widget.region.area:
                assert 0 <= widget.region.x < widget.region.right <= width, name
                assert 0 <= widget.region.y < widget.region.bottom <= height, name
        assert review.screen.query_one("#transcript").region.height >= 2
        assert (review.screen.queue_list.region.area > 0) == (width >= 110)
        for key in ("t", "c", "f"):
            await review.press(key)
            await review.until(lambda: review.screen.line.input.has_focus, "the line")
            assert review.screen.line.input.region.bottom <= height
            await review.press("escape")
        await review.press("question_mark")
        await review.until(lambda: isinstance(review.app.screen, ReviewHelp), "the help")
        await review.press("q")
        await review.until(lambda: review.app.screen is review.screen, "the review")


async def test_hostile_strings_reach_no_terminal(home: Home) -> None:
    evil = "a\x1b[31m\x9b2J[bold]x[/bold] [/] \u202eb\x07"
    with closing(open_store(home)) as store:
        reply = say(store, evil, evil, title=evil, model=evil, rating=-1, seed="x" * 20, mean_logprob="\x1b")
        store.judgements.say(reply.id, author=evil, comment=evil)
        say(store, "n", "b", status="failed", reason=evil, seed=10**400, tokens_per_second=float("inf"))
    async with open_review(home, size=(120, 30)) as review:
        for _ in range(2):
            await review.until_shown("does not train")
            text = review.shown
            assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(text)
            assert "[/]" in text
            for key in ("c", "e", "t"):
                await review.press(key)
                await review.until(lambda: review.screen.form, "the form")
                await review.until_done()
                assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(review.shown)
                await review.press("escape")
                await review.until(lambda: not review.screen.form, "the form to close")
            await review.do("s")


async def test_a_busy_database_is_told_and_tried_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    down, _, _ = fill(home)
    async with open_review(home) as review:
        assert review.screen.walk is not None
        reviewer = review.screen.walk.reviewer
        approve = reviewer.approve

        def refuse(message_id: str, note: str = "") -> Message:
            raise DatabaseBusy("Another program writes.", hint="Wait a moment.")

        monkeypatch.setattr(reviewer, "approve", refuse)
        await review.do("a")
        await review.until_shown("✗ Another program writes.")
        await review.until_shown("F5 tries again.")
        assert review.reply == "Sydney."
        monkeypatch.setattr(reviewer, "approve", approve)
        await review.do("f5")
        await review.until_reply("Cut of")
        assert review.decision(down) == "approve"


async def test_a_reply_that_is_gone_is_passed_over(home: Home) -> None:
    _, cut, _ = fill(home)
    async with open_review(home) as review:
        review.store.erasure.forget([cut.conversation_id])
        await review.do("a")
        await review.until_reply("Plain.")


async def test_a_reply_that_was_forgotten_elsewhere_leaves_the_sight(home: Home) -> None:
    down, _, _ = fill(home)
    async with open_review(home) as review:
        await review.until_reply("Sydney.")
        review.store.erasure.forget([down.conversation_id])
        await review.press("a")
        await review.until_reply("Cut of")
        assert "Sydney" not in review.shown
        assert review.screen.retrying is None
        await review.until_shown("2 wait")


async def test_a_line_that_is_opened_while_the_queue_is_read_keeps_its_keys(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home)
    async with open_review(home) as review:
        assert review.screen.walk is not None
        read, go_on = review.screen.walk.open, threading.Event()

        def read_slowly() -> ReviewItem | None:
            go_on.wait(10)
            return read()

        await review.press("f")
        await review.until(lambda: review.screen.line.input.has_focus, "the line")
        review.screen.line.input.value = "status:complete plain"
        monkeypatch.setattr(review.screen.walk, "open", read_slowly)
        await review.press("enter", "f")
        await review.until(lambda: review.screen.line.input.has_focus, "the line again")
        go_on.set()
        await review.until_reply("Plain.")
        assert review.screen.line.input.has_focus
        await review.until_shown("Enter keep")


async def test_a_database_that_does_not_open_is_told_and_can_be_tried_again(home: Home) -> None:
    opened = False

    def refuse() -> Manager:
        raise DatabaseTooNew("The database is newer.", hint="Update.")

    async with open_review(home, opener=refuse, ready=False) as review:
        await review.until_shown("✗ The database is newer.")
        await review.press("a", "f5", "s", "f", "b")
        await review.until_shown("✗ The database is newer.")
    assert isinstance(review.app.failure, DatabaseTooNew)
    assert not opened


async def test_leaving_ends_the_program(home: Home) -> None:
    fill(home)
    async with open_review(home) as review:
        await review.press("ctrl+c")
        await review.until_shown("q leaves.")
        await review.press("g")
        await review.until_shown("chatbot -c")
        await review.press("q")
        await review.until(lambda: not review.app.is_running, "the end")
    assert review.app.failure is None


def test_the_command_opens_it_with_the_filter_of_its_options(home: Home, start: Callable[..., Terminal]) -> None:
    fill(home)
    terminal = start("-m", "chatbot", "review", "--rating", "down", "--since", "7d")
    terminal.until_shown("filter: since:")
    terminal.until_shown("Sydney.")
    terminal.write("a")
    terminal.until_shown("Nothing waits that this filter means.")
    terminal.write("q")
    terminal.until(lambda: terminal.has_ended, "the end")


def test_without_a_terminal_the_command_says_what_to_use(home: Home) -> None:
    run = subprocess.run([sys.executable, "-m", "chatbot", "review"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "chatbot logs review" in run.stderr


async def test_over_the_chat_and_back_with_fresh_messages(open_chat: Opener, settings: Settings) -> None:
    async with open_chat([["Sydney."]]) as chat:
        await chat.ask("Capital?")
        await chat.say("/review")
        await chat.until(lambda: isinstance(chat.app.screen, ReviewScreen), "the review")
        review = Review(chat.app, chat.pilot, open_chat.store(), chat.engine)
        await review.until_reply("Sydney.")
        await correct(review, "Canberra.")
        await review.until_shown("Everything is reviewed")
        await review.press("q")
        await chat.until(lambda: chat.app.screen is chat.screen, "the chat")
        await chat.until(lambda: chat.contents == ["Capital?", "Canberra."], "the correction")
        review.store.close()


async def test_from_the_review_to_the_conversation(open_chat: Opener) -> None:
    with closing(open_chat.store()) as store:
        other = say(store, "Another talk", "Bad.", rating=-1)
    async with open_chat([["A."]]) as chat:
        await chat.ask("one")
        await chat.say("/review")
        await chat.until(lambda: isinstance(chat.app.screen, ReviewScreen), "the review")
        with closing(open_chat.store()) as store:
            review = Review(chat.app, chat.pilot, store, chat.engine)
            await review.until_reply("Bad.")
            await review.press("g")
            await chat.until(lambda: chat.screen.conversation_id == other.conversation_id, "the other conversation")
            assert chat.app.screen is chat.screen


async def test_a_reply_goes_on_while_others_are_reviewed(open_chat: Opener) -> None:
    with closing(open_chat.store()) as store:
        say(store, "Another talk", "Bad.", rating=-1)
    async with open_chat([["word "] * 40], delay=0.1) as chat:
        await chat.say("go")
        await chat.until(lambda: chat.engine.requests, "the reply to begin")
        chat.screen.prompt.load("/review")
        await chat.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, ReviewScreen), "the review")
        with closing(open_chat.store()) as store:
            review = Review(chat.app, chat.pilot, store, chat.engine)
            await review.until_reply("Bad.")
            await review.do("a")
            await chat.until(lambda: not chat.screen.turns, "the reply's end")
            await review.press("q")
        await chat.until(lambda: chat.app.screen is chat.screen, "the chat")
        await chat.until(lambda: chat.contents == ["go", "word " * 40], "the whole reply")
