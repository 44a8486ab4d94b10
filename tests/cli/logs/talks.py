"""A small log to ask about, and the way to ask: the command line in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from typer.testing import CliRunner

from chatbot.cli.main import app
from chatbot.errors import ChatbotError
from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage
from chatbot.store.database import Store

EGGS = "019a0000-0000-7000-8000-000000000000"
EGG, SEVEN, PAN, HARD, TEN = (f"019a0000-0000-700{number}-8000-000000000000" for number in range(1, 6))
WEATHER = "019b0000-0000-7000-8000-000000000000"
RAIN = "019b0000-0000-7002-8000-000000000000"
HOSTILE = "019c0000-0000-7000-8000-000000000000"
UNANSWERED = "019d0000-0000-7000-8000-000000000000"
PRIVATE = "019e0000-0000-7000-8000-000000000000"

SPRING = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str, stdin: str | bytes | None = None, columns: int = 100, **environment: str) -> Done:
    """`chatbot logs` with these arguments; an error of ours is told as `chatbot.cli.main.run` tells it."""
    environment = {"COLUMNS": str(columns), **environment}
    result = CliRunner().invoke(app, ["logs", *arguments], input=stdin, env=environment)
    if isinstance(result.exception, ChatbotError):
        return Done(result.exception.exit_code, result.stdout, result.stderr + str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def fill(store: Store) -> None:
    """Puts five conversations into the store."""
    eggs = [
        _say(EGG, None, "user", "How do I boil an egg?", 0),
        _say(SEVEN, EGG, "assistant", "Boil it for seven minutes.", 1, model="tiny", tokens_per_second=20.0),
        _say(PAN, EGG, "assistant", "Put it in a pan.", 2, model="tiny", tokens_per_second=30.0),
        _say(HARD, SEVEN, "user", "And hard?", 3),
        _say(TEN, HARD, "assistant", "Ten minutes.", 24 * 60, model="tiny", seed=7, tokens_per_second=40.0),
    ]
    wrong = ArchivedFeedback(rating=-1, tags=("wrong",), comment="It was \x1b[31msunny.", author="ada", created=SPRING)
    weather = [
        _say("1", None, "user", "北京今天天气怎么样？", 60),
        _say(RAIN, "1", "assistant", "北京今天下雨，请带伞。", 61, feedback=(wrong,)),
    ]
    hostile = [
        _say("1", None, "user", "\x1b[31mred\x1b[0m and \u202ereversed", 120),
        _say("2", "1", "assistant", "\x9b2Jclear \x1b]52;c;ZXZpbA==\x07", 121, finish_reason="length"),
    ]
    private = [
        _say("1", None, "user", "I am Ada Lovelace, write to ada@example.com", 240),
        _say("2", "1", "assistant", "I wrote to ada@example.com.", 241),
    ]
    talks = [
        (EGGS, "Boiling eggs", eggs, "cook"),
        (WEATHER, "北京的天气", weather, "default"),
        (HOSTILE, "\x1b]0;owned\x07 title", hostile, "default"),
        (UNANSWERED, "Anyone there?", [_say("1", None, "user", "Anyone there?", 180)], "default"),
        (PRIVATE, "Write to ada@example.com", private, "default"),
    ]
    store.archive.add(
        [
            ArchivedConversation(key=identifier, id=identifier, title=title, messages=tuple(said), persona=persona)
            for identifier, title, said, persona in talks
        ],
        source="test",
    )


def _say(key: str, parent: str | None, role: Any, content: str, minutes: int, **more: Any) -> ArchivedMessage:
    generation: dict[str, Any] = {name: more.pop(name) for name in ("seed", "tokens_per_second") if name in more}
    return ArchivedMessage(
        key=key,
        parent=parent,
        role=role,
        content=content,
        created=SPRING + timedelta(minutes=minutes),
        id=key if len(key) > 1 else "",
        generation=generation,
        **more,
    )


def ids(done: Done) -> Sequence[str]:
    return [one["id"] for one in done.json]
