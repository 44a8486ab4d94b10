"""Replies that begin with words of the reader's choice, two replies at once, and what is measured of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatbot.config import Home, Settings
from chatbot.dialogue.events import ReplyEnded, ReplyStarted, TextAdded, TurnEvent
from chatbot.dialogue.manager import Manager, Sampling
from chatbot.engine.protocol import Piece, TokenLogprob
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import ChatbotError, DatabaseBusy, EngineLost, InvalidInput, NotFound
from chatbot.store.migrations import open_upgraded
from chatbot.store.records import Message

SETTINGS = Settings(model="scripted")


def make_manager(home: Home, replies: Any, **options: Any) -> tuple[Manager, ScriptedEngine]:
    engine = ScriptedEngine(replies, **options)
    store = open_upgraded(home.database_url(SETTINGS))
    return Manager(store, engine, settings=SETTINGS, home=home), engine


async def finish(turn: AsyncIterator[TurnEvent]) -> Message:
    ended = [event async for event in turn][-1]
    assert isinstance(ended, ReplyEnded)
    return ended.reply


def say(text: str, *logprobs: float) -> Piece:
    return Piece(text, tuple(TokenLogprob(text, value) for value in logprobs))


async def test_a_reply_goes_on_from_another_beginning(home: Home) -> None:
    manager, engine = make_manager(home, [["The sky is blue."], [" red", "."]])
    reply = await finish(manager.reply(None, "Which colour?"))
    started, *added, ended = [event async for event in manager.branch_reply(reply.id, "The sky is")]
    assert isinstance(started, ReplyStarted)
    assert isinstance(ended, ReplyEnded)
    assert started.reply.content == "The sky is"
    assert [event.text for event in added if isinstance(event, TextAdded)] == [" red", "."]
    other = ended.reply
    assert (other.content, other.status, other.siblings, other.parent_id) == (
        "The sky is red.",
        "complete",
        2,
        reply.parent_id,
    )
    assert other.generation["branched_from"] == reply.id
    assert other.generation["from_character"] == len("The sky is")
    assert other.generation["seed"] != reply.generation["seed"]
    assert other.generation["left_out"] == 0
    request = engine.requests[1]
    assert request.continue_last
    assert [message.content for message in request.messages[1:]] == ["Which colour?", "The sky is"]
    assert manager.transcript(reply.conversation_id)[-1].id == other.id  # the tip moved
    await manager.close()


async def test_a_branch_that_is_continued_keeps_where_it_came_from(home: Home) -> None:
    manager, _ = make_manager(home, [["ab"], [say("c", -1.0)], [say("d", -2.0), say("e", -3.0)]], reason="length")
    reply = await finish(manager.reply(None, "letters"))
    branch = await finish(manager.branch_reply(reply.id, "a"))
    whole = await finish(manager.continue_reply(branch.id))
    assert whole.content == "acde"
    first, second = whole.generation["parts"]
    assert (first["from_character"], second["from_character"]) == (1, 2)
    assert (first["branched_from"], whole.generation["branched_from"]) == (reply.id, reply.id)
    assert (first["mean_logprob"], second["mean_logprob"], whole.generation["mean_logprob"]) == (-1.0, -2.5, -2.0)
    await manager.close()


async def test_an_empty_beginning_is_another_reply(home: Home) -> None:
    manager, engine = make_manager(home, [["one"], ["two"]])
    reply = await finish(manager.reply(None, "count"))
    other = await finish(manager.branch_reply(reply.id, ""))
    assert (other.content, other.siblings) == ("two", 2)
    assert not {"branched_from", "from_character"} & set(other.generation)
    assert not engine.requests[1].continue_last
    assert reply.parent_id is not None
    with pytest.raises(InvalidInput):
        await finish(manager.branch_reply(reply.parent_id, "x"))
    await manager.close()


async def test_a_branch_that_fails_at_once_says_so(home: Home) -> None:
    manager, _ = make_manager(home, [["The sky is blue."], [EngineLost("It went away.")]])
    reply = await finish(manager.reply(None, "Which colour?"))
    with pytest.raises(EngineLost):
        await finish(manager.branch_reply(reply.id, "The sky\0 is"))
    failed = manager.transcript(reply.conversation_id)[-1]
    assert (failed.content, failed.status, failed.finish_reason) == ("The sky\ufffd is", "failed", "It went away.")
    assert failed.generation["from_character"] == len(failed.content)  # none of it is the model's
    assert not {"completion_tokens", "mean_logprob"} & set(failed.generation)
    await manager.close()


async def test_two_models_answer_one_message_at_once(home: Home) -> None:
    manager, engine = make_manager(home, [["A "] * 20, ["B "] * 20], names=("a-model", "b-model"))
    first = manager.reply(None, "Which of you is better?", model="a-model")
    started = await anext(first)
    assert isinstance(started, ReplyStarted)
    assert started.user is not None
    turns = [first, manager.regenerate(started.user.id, model="b-model")]
    ended: dict[int, Message] = {}
    while len(ended) < len(turns):
        for number, turn in enumerate(turns):  # an event of each by turns: neither waits for the other's end
            event = await anext(turn, None)
            if isinstance(event, ReplyEnded):
                ended[number] = event.reply
    one, other = ended[0], ended[1]
    assert (one.content, one.model, one.status) == ("A " * 20, "a-model", "complete")
    assert (other.content, other.model, other.status) == ("B " * 20, "b-model", "complete")
    assert one.parent_id == other.parent_id == started.user.id
    assert {one.sibling, other.sibling} == {1, 2}
    assert [[message.content for message in request.messages[1:]] for request in engine.requests] == [
        ["Which of you is better?"]
    ] * 2
    last = manager.transcript(one.conversation_id)[-1]
    assert last.id == other.id
    manager.choose_sibling(last.id, -1)
    assert manager.transcript(one.conversation_id)[-1].id == one.id
    await manager.close()


async def test_one_of_two_that_fails_or_is_stopped_does_not_touch_the_other(home: Home) -> None:
    broken = ["B "] * 20 + [EngineLost("It went away.")]
    manager, engine = make_manager(home, [["A "] * 400, broken, ["C "] * 400], delay=0.005)
    first = manager.reply(None, "Well?")
    started = await anext(first)
    assert isinstance(started, ReplyStarted)
    assert started.user is not None
    second, third = manager.regenerate(started.user.id), manager.regenerate(started.user.id)

    async def leave() -> None:
        async for event in third:
            if isinstance(event, TextAdded):
                break
        await third.aclose()

    tasks = []
    for number, work in enumerate((finish(first), finish(second), leave()), 1):
        tasks.append(asyncio.ensure_future(work))
        while len(engine.requests) < number:  # noqa: ASYNC110  the script goes by the order of the requests
            await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], EngineLost)
    assert manager.interrupted(started.reply.conversation_id) is None
    found = {}
    for _ in range(3):
        last = manager.transcript(started.reply.conversation_id)[-1]
        found[last.content.strip()[:1]] = last.status
        manager.choose_sibling(last.id, -1)
    assert found == {"A": "complete", "B": "failed", "C": "stopped"}
    await manager.close()


async def test_the_drawn_tokens_probability_is_kept_but_not_as_a_setting(home: Home) -> None:
    manager, engine = make_manager(home, [[say("Hel", -0.5), say("lo", -1.0, -2.00004), "!"], ["plain"]])
    reply = await finish(manager.reply(None, "hello"))
    assert engine.requests[0].sampling.top_logprobs == 0
    assert "top_logprobs" not in reply.generation["sampling"]
    assert reply.generation["mean_logprob"] == round(-3.50004 / 3, 4)
    plain = await finish(manager.regenerate(reply.id, sampling=Sampling(top_logprobs=3)))
    assert engine.requests[1].sampling.top_logprobs == plain.generation["sampling"]["top_logprobs"] == 3
    assert "mean_logprob" not in plain.generation
    await manager.close()


async def test_a_part_of_unknown_probability_leaves_the_whole_without_one(home: Home) -> None:
    manager, _ = make_manager(home, [["Once"], [say(" upon", -1.0)]])
    reply = await finish(manager.reply(None, "a story"))
    second = await finish(manager.continue_reply(reply.id))
    assert "mean_logprob" not in second.generation
    assert second.generation["parts"][1]["mean_logprob"] == -1.0
    await manager.close()


async def test_a_part_that_wrote_nothing_does_not_count(home: Home) -> None:
    manager, _ = make_manager(home, [[say("Once", -1.0)], [EngineLost("Gone.")], [say(" a", -2.0)]])
    reply = await finish(manager.reply(None, "a story"))
    with pytest.raises(EngineLost):
        await finish(manager.continue_reply(reply.id))
    whole = await finish(manager.continue_reply(reply.id))
    assert (whole.content, whole.generation["mean_logprob"]) == ("Once a", -1.5)
    await manager.close()


async def test_how_repetitive_the_text_is_stands_with_the_reply(home: Home) -> None:
    manager, _ = make_manager(home, [["and on "] * 200, ["Short."], [EngineLost("Gone.")]])
    reply = await finish(manager.reply(None, "on?"))
    assert reply.generation["compression_ratio"] > 10
    assert (await finish(manager.regenerate(reply.id))).generation["compression_ratio"] < 1
    with pytest.raises(EngineLost):
        await finish(manager.regenerate(reply.id))
    assert "compression_ratio" not in manager.transcript(reply.conversation_id)[-1].generation
    await manager.close()


@pytest.mark.parametrize("error", [DatabaseBusy("busy"), InvalidInput("streams"), NotFound("gone")], ids=str)
async def test_a_preference_that_cannot_be_noted_costs_no_turn(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: ChatbotError
) -> None:
    manager, _ = make_manager(home, [["first"], ["second"]])
    reply = await finish(manager.reply(None, "Hi?"))

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(manager.store.judgements, "go_on_from", refuse)
    assert (await finish(manager.reply(reply.conversation_id, "And?"))).content == "second"
    await manager.close()
