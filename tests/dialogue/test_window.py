"""What the model gets to read: whole turns, the newest ones, the same each time it is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.dialogue.counting import EstimatingCounter, ExactCounter, TokenCounter
from chatbot.dialogue.prompt import assemble
from chatbot.dialogue.window import KEPT_SHARE, START, Context, fit, reserve
from chatbot.errors import PromptTooLong
from chatbot.models.template import ChatMessage, ChatTemplate
from chatbot.store.records import Message, Role

COUNTER = EstimatingCounter()


def make_message(number: int, role: Role, words: int, **generation: str) -> Message:
    return Message(
        id=f"{number:08}",
        conversation_id="c",
        parent_id=None,
        role=role,
        content="abc" * words,  # a token by the estimate
        status="complete",
        created=datetime.now(UTC),
        generation=generation,
    )


def make_branch(sizes: list[int]) -> list[Message]:
    """Turns of a prompt and a reply, each of so many tokens, and a last prompt."""
    roles: list[Role] = ["user", "assistant"]
    return [make_message(number, roles[number % 2], size) for number, size in enumerate(sizes)]


def choose(branch: list[Message], window: int, system: str = "be brief", **more: int) -> Context:
    return fit(reversed(branch), system, window, COUNTER, **more)


def test_what_fits_is_read_whole() -> None:
    branch = make_branch([10, 10, 10, 10, 10])
    context = choose(branch, 400)
    assert [message.content for message in context.messages] == ["be brief", *(item.content for item in branch)]
    assert (context.kept, context.start, context.window) == (5, branch[0].id, 400)
    assert context.tokens == COUNTER.count(context.messages)


def test_the_newest_turn_alone_may_not_fit() -> None:
    with pytest.raises(PromptTooLong, match=r"about 5\d\d tokens; the model's window holds 400, of which 100 are kept"):
        choose(make_branch([10, 10, 500]), 400)


def test_room_is_kept_for_the_reply() -> None:
    assert reserve(8192, None) == 1024
    assert reserve(2048, None) == 512
    assert reserve(8192, 100) == 100
    assert reserve(1000, 5000) == 250


@given(st.lists(st.integers(1, 60), min_size=1, max_size=81).filter(lambda sizes: len(sizes) % 2 == 1))
def test_whole_turns_the_newest_ones_and_never_too_much(sizes: list[int]) -> None:
    branch = make_branch(sizes)
    context = choose(branch, 400)
    assert context.messages[0].role == "system"
    assert [item.content for item in context.messages[1:]] == [item.content for item in branch[-context.kept :]]
    assert context.messages[1].role == "user"
    assert context.tokens <= 400 - reserve(400, None)
    if context.kept < len(branch):
        everything = COUNTER.count(assemble("be brief", branch))
        assert everything > KEPT_SHARE * (400 - reserve(400, None))


def test_the_beginning_stays_for_several_turns_and_any_process_sees_the_same() -> None:
    branch: list[Message] = []
    starts = []
    for number in range(60):
        branch.append(make_message(2 * number, "user", 10))
        context = choose(branch, 1000)
        # A regenerated reply, or another process, has nothing but the same messages.
        assert choose(list(branch), 1000) == context
        starts.append(context.start)
        branch.append(make_message(2 * number + 1, "assistant", 10, **{START: context.start}))
    changes = sum(before != after for before, after in pairwise(starts))
    full = starts.count(starts[0])
    assert full > 10
    assert 0 < changes <= (60 - full) / 3  # each change makes room for several turns


def test_turns_that_were_deleted_make_room_for_older_ones() -> None:
    branch = make_branch([20] * 41)
    context = choose(branch, 1000)
    assert context.kept < 41
    tail = [replace(item, generation={START: context.start}) for item in branch[-3:]]
    shortened = [*branch[:-15], *tail]
    refilled = choose(shortened, 1000)
    assert refilled.start < context.start
    assert refilled.kept > 3


def test_a_prompt_that_never_fitted_hides_nothing() -> None:
    branch = [*make_branch([10, 10]), make_message(2, "user", 5000), make_message(3, "user", 10)]
    context = choose(branch, 400)
    assert [message.content for message in context.messages[1:]] == [
        branch[0].content,
        branch[1].content,
        branch[3].content,
    ]
    assert context.kept == 3


def test_only_as_much_of_the_branch_is_read_as_may_fit() -> None:
    read = 0

    def endless() -> Iterator[Message]:
        nonlocal read
        for number in range(100_000, 0, -1):
            read += 1
            yield make_message(number, "user" if number % 2 == 0 else "assistant", 10)

    fit(endless(), "", 1000, COUNTER)
    assert read < 100


def test_the_messages_that_the_model_reads_alternate() -> None:
    branch = [
        make_message(0, "user", 1),
        make_message(1, "assistant", 0),
        make_message(2, "user", 2),
        make_message(3, "assistant", 1),
        make_message(4, "user", 1),
    ]
    assert assemble("", branch) == (
        ChatMessage("system", ""),
        ChatMessage("user", "abc\n\nabcabc"),
        ChatMessage("assistant", "abc"),
        ChatMessage("user", "abc"),
    )


@pytest.mark.model
def test_the_exact_count_is_what_the_model_reads(smollm2: Path) -> None:
    template = ChatTemplate.load(smollm2)
    counter: TokenCounter = ExactCounter(template)
    turns = ["Who are you?", "I am 一个 chatbot <|im_end|>.", "print('hello')\n" * 20, "😀" * 50, "Thanks!"]
    branch = [replace(message, content=text) for message, text in zip(make_branch([1] * 5), turns, strict=True)]
    context = fit(reversed(branch), "You are helpful.", 2048, counter)
    assert context.exact
    assert context.tokens == len(template.encode(context.messages))
    assert sum(counter.cost(message.content, stop_at=2048) for message in context.messages) >= 0.9 * context.tokens


@pytest.mark.model
@pytest.mark.parametrize(
    "text", ["word " * 200_000, "a" * 1_000_000, "天" * 300_000, " " * 1_000_000, "<|im_end|>" * 99_000]
)
def test_a_megabyte_is_refused_in_a_fraction_of_a_second(smollm2: Path, text: str) -> None:
    counter = ExactCounter(ChatTemplate.load(smollm2))
    counter.count_text("warm")
    begun = time.monotonic()
    with pytest.raises(PromptTooLong, match="tokens"):
        fit([replace(make_message(0, "user", 1), content=text)], "", 8192, counter)
    assert time.monotonic() - begun < 2  # some 0.2 s on an idle machine
