"""Figures over the log: how much was said, what was thought of it by model version, how long and how fast replies were.

The database adds up what it can; lengths and speeds are read row by row, since medians need them all. Over a million
messages the whole takes seconds, so whoever asks shows that it is at work.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import func, select

from chatbot.store.filters import LogFilter, limit_messages
from chatbot.store.judgement_tables import ReplyStateRow
from chatbot.store.learning_tables import ModelVersionRow
from chatbot.store.reply_states import read_number
from chatbot.store.search import choose_messages
from chatbot.store.sessions import Database
from chatbot.store.tables import ConversationRow, MessageRow

LENGTHS = (0, 50, 100, 200, 400, 800, 1600, 3200)
"""The lower ends of the classes of length, in characters."""


@dataclass(slots=True)
class ModelFigures:
    """What one model version wrote. Medians are None where nothing was measured."""

    name: str
    number: int
    replies: int = 0
    up: int = 0
    down: int = 0
    approved: int = 0
    rejected: int = 0
    median_characters: float | None = None
    median_tokens: float | None = None
    median_speed: float | None = None
    """Tokens a second."""
    median_first_token: float | None = None
    """Seconds."""
    mean_logprob: float | None = None


@dataclass(slots=True)
class Statistics:
    """All figures of a filter."""

    conversations: int = 0
    prompts: int = 0
    replies: int = 0
    up: int = 0
    down: int = 0
    approved: int = 0
    rejected: int = 0
    waiting: int = 0
    silent: int = 0
    """Replies that say nothing: they neither wait for a decision nor train."""
    statuses: dict[str, int] = field(default_factory=dict)
    models: list[ModelFigures] = field(default_factory=list)
    """By name and number; replies of no model (imported, corrected) stand under an empty name."""
    lengths: list[tuple[int, int]] = field(default_factory=list)
    """(lower end in characters, replies) for each of LENGTHS."""
    days: list[tuple[date, int, float | None]] = field(default_factory=list)
    """(day in UTC, messages, median tokens a second), the days on which something was said."""


class _Samples:
    def __init__(self) -> None:
        self.characters: list[int] = []
        self.tokens: list[float] = []
        self.speeds: list[float] = []
        self.first: list[float] = []
        self.logprobs: list[float] = []


class Figures:
    """Reads statistics."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self, asked: LogFilter | None = None) -> Statistics:
        """All figures of what the filter means."""
        asked = asked or LogFilter()
        message, state = MessageRow, ReplyStateRow
        query = (
            select(
                message.conversation_id,
                message.role,
                message.status,
                message.model_version_id,
                message.created_at,
                message.generation,
                func.length(message.content).label("size"),
                state.rating,
                state.decision,
                state.waiting,
            )
            .join_from(message, ConversationRow, ConversationRow.id == message.conversation_id)
            .outerjoin(state, state.message_id == message.id)
        )
        total = Statistics()
        conversations: set[str] = set()
        figures: dict[str | None, ModelFigures] = {}
        samples: dict[str | None, _Samples] = defaultdict(_Samples)
        sizes: list[int] = []
        days: Counter[date] = Counter()
        speeds: dict[date, list[float]] = defaultdict(list)
        statuses: Counter[str] = Counter()
        with self._database.read() as connection:
            names = {row.id: row for row in connection.execute(select(ModelVersionRow.__table__))}
            query = limit_messages(query, asked)
            if asked.text:
                found = choose_messages(connection, asked.text, asked).order_by(None).subquery()
                query = query.where(message.id.in_(select(found.c.id)))
            for row in connection.execution_options(yield_per=2000).execute(query):
                conversations.add(row.conversation_id)
                day = row.created_at.date()
                days[day] += 1
                if row.role != "assistant":
                    total.prompts += 1
                    continue
                total.replies += 1
                statuses[row.status] += 1
                sizes.append(row.size)
                total.waiting += bool(row.waiting)
                total.silent += not (row.waiting or row.decision or row.status == "streaming")
                version = row.model_version_id
                if version not in figures:
                    known = names.get(version)
                    figures[version] = ModelFigures(known.name if known else "", known.number if known else 0)
                _count(figures[version], row)
                _sample(samples[version], row)
                if (speed := read_number(row.generation, "tokens_per_second")) is not None:
                    speeds[day].append(speed)
        for version, one in figures.items():
            _take_medians(one, samples[version])
        total.conversations = len(conversations)
        total.statuses = dict(statuses.most_common())
        total.models = sorted(figures.values(), key=lambda one: (one.name, one.number))
        for name in ("up", "down", "approved", "rejected"):
            setattr(total, name, sum(getattr(one, name) for one in total.models))
        total.lengths = _sort_lengths(sizes)
        total.days = [(day, days[day], _median(speeds[day])) for day in sorted(days)]
        return total


def _count(one: ModelFigures, row: Any) -> None:
    one.replies += 1
    one.up += row.rating == 1
    one.down += row.rating == -1
    one.approved += row.decision == "approve"
    one.rejected += row.decision == "reject"


def _sample(samples: _Samples, row: Any) -> None:
    samples.characters.append(row.size)
    names = {
        "completion_tokens": samples.tokens,
        "tokens_per_second": samples.speeds,
        "time_to_first_token": samples.first,
        "mean_logprob": samples.logprobs,
    }
    for name, values in names.items():
        if (value := read_number(row.generation, name)) is not None:
            values.append(value)


def _take_medians(one: ModelFigures, samples: _Samples) -> None:
    one.median_characters = _median(samples.characters)
    one.median_tokens = _median(samples.tokens)
    one.median_speed = _median(samples.speeds)
    one.median_first_token = _median(samples.first)
    one.mean_logprob = statistics.fmean(samples.logprobs) if samples.logprobs else None


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _sort_lengths(sizes: Sequence[int]) -> list[tuple[int, int]]:
    ends = (*LENGTHS[1:], float("inf"))
    return [(low, sum(low <= size < high for size in sizes)) for low, high in zip(LENGTHS, ends, strict=True)]
