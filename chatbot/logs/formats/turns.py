"""Conversations that are a plain list of turns, as data sets have them: a speaker and a text, in whatever words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chatbot.errors import InvalidInput
from chatbot.logs.formats.fields import read_content
from chatbot.store.archive_records import ArchivedMessage
from chatbot.text import printable_line

Speaker = Literal["user", "assistant", "system", "tool"]

SPEAKERS: dict[str, Speaker] = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bard", "bing", "bot", "model"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "function_call", "observation", "ipython"), "tool"),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What a user or an assistant said."""

    speaker: Literal["user", "assistant"]
    text: str


def is_turn(value: object) -> bool:
    """Whether `value` looks like a turn: somebody, and something said."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("role", value.get("from")), str)
        and ("content" in value or "value" in value or "tool_calls" in value)
    )


def is_turns(value: object) -> bool:
    """Whether `value` looks like a list of turns; an empty one does, too."""
    return isinstance(value, list) and (not value or is_turn(value[0]))


def read_turns(values: Iterable[Any]) -> tuple[list[Turn], str]:
    """The turns and the system prompt. Calls and answers of tools are left out. Raises InvalidInput."""
    turns: list[Turn] = []
    system: list[str] = []
    for number, value in enumerate(values, 1):
        if not is_turn(value):
            raise InvalidInput(f"message {number} has no role or no content")
        role = value.get("role", value.get("from"))
        speaker = SPEAKERS.get(role.lower())
        if speaker is None:
            raise InvalidInput(f"message {number} has the unknown role '{printable_line(role, 40)}'")
        text = read_content(value.get("content", value.get("value")))
        if text is None or speaker == "tool" or (value.get("tool_calls") and not text):
            continue
        if speaker == "system":
            system.append(text)
        else:
            turns.append(Turn(speaker, text))
    return turns, "\n\n".join(system)


def chain_turns(
    turns: Sequence[Turn], *, model: str = "", above: str | None = None, first: int = 1
) -> list[ArchivedMessage]:
    """Messages below each other, with the numbers from `first` on as keys, below the message `above`."""
    messages = []
    for number, turn in enumerate(turns, first):
        messages.append(
            ArchivedMessage(
                key=str(number),
                parent=above,
                role=turn.speaker,
                content=turn.text,
                model=model if turn.speaker == "assistant" else "",
            )
        )
        above = str(number)
    return messages


def require_words(messages: Sequence[ArchivedMessage]) -> None:
    """Raises InvalidInput if nobody said anything."""
    if not any(message.content.strip() for message in messages):
        raise InvalidInput("no messages")
