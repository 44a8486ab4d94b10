"""The `messages` of the OpenAI API, which most trainers read: {"messages": [{"role": "user", "content": "…"}, …]}.

A list of such messages without the object around it is a conversation, too. Parts that are no text are named
("[image]"); calls and answers of tools are left out.
"""

from __future__ import annotations

from typing import Any

from chatbot.logs.formats.fields import read_text
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.turns import chain_turns, is_turn, is_turns, read_turns, require_words
from chatbot.store.archive_records import ArchivedConversation


def _matches(record: Any) -> bool:
    if isinstance(record, dict):
        return "messages" in record and is_turns(record["messages"])
    return isinstance(record, list) and bool(record) and is_turn(record[0])


def _convert(record: Any, key: str) -> ArchivedConversation:
    about = {} if isinstance(record, list) else record
    turns, system = read_turns(record if isinstance(record, list) else record["messages"])
    messages = chain_turns(turns, model=read_text(about.get("model")))
    require_words(messages)
    return ArchivedConversation(key, tuple(messages), system_prompt=system or read_text(about.get("system")))


FORMAT = Format("openai", "OpenAI messages", _matches, _convert)
