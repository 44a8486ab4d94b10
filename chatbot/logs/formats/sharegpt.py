"""ShareGPT's form: {"id": "…", "conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}.

Some files call the list `conversation` or `items`, and some have the system prompt beside it as `system`.
"""

from __future__ import annotations

from typing import Any

from chatbot.logs.formats.fields import read_text
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.turns import chain_turns, is_turns, read_turns, require_words
from chatbot.store.archive_records import ArchivedConversation

_NAMES = ("conversations", "conversation", "items")


def _find_turns(record: Any) -> list[Any] | None:
    if not isinstance(record, dict):
        return None
    return next((record[name] for name in _NAMES if name in record and is_turns(record[name])), None)


def _matches(record: Any) -> bool:
    return _find_turns(record) is not None


def _convert(record: Any, key: str) -> ArchivedConversation:
    turns, system = read_turns(_find_turns(record) or [])
    messages = chain_turns(turns, model=read_text(record.get("model")))
    require_words(messages)
    prompt = system or read_text(record.get("system"))
    return ArchivedConversation(key, tuple(messages), title=read_text(record.get("title")), system_prompt=prompt)


FORMAT = Format("sharegpt", "ShareGPT", _matches, _convert)
