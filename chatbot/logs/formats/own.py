"""Our own JSON, which loses nothing: {"format": "chatbot", "version": 1, "conversations": [ … ]}.

Each conversation stands on its own line with the names of `ArchivedConversation`; what has its usual value is left out
of messages and judgements. Times are ISO 8601 in UTC with microseconds. The reader trusts nothing: types, roles,
statuses and decisions are checked, and parents, tips and preferences must be messages of the same conversation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats.fields import check_time
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.linking import Node, link_nodes
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 1
_LOOKS = {"key", "messages", "archived"}


def write_json(conversations: Iterable[ArchivedConversation]) -> Iterator[str]:
    """The text of the file, a conversation at a time."""
    yield f'{{"format": "chatbot", "version": {VERSION}, "conversations": ['
    separator = "\n"
    for conversation in conversations:
        yield separator + write_line(_encode(conversation, whole=True))
        separator = ",\n"
    yield "\n]}\n"


def write_line(value: Any) -> str:
    """`value` as JSON on one line, which every reader takes: no NaN, no halves of surrogate pairs."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace").decode()


def is_archive(value: Any) -> bool:
    """Whether the outermost value of a file says that we wrote it."""
    return isinstance(value, dict) and value.get("format") == "chatbot" and "version" in value


def check_version(version: object) -> None:
    """Raises InvalidInput if a version of this program wrote the file that this one does not know."""
    if version != VERSION or isinstance(version, bool):
        raise InvalidInput(
            f"is an export of version {version!r:.20}, and this program reads version {VERSION}; update the program"
        )


def _matches(record: Any) -> bool:
    return isinstance(record, dict) and record.keys() >= _LOOKS and isinstance(record["messages"], list)


def _convert(record: Any, key: str) -> ArchivedConversation:
    from pydantic import ValidationError

    try:
        conversation = _adapter().validate_python({**record, "key": key})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"][:6])
        raise InvalidInput(f"{place}: {first['msg'][:200]}") from None
    return _check(conversation)


@cache
def _adapter() -> TypeAdapter[ArchivedConversation]:
    from pydantic import TypeAdapter

    return TypeAdapter(ArchivedConversation)


def _check(conversation: ArchivedConversation) -> ArchivedConversation:
    """The conversation in order, with its times in UTC. Raises InvalidInput at what no export of ours holds."""
    if not conversation.messages:
        raise InvalidInput("no messages")
    tree = link_nodes(Node(message.key, message.parent, message) for message in conversation.messages)
    keys = {message.key for message in conversation.messages}
    for message in conversation.messages:
        if message.role not in {"user", "assistant"}:
            raise InvalidInput(f"a message has the role '{message.role}'")
        if message.parent is not None and message.parent not in keys:
            raise InvalidInput("a message answers one that is not there")
        for judgement in message.feedback:
            if judgement.rating not in {None, -1, 0, 1}:
                raise InvalidInput("a rating is not -1, 0 or 1")
            if judgement.preferred_over is not None and judgement.preferred_over not in keys - {message.key}:
                raise InvalidInput("a message is preferred over one that is not there")
    if conversation.tip is not None and conversation.tip not in keys:
        raise InvalidInput("the message on screen is not there")
    messages = tuple(
        replace(
            message,
            created=_to_utc(message.created),
            feedback=tuple(replace(judgement, created=_to_utc(judgement.created)) for judgement in message.feedback),
            reviews=tuple(replace(review, created=_to_utc(review.created)) for review in message.reviews),
        )
        for message in tree.messages
    )
    created, updated = _to_utc(conversation.created), _to_utc(conversation.updated)
    return replace(conversation, messages=messages, created=created, updated=updated)


def _to_utc(time: datetime | None) -> datetime | None:
    return None if time is None else check_time(time)


def _encode(value: Any, *, whole: bool = False) -> Any:
    """`value` as JSON can hold it; `whole`: also the fields that have their usual value."""
    if isinstance(value, ArchivedConversation | ArchivedMessage | ArchivedFeedback | ArchivedReview):
        # The messages come last: what is before them says at the beginning of a long file whose form it is.
        names = sorted(fields(value), key=lambda field: field.name == "messages")
        members = ((field, getattr(value, field.name)) for field in names)
        return {field.name: _encode(part) for field, part in members if whole or part != _usual(field)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, tuple):
        return [_encode(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value


def _usual(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    return [_without_nan(part) for part in value] if isinstance(value, list | tuple) else value


def _find_key(record: Any, name: str) -> object:  # noqa: ARG001
    return record["key"]


class _OwnFormat(Format):
    """Keys are taken as they are: what was imported once from elsewhere keeps the key that it has from there."""

    def key(self, record: Any, name: str) -> str:
        key = self.find_id(record, name)
        return key if isinstance(key, str) and key else super().key(record, name)


FORMAT = _OwnFormat("chatbot", "our own JSON", _matches, _convert, _find_key)
