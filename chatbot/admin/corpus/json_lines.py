"""Documents out of lines of JSON, the form in which corpora are mostly shared: one object with a text on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

from chatbot.admin.corpus.drafts import Draft, Intake
from chatbot.admin.corpus.languages import shorten_code
from chatbot.admin.corpus.licences import shorten
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.errors import InvalidInput
from chatbot.text import printable_line, storable

LONGEST = 16 << 20
"""Bytes of a line, which is read whole."""
_CHATS = ("messages", "conversations", "conversation", "turns")
_NAME = 200
_CHAT = "A corpus is made of plain text; or name the field that it stands in with --field."


def read_lines(file: IO[bytes], name: str, request: CorpusRequest, intake: Intake) -> Iterator[Draft]:
    """One document a line, with the line's own source, licence and language if it has them. Lines that cannot be read
    are passed over and told. Raises InvalidInput if they are chats, or no line has a text."""
    found = 0
    number = 0
    for number, line in enumerate(_each_line(file), 1):
        row: Any = None
        if line is None:
            intake.pass_over_line(name, number, f"a line is longer than {LONGEST >> 20} MB")
            continue
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError):  # UnicodeDecodeError is one
            intake.pass_over_line(name, number, "a line is no JSON")
            continue
        text = row.get(request.field) if isinstance(row, dict) else row if isinstance(row, str) else None
        if not isinstance(text, str):
            if isinstance(row, dict) and _is_chat(row):
                raise InvalidInput(
                    "holds chats, which `chatbot admin dataset build NAME --file PATH` reads", hint=_CHAT
                )
            intake.pass_over_line(name, number, "a line has no text")
            continue
        found += 1
        yield _make(row if isinstance(row, dict) else {}, storable(text), name, number)
    if not found:
        raise InvalidInput(
            f"has no line with a text in {request.field!r}" if number else "is empty",
            hint="Name the field that it stands in with --field.",
        )


def _make(row: dict[str, Any], text: str, name: str, number: int) -> Draft:
    own = _take(row, "source") or _take(row, "url")
    return Draft.of_text(
        own or f"{name}:{number}",
        text,
        licence=shorten(_take(row, "licence") or _take(row, "license")),
        language=shorten_code(_take(row, "language")),
        origin=own or name,
    )


def _is_chat(row: dict[str, Any]) -> bool:
    # OpenAssistant's trees begin with a prompt that has replies.
    return isinstance(row.get("prompt"), dict) or any(isinstance(row.get(key), list) for key in _CHATS)


def _take(row: dict[str, Any], field: str) -> str:
    value = row.get(field)
    return printable_line(value, _NAME) if isinstance(value, str) else ""


def _each_line(file: IO[bytes]) -> Iterator[bytes | None]:
    """The lines; None for one that is too long."""
    while line := file.readline(LONGEST + 1):
        if len(line) <= LONGEST:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST)
        yield None
