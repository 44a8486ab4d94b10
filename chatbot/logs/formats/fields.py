"""Fields of foreign records: whatever is there, it comes out as the type that was asked for, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from chatbot.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOO_LATE = datetime(2101, 1, 1, tzinfo=UTC)
_MILLISECONDS = 100_000_000_000  # seconds until the year 5138: larger numbers count milliseconds
_PARTS = {"image": "[image]", "image_url": "[image]", "input_image": "[image]", "image_asset_pointer": "[image]"}
_PARTS |= {"input_audio": "[audio]", "audio": "[audio]", "audio_asset_pointer": "[audio]"}
_PARTS |= {"video": "[video]", "video_url": "[video]", "file": "[file]", "input_file": "[file]", "document": "[file]"}
_SILENT = {"tool_use", "tool_result", "thinking", "redacted_thinking", "reasoning", "function_call"}


def read_text(value: object) -> str:
    """`value` if it is text, else nothing."""
    return value if isinstance(value, str) else ""


def read_mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def read_list(value: object) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def read_time(value: object) -> datetime | None:
    """Seconds or milliseconds since 1970, or ISO 8601 (UTC if it names no zone), as UTC; None if it is neither, or
    `check_time` finds it to be none."""
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return check_time(_EPOCH + timedelta(seconds=value / 1000 if abs(value) > _MILLISECONDS else value))
        if isinstance(value, str) and value:
            return check_time(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        pass
    return None


def check_time(moment: datetime) -> datetime | None:
    """`moment` as UTC (it is, if it names no zone); None outside of the years 1970 to 2100. Programs write the year 1
    or 9999 for a time that they do not know, and no clock of another zone can show those."""
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
    return moment if _EPOCH <= moment < _TOO_LATE else None


def read_content(value: object) -> str | None:
    """The text of a message: text itself, or a list of parts, of which those that are no text are named: "[image]".

    Parts that are not for the reader (tool calls, thoughts) are left out; None if nothing is left, as in a message that
    only calls a tool. Raises InvalidInput if `value` is no content at all.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise InvalidInput("the content of a message is neither text nor a list of parts")
    texts = [text for part in value if (text := _read_part(part)) is not None]
    return "\n\n".join(texts) if texts else None


def _read_part(part: object) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return None
    kind = read_text(part.get("type")) or read_text(part.get("content_type"))
    if kind in _SILENT:
        return None
    for name in ("text", "refusal"):
        if isinstance(part.get(name), str):
            return str(part[name])
    return _PARTS.get(kind, "[attachment]") if kind else None
