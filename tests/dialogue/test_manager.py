"""One turn, from the prompt to the finished reply, over an engine that replays a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from chatbot.config import EngineSettings, Home, Settings
from chatbot.dialogue.events import ReplyEnded, ReplyStarted, TextAdded, TurnEvent
from chatbot.dialogue.manager import Manager, Sampling
from chatbot.engine.protocol import Finished, FinishReason, GenerationRequest, Piece
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import (
    EngineLost,
    InvalidInput,
    ModelNotFound,
    NotFound,
    PromptTooLong,
)
from chatbot.models.library import ModelLibrary
from chatbot.models.template import ChatMessage
from chatbot.store.database import Store
from chatbot.store.learning_tables import AliasRow
from chatbot.store.migrations import open_upgraded
from chatbot.store.records import Message

SETTINGS = Settings(model="scripted")


def make_manager(
    home: Home,
    replies: Sequence[Sequence[str | Exception]] = (("Hello", " there"),),
    *,
    settings: Settings = SETTINGS,
    reason: FinishReason = "stop",
    context: int = 2048,
    delay: float = 0.0,
) -> tuple[Manager, ScriptedEngine, Store]:
    engine = ScriptedEngine(replies, reason=reason, context=context, delay=delay)
    store = open_upgraded(home.database_url(settings))
    return Manager(store, engine, settings=settings, home=home), engine, store


async def collect(turn: AsyncIterator[TurnEvent]) -> list[TurnEvent]:
    return [event async for event in turn]


async def finish(turn: AsyncIterator[TurnEvent]) -> Message:
    ended = (await collect(turn))[-1]
    assert isinstance(ended, ReplyEnded)
    return ended.reply


def contents(manager: Manager, conversation_id: str) -> list[str]:
    return [message.content for message in manager.transcript(conversation_id)]


async def test_a_turn(home: Home) -> None:
    manager, engine, _ = make_manager(home)
    events = await collect(manager.reply(None, "Good morning. How are you?"))
    started, *added, ended = events
    assert isinstance(started, ReplyStarted)
    assert isinstance(ended, ReplyEnded)
    assert started.user is not None
    assert (started.user.content, started.reply.content, started.reply.status) == (
        "Good morning. How are you?",
        "",
        "streaming",
    )
    assert [event.text for event in added if isinstance(event, TextAdded)] == ["Hello", " there"]
    reply = ended.reply
    assert (reply.content, reply.status, reply.finish_reason, reply.model) == (
        "Hello there",
        "complete",
        "stop",
        "scripted",
    )
    assert ended.title == "Good morning"
    assert reply.generation["completion_tokens"] == 2
    assert reply.generation["window"] == 2048
    assert reply.generation["time_to_first_token"] >= 0
    (request,) = engine.requests
    assert request.model == "scripted"
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.messages[0].content == manager.persona("default").system
    assert request.sampling.seed == reply.generation["seed"]
    assert contents(manager, reply.conversation_id) == ["Good morning. How are you?", "Hello there"]
    await manager.close()


async def test_the_prompt_is_committed_before_the_engine_is_asked(home: Home) -> None:
    manager, _, store = make_manager(home, settings=Settings(model="not-here"))
    with pytest.raises(ModelNotFound, match="not-here"):
        await finish(manager.reply(None, "hello"))
    conversation = manager.latest_conversation()
    assert conversation is not None
    assert contents(manager, conversation.id) == ["hello"]
    await manager.close()
    again, _, _ = make_manager(home)
    (user,) = again.transcript(conversation.id)
    assert (await finish(again.regenerate(user.id))).content == "Hello there"
    await again.close()
    assert store.path is not None


async def test_what_the_model_reads_grows_with_the_branch(home: Home) -> None:
    manager, engine, _ = make_manager(home, [["one"], ["two"], ["three"], ["four"]])
    first = await finish(manager.reply(None, "1"))
    await finish(manager.reply(first.conversation_id, "2"))
    assert [message.content for message in engine.requests[1].messages[1:]] == ["1", "one", "2"]
    other = await finish(manager.regenerate(first.id))
    assert (other.sibling, other.siblings) == (2, 2)
    assert [message.content for message in engine.requests[2].messages[1:]] == ["1"]
    assert contents(manager, first.conversation_id) == ["1", "three"]
    manager.choose_sibling(other.id, -1)
    assert contents(manager, first.conversation_id) == ["1", "one", "2", "two"]
    user = manager.transcript(first.conversation_id)[2]
    edited = await finish(manager.edit(user.id, "zwei"))
    assert [message.content for message in engine.requests[3].messages[1:]] == ["1", "one", "zwei"]
    assert manager.transcript(first.conversation_id)[2].siblings == 2
    assert edited.content == "four"
    await manager.close()


async def test_every_regenerated_reply_has_a_seed_of_its_own(home: Home) -> None:
    home.personas.mkdir(parents=True)
    (home.personas / "same.toml").write_text('system = "x"\n[sampling]\nseed = 7\ntemperature = 0.5\n')
    manager, engine, _ = make_manager(home)
    reply = await finish(manager.reply(None, "hi", persona="same"))
    assert engine.requests[0].sampling == Sampling(temperature=0.5, seed=7, top_logprobs=0)
    other = await finish(manager.regenerate(reply.id))
    assert other.generation["seed"] not in {None, 7}
    await finish(manager.regenerate(reply.id, sampling=Sampling(seed=9, temperature=0.0)))
    assert engine.requests[2].sampling == Sampling(temperature=0.0, seed=9, top_logprobs=0)
    await manager.close()


async def test_a_conversation_with_a_sampling_that_is_none_goes_on(home: Home) -> None:
    manager, engine, store = make_manager(home)
    reply = await finish(manager.reply(None, "hello"))
    store.conversations.change(reply.conversation_id, sampling={"foo": 1, "stop": 5, "top_k": 3})
    await finish(manager.regenerate(reply.id))
    assert (engine.requests[-1].sampling.top_k, engine.requests[-1].sampling.stop) == (3, ())
    await manager.close()


async def test_a_reply_cut_off_goes_on_in_the_same_message(home: Home) -> None:
    manager, engine, _ = make_manager(home, [["Once upon"], [" a time"]], reason="length")
    cut = await finish(manager.reply(None, "a story", sampling=Sampling(max_tokens=2)))
    assert cut.finish_reason == "length"
    whole = await finish(manager.continue_reply(cut.id))
    assert (whole.id, whole.content) == (cut.id, "Once upon a time")
    request = engine.requests[1]
    assert request.continue_last
    assert [message.content for message in request.messages[1:]] == ["a story", "Once upon"]
    first, second = whole.generation["parts"]
    assert (first["from_character"], second["from_character"]) == (0, len("Once upon"))
    assert first["seed"] == cut.generation["seed"] != second["seed"]
    assert whole.generation["completion_tokens"] == 2
    third = await finish(manager.continue_reply(cut.id))
    assert len(third.generation["parts"]) == 3
    with pytest.raises(InvalidInput):
        await finish(manager.continue_reply(manager.transcript(cut.conversation_id)[0].id))
    await manager.close()


async def test_an_engine_that_fails_leaves_its_text_and_the_reason(home: Home) -> None:
    manager, _, _ = make_manager(
        home, [["Half a ", EngineLost("The engine went away.", hint="Try again.")], ["thought"]]
    )
    with pytest.raises(EngineLost, match="went away"):
        await finish(manager.reply(None, "think"))
    conversation = manager.latest_conversation()
    assert conversation is not None
    _, reply = manager.transcript(conversation.id)
    assert (reply.content, reply.status, reply.finish_reason) == ("Half a ", "failed", "The engine went away.")
    assert (await finish(manager.continue_reply(reply.id))).content == "Half a thought"
    await manager.close()


async def test_a_stream_that_just_ends_is_a_lost_engine(home: Home) -> None:
    class Quitter(ScriptedEngine):
        async def stream(self, request: GenerationRequest) -> AsyncGenerator[Piece | Finished, None]:
            yield Piece("I qu")

    store = open_upgraded(home.database_url(SETTINGS))
    manager = Manager(store, Quitter([]), settings=SETTINGS, home=home)
    with pytest.raises(EngineLost):
        await finish(manager.reply(None, "hello"))
    await manager.close()


async def test_bad_prompts_change_nothing(home: Home) -> None:
    manager, _, _ = make_manager(home)
    for text in ("", " \n\t "):
        with pytest.raises(InvalidInput, match="empty"):
            await finish(manager.reply(None, text))
    with pytest.raises(NotFound, match="persona 'nobody'"):
        await finish(manager.reply(None, "hello", persona="nobody"))
    with pytest.raises(NotFound, match="no conversation"):
        await finish(manager.reply("nothing", "hello"))
    assert manager.conversations() == []
    await manager.close()


async def test_a_prompt_of_a_megabyte_is_kept_and_refused_at_once(home: Home) -> None:
    manager, engine, _ = make_manager(home)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(PromptTooLong, match=r"more than 4,096 tokens.*window holds 2,048.*512 are kept"):
        await finish(manager.reply(None, "word " * 200_000))
    assert loop.time() - begun < 1
    assert engine.requests == []
    conversation = manager.latest_conversation()
    assert conversation is not None
    (user,) = manager.transcript(conversation.id)
    assert user.content == "word " * 200_000
    reply = await finish(manager.reply(conversation.id, "short"))  # it does not stand in the way of what follows
    assert reply.generation["left_out"] == 1
    assert [message.content for message in engine.requests[0].messages[1:]] == ["short"]
    await manager.close()


async def test_text_that_no_database_takes_is_mended(home: Home) -> None:
    manager, _, _ = make_manager(home, [["a\udc00b", "\0c"]])
    reply = await finish(manager.reply(None, "x\ud800y\0z"))
    assert contents(manager, reply.conversation_id) == ["x\ufffdy\ufffdz", "a\ufffdb\ufffdc"]
    await manager.close()


async def test_the_model_is_the_one_asked_for_or_the_champion_or_the_settings(home: Home) -> None:
    settings = Settings(model="of-settings", engine=EngineSettings(url="http://remote/v1"))
    home.personas.mkdir(parents=True)
    (home.personas / "own.toml").write_text('system = "x"\nmodel = "of-persona"\n')
    manager, engine, store = make_manager(home, settings=settings)
    reply = await finish(manager.reply(None, "hello"))
    version = store.model_versions.find_or_add_base("promoted", sha256="1", template_sha="", path="")
    with store._database.write() as connection:
        row = {"name": "champion", "model_version_id": version, "updated_at": datetime.now(UTC)}
        connection.execute(insert(AliasRow).values(row))
    await finish(manager.reply(reply.conversation_id, "hello"))
    await finish(manager.reply(reply.conversation_id, "hello", persona="own"))
    last = await finish(manager.reply(reply.conversation_id, "hello", model="asked-for"))
    assert [request.model for request in engine.requests] == ["of-settings", "promoted", "of-persona", "asked-for"]
    assert last.model == "asked-for"
    chosen = Manager(store, engine, settings=settings, home=home, model="of-the-command")
    await finish(chosen.reply(reply.conversation_id, "hello"))
    assert engine.requests[-1].model == "of-the-command"
    await manager.close()


async def test_titles_personas_and_marks(home: Home) -> None:
    manager, engine, _ = make_manager(home)
    reply = await finish(manager.reply(None, "What is a monad?"))
    conversation = reply.conversation_id
    manager.rename(conversation, "  My\n title ")
    with pytest.raises(InvalidInput):
        manager.rename(conversation, " \n")
    assert manager.set_persona(conversation, "concise").persona == "concise"
    await finish(manager.reply(conversation, "Again."))
    assert manager.find_conversation(conversation).title == "My title"
    assert engine.requests[1].messages[0].content == manager.persona("concise").system
    assert engine.requests[1].sampling.max_tokens == 256
    manager.delete(conversation)
    assert manager.conversations() == []
    manager.undelete(conversation)
    manager.archive(conversation, True)
    assert [item.id for item in manager.conversations(archived=True)] == [conversation]
    assert manager.pin(conversation, True).pinned
    ids = manager.delete_turn(reply.id)
    assert contents(manager, conversation) == ["Again.", "Hello there"]
    manager.restore_turn(ids)
    assert len(contents(manager, conversation)) == 4
    assert manager.prompt_history() == ["Again.", "What is a monad?"]
    await manager.close()


async def test_a_deleted_turn_is_not_read_by_the_model(home: Home) -> None:
    manager, engine, _ = make_manager(home)
    first = await finish(manager.reply(None, "secret"))
    manager.delete_turn(first.id)
    await finish(manager.reply(first.conversation_id, "hello"))
    assert [message.content for message in engine.requests[1].messages[1:]] == ["hello"]
    await manager.close()


async def test_two_chats_on_one_conversation_lose_nothing(home: Home) -> None:
    one, _, _ = make_manager(home, [["from", " one"]], delay=0.02)
    two, _, store = make_manager(home, [["from", " two"]], delay=0.02)
    first = await finish(one.reply(None, "begin"))

    async def talk(manager: Manager, name: str) -> None:
        for number in range(5):
            await finish(manager.reply(first.conversation_id, f"{name} {number}"))

    await asyncio.gather(talk(one, "one"), talk(two, "two"))
    with store._database.read() as connection:
        rows = connection.exec_driver_sql("SELECT role, content, status FROM message ORDER BY id").all()
    assert {content for role, content, _ in rows if role == "user"} == {
        "begin",
        *(f"{name} {number}" for name in ("one", "two") for number in range(5)),
    }
    assert sum(role == "assistant" for role, *_ in rows) == 11
    assert {status for *_, status in rows} == {"complete"}
    assert store.verify() == []
    await one.close()
    await two.close()


@pytest.mark.model
async def test_a_model_on_this_disk_is_recorded_and_its_tokens_are_counted(home: Home, smollm2: Path) -> None:
    home.data.mkdir(parents=True)
    home.models.symlink_to(smollm2.parent)
    folder = ModelLibrary(home.models).find(smollm2.name)
    manager, _, store = make_manager(home, settings=Settings(model=smollm2.name))
    started, *_ = await collect(manager.reply(None, "Why is the sky blue?"))
    assert isinstance(started, ReplyStarted)
    prompt = [ChatMessage("system", manager.persona("default").system), ChatMessage("user", "Why is the sky blue?")]
    assert (started.context.exact, started.context.window) == (True, folder.context)
    assert started.context.tokens == len(folder.load_template().encode(prompt))
    with store._database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT kind, model_version.name, number, sha256, message.template_sha FROM message "
            "JOIN model_version ON model_version.id = message.model_version_id"
        ).all()
    assert [tuple(row) for row in rows] == [("base", folder.name, 1, folder.sha256, folder.template_sha)]
    await manager.close()


async def test_a_store_in_memory_answers_too(home: Home) -> None:
    manager = Manager(Store.in_memory(), ScriptedEngine([["yes"] * 50], delay=0.01), settings=SETTINGS, home=home)
    assert (await finish(manager.reply(None, "well?"))).content == "yes" * 50
    await manager.close()
    assert not home.data.exists()
