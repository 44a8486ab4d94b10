"""Stopping, cancelling and failing in the middle of a reply: what came is kept, and the row says what happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import pytest

from chatbot.config import Home, Settings
from chatbot.dialogue.events import ReplyStarted, TextAdded
from chatbot.dialogue.manager import Manager
from chatbot.engine.protocol import Finished, GenerationRequest, Piece
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import DatabaseBusy, DatabaseUnwritable
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from chatbot.store.records import Message
from chatbot.store.replies import Replies

SETTINGS = Settings(model="scripted")


class PausedEngine(ScriptedEngine):
    """Says a few words and then falls silent until it is closed."""

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
        self.requests.append(request)
        try:
            yield Piece("so far")
            await asyncio.Event().wait()
        finally:
            self.closed_early += 1


def make_manager(home: Home, engine: ScriptedEngine) -> tuple[Manager, Store]:
    store = open_upgraded(home.database_url(SETTINGS))
    return Manager(store, engine, settings=SETTINGS, home=home), store


def last_message(manager: Manager) -> Message:
    conversation = manager.latest_conversation()
    assert conversation is not None
    return manager.transcript(conversation.id)[-1]


async def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """How long it took."""
    begun = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() - begun < seconds
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def test_closing_the_turn_stops_the_engine_and_keeps_the_text(home: Home) -> None:
    engine = ScriptedEngine([["one ", "two ", "three "]])
    manager, _ = make_manager(home, engine)
    turn = manager.reply(None, "count")
    async for event in turn:
        if isinstance(event, TextAdded) and event.text == "two ":
            break
    await turn.aclose()
    reply = last_message(manager)
    assert (reply.content, reply.status, engine.closed_early) == ("one two ", "stopped", 1)
    assert reply.generation["completion_tokens"] > 0
    await manager.close()


async def test_cancelling_the_reader_while_the_engine_is_silent(home: Home) -> None:
    engine = PausedEngine([])
    manager, _ = make_manager(home, engine)

    async def read() -> None:
        async for _ in manager.reply(None, "hello"):
            pass

    task = asyncio.create_task(read())
    await wait_until(lambda: manager.latest_conversation() is not None and last_message(manager).content == "so far")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    reply = last_message(manager)
    assert (reply.content, reply.status, engine.closed_early) == ("so far", "stopped", 1)
    await manager.close()


async def test_a_second_cancel_does_not_tear_the_last_write(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, _ = make_manager(home, PausedEngine([]))
    finish = Replies.finish
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def finish_slowly(self: Replies, *arguments: object) -> Message:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.2)
        return finish(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Replies, "finish", finish_slowly)

    async def read() -> None:
        async for _ in manager.reply(None, "hello"):
            pass

    task = asyncio.create_task(read())
    await wait_until(lambda: manager.latest_conversation() is not None and last_message(manager).content == "so far")
    task.cancel()
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert last_message(manager).status == "stopped"
    await manager.close()


@pytest.mark.parametrize("steps", range(12))
async def test_cancelling_at_any_moment_leaves_no_reply_streaming(home: Home, steps: int) -> None:
    manager, store = make_manager(home, ScriptedEngine([["a", "b", "c"]], delay=0.005))

    async def read() -> None:
        async for _ in manager.reply(None, "hello"):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(steps * 0.003)
    task.cancel()
    await asyncio.wait([task])
    if manager.latest_conversation() is not None:
        assert last_message(manager).status in {"complete", "stopped"}
    assert store.verify() == []
    await manager.close()


async def test_text_is_kept_within_half_a_second_even_if_the_stream_pauses(home: Home) -> None:
    manager, _ = make_manager(home, PausedEngine([]))
    turn = manager.reply(None, "hello")
    async for event in turn:
        if isinstance(event, TextAdded):
            break
    with open_upgraded(home.database_url(SETTINGS)) as other:
        reply_id = last_message(manager).id
        assert await wait_until(lambda: other.messages.get(reply_id).content == "so far") < 0.5
        assert other.messages.get(reply_id).status == "streaming"
    await turn.aclose()
    await manager.close()


async def test_a_disk_that_fills_up_in_the_middle(home: Home) -> None:
    manager, store = make_manager(home, ScriptedEngine([["x" * 50_000] * 50], delay=0.02))
    turn = manager.reply(None, "hello")
    with pytest.raises(DatabaseUnwritable, match="full"):
        async for event in turn:
            if isinstance(event, ReplyStarted):
                await asyncio.to_thread(limit_pages, store)
    await asyncio.to_thread(limit_pages, store, 1 << 30)
    assert last_message(manager).status == "streaming"
    conversation = manager.latest_conversation()
    assert conversation is not None
    interrupted = manager.interrupted(conversation.id)  # as the next start, or the same chat, finds it
    assert interrupted is not None
    assert manager.transcript(conversation.id)[0].content == "hello"
    assert store.verify() == []
    await manager.close()


def limit_pages(store: Store, pages: int = 0) -> None:
    """Makes SQLite take the disk for full, on every connection in the pool."""
    held = [store._database.engine.connect() for _ in range(4)]
    for connection in held:
        count = pages or connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {count}")
    for connection in held:
        connection.close()


async def test_a_busy_database_does_not_end_a_reply(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, _ = make_manager(home, ScriptedEngine([["word "] * 60], delay=0.01))
    grow = Replies.grow
    calls = 0

    def grow_sometimes(self: Replies, reply_id: str, content: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise DatabaseBusy("Another process has held the write lock.")
        grow(self, reply_id, content)

    monkeypatch.setattr(Replies, "grow", grow_sometimes)
    async for _ in manager.reply(None, "hello"):
        pass
    assert calls >= 2
    assert last_message(manager).content == "word " * 60
    await manager.close()


async def test_an_abandoned_generator_is_stopped_when_it_is_collected(home: Home) -> None:
    manager, _ = make_manager(home, PausedEngine([]))

    async def leave() -> None:
        async for event in manager.reply(None, "hello"):
            if isinstance(event, TextAdded):
                return

    await leave()
    await wait_until(lambda: last_message(manager).status == "stopped")
    assert last_message(manager).content == "so far"
    await manager.close()


async def test_interrupted_replies_come_back_and_can_be_dropped(home: Home) -> None:
    manager, store = make_manager(home, ScriptedEngine([["whole"]]))
    async for _ in manager.reply(None, "hello"):
        pass
    user = store.replies.add_prompt(last_message(manager).conversation_id, "and then?")
    version = store.model_versions.find_or_add_base("scripted", sha256="", template_sha="", path="")
    with open_upgraded(home.database_url(SETTINGS)) as dying:
        reply = dying.replies.start(dying.replies.new_id(), user.id, version, "", {})
        dying.replies.grow(reply.id, "half")
        assert manager.interrupted(user.conversation_id) is None  # its writer lives
    found = manager.interrupted(user.conversation_id)
    assert found is not None
    assert (found.id, found.content, found.status) == (reply.id, "half", "interrupted")
    manager.drop(reply.id)
    assert manager.transcript(user.conversation_id)[-1].id == user.id
    assert manager.interrupted(user.conversation_id) is None
    await manager.close()
