"""Alpaca's form: {"instruction": "…", "input": "…", "output": "…"}; trainers add `system` and `history`."""

from __future__ import annotations

from typing import Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats.fields import read_list, read_text
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.turns import Turn, chain_turns, require_words
from chatbot.store.archive_records import ArchivedConversation


def _matches(record: Any) -> bool:
    return isinstance(record, dict) and "instruction" in record and "output" in record


def read_question(record: Any) -> list[Turn]:
    """The turns before the answer: the earlier ones, and the instruction with its input. Raises InvalidInput."""
    turns: list[Turn] = []
    for pair in read_list(record.get("history")):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise InvalidInput("its history is no list of pairs of texts")
        turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]
    parts = [record.get("instruction"), record.get("input")]
    if not all(part is None or isinstance(part, str) for part in parts):
        raise InvalidInput("its instruction or input is no text")
    question = "\n\n".join(part for part in parts if part)
    return [*turns, Turn("user", question)] if question else turns


def _convert(record: Any, key: str) -> ArchivedConversation:
    turns = read_question(record)
    output = record["output"]
    if not isinstance(output, str):
        raise InvalidInput("its output is no text")
    messages = chain_turns([*turns, Turn("assistant", output)])
    require_words(messages)
    return ArchivedConversation(key, tuple(messages), system_prompt=read_text(record.get("system")))


FORMAT = Format("alpaca", "Alpaca", _matches, _convert)
