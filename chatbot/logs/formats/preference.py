"""Preferences: two replies of which one is better, or one reply that is good or bad.

Pairs, as trainers for DPO read them:

    {"prompt": [messages], "chosen": [messages], "rejected": [messages]}       TRL's, and what we export
    {"conversations": [turns], "chosen": turn, "rejected": turn}               LLaMA-Factory's on ShareGPT's form
    {"instruction": "…", "input": "…", "chosen": "…", "rejected": "…"}         the same on Alpaca's

The two become siblings, and the chosen one a judgement that it is better. `prompt` may be a text, and it may be missing
where both replies repeat it. Single replies, as trainers for KTO read them, become a rating of the last reply:

    {"messages": [messages], "label": true}     LLaMA-Factory's; `kto_tag` on ShareGPT's form
    {"prompt": …, "completion": …, "label": true}       TRL's
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats.alpaca import read_question
from chatbot.logs.formats.fields import read_text
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.turns import Turn, chain_turns, is_turn, read_turns, require_words
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback

_CONTEXTS = ("prompt", "conversations", "messages")


def _matches_pair(record: Any) -> bool:
    return isinstance(record, dict) and "chosen" in record and "rejected" in record


def _convert_pair(record: Any, key: str) -> ArchivedConversation:
    context, system = _read_context(record)
    chosen, chosen_system = _read_reply(record["chosen"], context)
    rejected, _ = _read_reply(record["rejected"], context)
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    context, chosen, rejected = [*context, *chosen[:shared]], chosen[shared:], rejected[shared:]
    if not chosen or not rejected:
        raise InvalidInput("the chosen and the rejected reply do not differ")
    if chosen[0].speaker != "assistant" or rejected[0].speaker != "assistant":
        raise InvalidInput("what differs first is no reply")
    above = str(len(context)) if context else None
    better = chain_turns(chosen, above=above, first=len(context) + 1)
    worse = chain_turns(rejected, above=above, first=len(context) + len(chosen) + 1)
    better[0] = replace(better[0], feedback=(ArchivedFeedback(preferred_over=worse[0].key),))
    messages = (*chain_turns(context), *better, *worse)
    require_words(messages)
    return ArchivedConversation(key, messages, system_prompt=system or chosen_system, tip=better[-1].key)


def _find_label(record: Any) -> bool | None:
    if not isinstance(record, dict):
        return None
    label = record.get("label", record.get("kto_tag"))
    has_reply = "completion" in record or "messages" in record or "conversations" in record
    return label if has_reply and isinstance(label, bool) else None


def _matches_label(record: Any) -> bool:
    return _find_label(record) is not None


def _convert_label(record: Any, key: str) -> ArchivedConversation:
    turns, system = _read_context(record)
    if "completion" in record:
        turns = [*turns, *_read_reply(record["completion"], turns)[0]]
    messages = chain_turns(turns)
    require_words(messages)
    if messages[-1].role != "assistant":
        raise InvalidInput("its last message is no reply")
    rating = 1 if _find_label(record) else -1
    messages[-1] = replace(messages[-1], feedback=(ArchivedFeedback(rating=rating),))
    return ArchivedConversation(key, tuple(messages), system_prompt=system)


def _read_context(record: Any) -> tuple[list[Turn], str]:
    """The turns above the reply and the system prompt."""
    outside = read_text(record.get("system"))
    if "instruction" in record:
        return read_question(record), outside
    context: object = next((record[name] for name in _CONTEXTS if name in record), [])
    if isinstance(context, str):
        return [Turn("user", context)] if context else [], outside
    if not isinstance(context, list):
        raise InvalidInput("its prompt is neither text nor a list of messages")
    turns, system = read_turns(context)
    return turns, system or outside


def _read_reply(value: Any, context: list[Turn]) -> tuple[list[Turn], str]:
    """The turns of a reply, without the context if it repeats it; and a system prompt if one stands there."""
    if isinstance(value, str):
        return [Turn("assistant", value)], ""
    turns, system = read_turns([value] if is_turn(value) else value if isinstance(value, list) else [value])
    return turns[len(context) :] if turns[: len(context)] == context else turns, system


PAIRS = Format("preference", "preference pairs", _matches_pair, _convert_pair)
LABELS = Format("kto", "rated replies (KTO)", _matches_label, _convert_label)
