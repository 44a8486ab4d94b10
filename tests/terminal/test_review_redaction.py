"""Redacting from the review: the preview, leaving it, doing it, and what comes after."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from chatbot.config import Home
from chatbot.errors import DatabaseBusy
from chatbot.store.records import Message
from chatbot.store.redactions import Redactions, Replacement
from chatbot.terminal.screens.review_redaction import RedactionScreen
from tests.terminal.reviewing import Review, open_review, open_store, say

SECRET = "Write to anna.berg@posteo.de or call +49 30 901820. \x1b[31m[b]"


def fill(home: Home) -> Message:
    with closing(open_store(home)) as store:
        reply = say(store, SECRET, "I shall write to anna.berg@posteo.de.", title="Anna", rating=-1)
        store.judgements.decide([reply.id], "approve", author="x")
        store.judgements.decide([reply.id], "withdraw", author="x")
        say(store, "Hello", "Plain.")
    return reply


async def open_preview(review: Review) -> None:
    await review.press("r")
    await review.until(lambda: isinstance(review.app.screen, RedactionScreen), "the preview")


def read_all(review: Review, reply: Message) -> list[str]:
    return [message.content for message in review.store.logs.tree(reply.conversation_id)]


async def test_the_preview_shows_counts_and_each_finding_and_esc_changes_nothing(home: Home) -> None:
    reply = fill(home)
    async with open_review(home) as review:
        before = read_all(review, reply)
        await open_preview(review)
        await review.until_shown("Mask 2 e-mail addresses, 1 phone number?")
        await review.until_shown("anna.berg@posteo.de [e-mail]")
        await review.until_shown("+49 30 901820 [phone]")
        await review.until_shown("The whole conversation was searched")
        assert "\x1b" not in review.shown
        await review.press("escape")
        await review.until_reply(reply.content)
        assert read_all(review, reply) == before
        assert review.store.judgements.history(reply.id)[-1].decision == "withdraw"
        assert not review.screen.redacted


async def test_after_it_the_reply_waits_with_its_masks_and_cannot_be_had_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = fill(home)
    compacted = []
    compact = Redactions.compact

    def count(self: Redactions) -> None:
        compacted.append(1)
        compact(self)

    monkeypatch.setattr(Redactions, "compact", count)
    async with open_review(home) as review:
        await open_preview(review)
        await review.press("enter")
        await review.until_reply("I shall write to [e-mail].")
        await review.until_shown("redacted since it was looked at, not yet approved")
        assert read_all(review, reply)[0].startswith("Write to [e-mail] or call [phone].")
        await review.do("u")
        await review.until_shown("cannot be taken back")
        await review.do("a")
        await review.until_reply("Plain.")
        assert review.decision(reply) == "approve"
        assert not compacted
    assert compacted == [1]


async def test_nothing_to_mask_is_said(home: Home) -> None:
    with closing(open_store(home)) as store:
        say(store, "Hello", "Plain.")
    async with open_review(home) as review:
        await review.do("r")
        await review.until_shown("Nothing to mask was found")


async def test_names_come_from_the_file_of_the_settings(home: Home, tmp_path: Path) -> None:
    fill(home)
    names = tmp_path / "names.txt"
    names.write_text("# people\nAnna Karenina\nAnna\n", "utf-8")
    with closing(open_store(home)) as store:
        say(store, "Who?", "Anna Karenina.", rating=-1)
    async with open_review(home, names=str(names)) as review:
        await open_preview(review)
        await review.until_shown("Anna Karenina [name]")
        await review.press("escape")


async def test_a_file_of_names_that_is_not_there_is_told(home: Home) -> None:
    reply = fill(home)
    async with open_review(home, names="/nowhere/names.txt") as review:
        await review.do("r")
        await review.until_shown("✗ /nowhere/names.txt cannot be read")
        await review.do("s")
        await review.until_reply("Plain.")
        assert reply.content not in review.shown


async def test_a_conversation_that_changed_meanwhile_is_left_alone(home: Home) -> None:
    reply = fill(home)
    async with open_review(home) as review:
        await open_preview(review)
        (prompt, _) = review.store.logs.tree(reply.conversation_id)
        change = {prompt.id: Replacement(prompt.content, "Something else.")}
        review.store.redactions.apply(reply.conversation_id, change, author="x", note="x")
        await review.press("enter")
        await review.until_shown("✗ A message has changed since the preview.")
        assert read_all(review, reply) == ["Something else.", reply.content]


async def test_an_index_that_cannot_be_rewritten_is_told_at_the_end(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home)

    def refuse(self: Redactions) -> None:
        raise DatabaseBusy("Another program writes.")

    monkeypatch.setattr(Redactions, "compact", refuse)
    async with open_review(home) as review:
        await open_preview(review)
        await review.press("enter")
        await review.until_reply("I shall write to [e-mail].")
        await review.press("q")
        await review.until(lambda: not review.app.is_running, "the end")
    assert isinstance(review.app.failure, DatabaseBusy)
    assert "could not be rewritten" in str(review.app.failure)
