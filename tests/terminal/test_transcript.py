"""A long conversation: what is mounted, how older messages come, and that the reader's place stays."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from chatbot.store.records import Conversation
from chatbot.terminal.widgets.transcript import MOST_MOUNTED
from tests.terminal.conftest import Chat, Opener

TURNS = 150


@pytest.fixture
def long_conversation(open_chat: Opener) -> Iterator[Conversation]:
    """`TURNS` turns, each message with its number."""
    from chatbot.store.replies import NewConversation

    with open_chat.store() as store:
        version = store.model_versions.find_or_add_base("scripted", sha256="", template_sha="", path="")
        message = store.replies.add_prompt(NewConversation("Long", "default", ""), "message 0")
        for number in range(1, 2 * TURNS):
            if number % 2:
                reply = store.replies.start(store.replies.new_id(), message.id, version, "", {})
                message = store.replies.finish(reply.id, f"message {number}\n\n- a\n- b", "complete", "stop", {})
            else:
                message = store.replies.add_prompt(message.conversation_id, f"message {number}")
        yield store.conversations.get(message.conversation_id)


def count_mounted(chat: Chat) -> int:
    return len(chat.screen.transcript.views)


async def settle(chat: Chat) -> None:
    """Until nothing is being read and the last change has been drawn."""
    await chat.until(lambda: not chat.screen.workers_busy, "what was asked for")
    drawn = asyncio.Event()
    chat.screen.call_after_refresh(drawn.set)
    await chat.until(drawn.is_set, "the frame")


def find_numbers(chat: Chat) -> list[int]:
    return [int(found) for found in re.findall(r"message (\d+)", chat.shown)]


async def test_reading_upwards_to_the_first_message_and_back(
    open_chat: Opener, long_conversation: Conversation
) -> None:
    async with open_chat(latest=True, size=(100, 30)) as chat:
        await chat.until_shown(f"message {2 * TURNS - 1}")
        assert count_mounted(chat) <= 40
        await settle(chat)
        seen = find_numbers(chat)
        for _ in range(400):
            await chat.press("pageup")
            await settle(chat)
            numbers = find_numbers(chat)
            seen += numbers
            assert count_mounted(chat) <= MOST_MOUNTED + 40
            if numbers and numbers[0] == 0:
                break
        assert sorted(set(seen)) == list(range(2 * TURNS)), "no message was passed over"
        await chat.press("ctrl+end")
        await chat.until_shown(f"message {2 * TURNS - 1}")
        await chat.until(lambda: chat.screen.transcript.is_at_end, "the end")


async def test_older_messages_do_not_move_what_is_read(open_chat: Opener, long_conversation: Conversation) -> None:
    async with open_chat(latest=True, size=(100, 30)) as chat:
        await chat.until_shown(f"message {2 * TURNS - 1}")
        transcript = chat.screen.transcript
        before = count_mounted(chat)
        while count_mounted(chat) == before:
            await chat.press("pageup")
            await chat.until(lambda: not chat.screen.workers_busy, "the page")
        await chat.until(lambda: not transcript._moving, "the older ones")
        first = next(view for view in transcript.views if view.region.overlaps(transcript.region))
        number = int(first.message.content.split()[1])
        assert 2 * TURNS - 60 < number < 2 * TURNS - 1, number
