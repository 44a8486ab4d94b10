"""Conversations, messages and what was thought of them, in JSON's objects and in a person's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chatbot.cli.logs.printing import SHORT
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.store.lineage import DatasetUse, ModelUse
    from chatbot.store.logs import LogEntry
    from chatbot.store.records import Conversation, Message, Rating
    from chatbot.store.reply_states import Judgement

RATINGS: dict[str, Rating] = {"up": 1, "down": -1, "none": 0}
DECISIONS = {"approve": "approved", "reject": "rejected", "redact": "redacted", "withdraw": "withdrawn", "": ""}
_RATED = {1: "up", -1: "down", 0: "none"}


def conversation_to_json(one: Conversation) -> dict[str, Any]:
    return {
        "id": one.id,
        "title": one.title,
        "persona": one.persona,
        "created": one.created,
        "updated": one.updated,
        "pinned": one.pinned,
        "archived": one.archived,
        "deleted": one.deleted,
    }


def entry_to_json(entry: LogEntry) -> dict[str, Any]:
    return conversation_to_json(entry.conversation) | {
        "messages": entry.messages,
        "up": entry.up,
        "down": entry.down,
        "waiting": entry.waiting,
        "approved": entry.approved,
        "rejected": entry.rejected,
        "models": entry.models,
    }


def message_to_json(message: Message, judged: Judgement | None = None) -> dict[str, Any]:
    """What a message is; of a reply also what was thought of it."""
    told: dict[str, Any] = {
        "id": message.id,
        "conversation": message.conversation_id,
        "parent": message.parent_id,
        "role": message.role,
        "created": message.created,
        "content": message.content,
        "status": message.status,
        "finish_reason": message.finish_reason,
        "alternative": message.sibling,
        "alternatives": message.siblings,
    }
    if message.role == "assistant":
        told |= {"model": message.model, "generation": message.generation}
    return told | (judgement_to_json(judged) if judged else {})


def judgement_to_json(judged: Judgement) -> dict[str, Any]:
    return {
        "rating": _RATED[judged.rating],
        "tags": judged.tags,
        "comment": judged.comment,
        "decision": DECISIONS[judged.decision] or None,
    }


def name_author(message: Message) -> str:
    """Who speaks: the role, or what wrote the reply."""
    if message.role != "assistant":
        return message.role
    if message.model:
        return message.model
    author = message.generation.get("author")
    return f"{author} (a correction)" if isinstance(author, str) and author else "assistant"


def describe_state(message: Message) -> list[str]:
    """How a reply ended and what was thought of it, in words; nothing is said of what is as it should be."""
    told = []
    if message.status != "complete":
        reason = f": {message.finish_reason}" if message.status == "failed" and message.finish_reason else ""
        told.append(printable_line(message.status + reason))
    elif message.finish_reason == "length":
        told.append("cut off")
    if message.rating:
        told.append(f"rated {_RATED[message.rating]}")
    if message.decision:
        told.append(DECISIONS[message.decision])
    return told


def shorten(identifier: str) -> str:
    """As much of an id as tells it from others."""
    return identifier[:SHORT]


def dataset_to_json(one: DatasetUse) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "number": one.number, "kind": one.kind, "items": one.items}


def model_to_json(one: ModelUse) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "number": one.number, "kind": one.kind, "aliases": one.aliases}


def list_datasets(datasets: Sequence[DatasetUse]) -> str:
    return ", ".join(
        f"{one.name}/{one.number} ({one.items} from here)" if one.items else f"{one.name}/{one.number}"
        for one in datasets
    )


def list_models(models: Sequence[ModelUse]) -> str:
    return ", ".join(name_model(one) for one in models)


def name_model(one: ModelUse) -> str:
    """Such as `mine/3 (champion)`."""
    return f"{one.name}/{one.number}" + (f" ({', '.join(one.aliases)})" if one.aliases else "")
