"""Training rows are what the chat sends and receives, token for token."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from chatbot.admin.datasets.items import Turn
from chatbot.admin.rendering import TrainingRow, render_row, render_rows
from chatbot.errors import LearningError
from chatbot.models.template import ChatMessage, ChatTemplate
from tests.models.tiny_models import CHATML, train_tokenizer

FORGETFUL = CHATML.replace(
    "message['content'] +",
    "(message['content'].split('</think>')[-1] if message['role'] == 'assistant' and not loop.last "
    "else message['content']) +",
)


def load(source: str = CHATML) -> ChatTemplate:
    return ChatTemplate(Tokenizer.from_str(train_tokenizer()), source, eos_ids=frozenset([2]))


def make_turns(*texts: str, learn: tuple[int, ...] = ()) -> list[Turn]:
    """A system prompt, then users and assistants in turn."""
    roles = ("user", "assistant")
    turns = [Turn(role="system", content="Be brief.")]
    for number, text in enumerate(texts):
        turns.append(Turn.model_validate({"role": roles[number % 2], "content": text, "learn": number in learn}))
    return turns


def read_learned(template: ChatTemplate, row: TrainingRow) -> str:
    learned = [token for token, kept in zip(row.tokens, row.learned, strict=True) if kept]
    return str(template.tokenizer.decode(learned, skip_special_tokens=False))


def test_a_reply_follows_the_prompt_that_the_chat_sends() -> None:
    template, turns = load(), make_turns("你好 🎉", "Hello, 42!", learn=(1,))
    prompt = template.encode([turn.message for turn in turns[:-1]])
    row = render_row(template, turns)
    assert list(row.tokens[: len(prompt)]) == prompt
    assert row.learned == (False,) * len(prompt) + (True,) * (len(row.tokens) - len(prompt))
    assert read_learned(template, row) == "Hello, 42!<|im_end|>"
    assert row.labels[: len(prompt)] == [-100] * len(prompt)
    assert tuple(row.labels[len(prompt) :]) == row.tokens[len(prompt) :]


def test_several_learned_replies_share_a_row_and_each_has_its_own_prompt() -> None:
    template = load()
    turns = make_turns("one", "first", "two", "bad", "three", "third", "four", "late", learn=(1, 5))
    row = render_row(template, turns)
    assert read_learned(template, row) == "first<|im_end|>third<|im_end|>"
    text = template.tokenizer.decode(list(row.tokens), skip_special_tokens=False)
    assert "bad" in text  # as context
    assert "four" not in text  # beyond the last learnt token
    for place in (2, 6):
        prompt = template.encode([turn.message for turn in turns[:place]])
        assert list(row.tokens[: len(prompt)]) == prompt


def test_there_is_always_a_system_message() -> None:
    template = load()
    row = render_row(template, make_turns("Hi", "Ho", learn=(1,))[1:])
    prompt = template.encode([ChatMessage("system", ""), ChatMessage("user", "Hi")])
    assert list(row.tokens[: len(prompt)]) == prompt


def test_turns_of_one_role_are_joined_as_in_chat() -> None:
    template = load()
    user = Turn(role="user", content="a")
    row = render_row(template, [user, Turn(role="user", content="b"), Turn(role="assistant", content="c", learn=True)])
    prompt = template.encode([ChatMessage("system", ""), ChatMessage("user", "a\n\nb")])
    assert list(row.tokens[: len(prompt)]) == prompt


def test_the_format_inside_a_reply_is_not_learned_as_format() -> None:
    template = load()
    row = render_row(template, make_turns("Hi", "x<|im_end|>y<|im_start|>system", learn=(1,)))
    learned = [token for token, kept in zip(row.tokens, row.learned, strict=True) if kept]
    assert learned.count(2) == 1
    assert learned[-1] == 2
    assert 1 not in learned


@pytest.mark.parametrize("reply", ["\nHo", " Ho", "\n\n\nHo", "Ho \n"])
def test_white_space_around_a_reply_leaves_the_prompt_whole(reply: str) -> None:
    template, turns = load(), make_turns("Hi", reply, learn=(1,))
    prompt = template.encode([turn.message for turn in turns[:-1]])
    row = render_row(template, turns)
    assert list(row.tokens[: len(prompt)]) == prompt
    assert read_learned(template, row) == reply + "<|im_end|>"


def test_a_template_that_rewrites_earlier_replies_takes_a_row_for_each() -> None:
    template = load(FORGETFUL)
    turns = make_turns("one", "<think>hm</think>first", "two", "second", learn=(1, 3))
    with pytest.raises(LearningError):
        render_row(template, turns)
    first, second = render_rows(template, turns)
    assert read_learned(template, first) == "<think>hm</think>first<|im_end|>"
    assert read_learned(template, second) == "second<|im_end|>"
    prompt = template.encode([turn.message for turn in turns[:-1]])
    assert list(second.tokens[: len(prompt)]) == prompt


def test_a_model_without_a_template_learns_to_end_its_text() -> None:
    template = load("")
    row = render_row(template, make_turns("Hi", "Ho", learn=(1,)))
    assert read_learned(template, row) == "Ho<|im_end|>"


def test_nothing_learned_is_an_empty_row() -> None:
    assert render_row(load(), make_turns("Hi", "Ho")) == TrainingRow((), ())
    assert render_rows(load(), make_turns("Hi", "Ho")) == []
