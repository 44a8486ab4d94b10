"""The tokens of a reply with their probabilities: which model is asked, and what it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from chatbot.config import EngineSettings, Home, Settings
from chatbot.dialogue.events import ReplyEnded, TurnEvent
from chatbot.dialogue.manager import Manager, Sampling, Scores
from chatbot.engine.protocol import TokenLogprob
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import InvalidInput, NotFound, RequestRefused
from chatbot.models.template import ChatMessage
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from chatbot.store.records import Message
from chatbot.store.tables import MessageRow

SETTINGS = Settings(model="scripted")


def make_manager(
    home: Home, engine: ScriptedEngine | None = None, *, settings: Settings = SETTINGS
) -> tuple[Manager, ScriptedEngine, Store]:
    engine = engine or ScriptedEngine([["Hello", " there, you."]], names=("scripted", "other"))
    store = open_upgraded(home.database_url(settings))
    return Manager(store, engine, settings=settings, home=home), engine, store


async def finish(turn: AsyncIterator[TurnEvent]) -> Message:
    ended = [event async for event in turn][-1]
    assert isinstance(ended, ReplyEnded)
    return ended.reply


def change(store: Store, message_id: str, **values: object) -> None:
    with store._database.write() as connection:
        connection.execute(update(MessageRow).where(MessageRow.id == message_id).values(**values))


async def test_a_reply_is_scored_behind_what_its_model_read(home: Home) -> None:
    manager, engine, _ = make_manager(home)
    first = await finish(manager.reply(None, "one"))
    second = await finish(manager.reply(first.conversation_id, "two", model="other"))
    await finish(manager.reply(first.conversation_id, "three"))
    scores = await manager.score(second.id, top=2)
    assert scores.model == "other"
    assert "".join(token.token for token in scores.tokens) == "Hello there, you."
    assert all(len(token.top) == 2 for token in scores.tokens)
    (request,) = engine.scored
    assert request.messages == (*engine.requests[1].messages, ChatMessage("assistant", "Hello there, you."))
    assert (request.model, request.continue_last) == ("other", True)
    assert request.sampling == Sampling(top_logprobs=2)
    await manager.close()


async def test_the_window_is_the_one_of_then(home: Home) -> None:
    """Turns that had fallen out of the window are not read, and those that have since fallen out are."""
    engine = ScriptedEngine([["word " * 40]], context=600)
    manager, _, _ = make_manager(home, engine)
    reply = await finish(manager.reply(None, "word " * 40))
    replies = [reply]
    for _ in range(8):
        replies.append(await finish(manager.reply(reply.conversation_id, "word " * 40)))  # noqa: PERF401
    assert replies[-1].generation["left_out"] > 0
    for number, written in enumerate(replies):
        await manager.score(written.id)
        assert engine.scored[-1].messages[:-1] == engine.requests[number].messages
    await manager.close()


@pytest.mark.parametrize("model", ["", "gone"])
async def test_the_model_that_answers_now_takes_the_place_of_one_that_is_not_there(home: Home, model: str) -> None:
    manager, engine, store = make_manager(home)
    reply = await finish(manager.reply(None, "one", model="other"))
    version = store.model_versions.find_or_add_base(model, sha256="", template_sha="", path="") if model else None
    change(store, reply.id, model_version_id=version, generation={})
    assert (await manager.score(reply.id)).model == "scripted"
    assert [message.role for message in engine.scored[0].messages] == ["system", "user", "assistant"]
    with store._database.read() as connection:
        names = connection.exec_driver_sql("SELECT name FROM model_version").scalars().all()
    assert sorted(names) == sorted({"other", "scripted", model} - {""})  # nothing was recorded of what is not there
    await manager.close()


async def test_a_remote_server_is_asked_for_models_that_it_has(home: Home) -> None:
    settings = Settings(model="scripted", engine=EngineSettings(url="http://elsewhere/v1"))
    manager, engine, _ = make_manager(home, settings=settings)
    reply = await finish(manager.reply(None, "one", model="never-listed"))
    assert reply.model == "never-listed"
    assert (await manager.score(reply.id)).model == "scripted"
    assert engine.requests[0].sampling.top_logprobs is None  # a foreign server is not asked for what it may not know
    await manager.close()


async def test_what_is_recorded_but_not_there_any_more(home: Home) -> None:
    manager, engine, store = make_manager(home)
    first = await finish(manager.reply(None, "one"))
    second = await finish(manager.reply(first.conversation_id, "two"))
    manager.delete_turn(first.id)  # the oldest that was read
    await manager.score(second.id)
    assert [message.content for message in engine.scored[0].messages[1:]] == ["two", second.content]
    change(store, second.id, generation={"context_start": 7, "window": "wide"})  # as a careless import may say
    await manager.score(second.id)
    assert engine.scored[1].messages == engine.scored[0].messages
    change(store, second.id, parent_id=None)
    await manager.score(second.id)
    assert [message.role for message in engine.scored[2].messages] == ["system", "assistant"]
    await manager.close()


async def test_a_long_reply_leaves_less_room_for_what_stands_above_it(home: Home) -> None:
    engine = ScriptedEngine([["short"]], context=400)
    manager, _, store = make_manager(home, engine)
    reply = await finish(manager.reply(None, "word " * 100))
    second = await finish(manager.reply(reply.conversation_id, "word " * 20))
    change(store, second.id, model_version_id=None, generation={}, content="word " * 90)
    await manager.score(second.id)
    assert [message.content for message in engine.scored[0].messages[1:]] == ["word " * 20, "word " * 90]
    change(store, second.id, content="word " * 300)
    with pytest.raises(InvalidInput, match="window of scripted"):
        await manager.score(second.id)
    await manager.close()


async def test_what_cannot_be_scored(home: Home) -> None:
    refusal = RequestRefused("The server does not tell.", hint="Ask ours.")
    manager, _, store = make_manager(home, ScriptedEngine([["x"]], scores=[refusal, [TokenLogprob("x", -1.0)]]))
    reply = await finish(manager.reply(None, "one"))
    with pytest.raises(RequestRefused, match="does not tell"):
        await manager.score(reply.id)
    assert await manager.score(reply.id) == Scores("scripted", (TokenLogprob("x", -1.0),))
    assert reply.parent_id is not None
    for message_id, top, error in (
        (reply.parent_id, 5, InvalidInput),
        (reply.id, 21, InvalidInput),
        ("nothing", 5, NotFound),
    ):
        with pytest.raises(error):
            await manager.score(message_id, top=top)
    change(store, reply.id, content="")
    with pytest.raises(InvalidInput, match="empty"):
        await manager.score(reply.id)
    await manager.close()
