"""Evaluations as rows: the figures of a model version beside those of the baseline scored in the same run.

What belongs to one evaluation shares `settings_sha`, which begins with the evaluation's own id. Its verdict is the row
of suite `gate` (1 better, 0 undecided, −1 worse), with the reasons as that row's items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, insert, or_, select

from chatbot.store.identifiers import IdentifierSource
from chatbot.store.judgement_tables import FeedbackRow, ReplyStateRow
from chatbot.store.learning_tables import EvaluationItemRow, EvaluationRow
from chatbot.store.sessions import Database
from chatbot.store.tables import MessageRow

GATE = "gate"
_STEP = 200  # texts that one query names


@dataclass(frozen=True, slots=True)
class Score:
    """A figure of both models."""

    suite: str
    suite_version: str
    metric: str
    candidate: float
    baseline: float
    stderr: float | None
    n: int
    items: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    """(prompt, output, verdict) of the candidate, one each."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What the newest evaluation of two model versions decided."""

    evaluation: str
    value: float
    reasons: tuple[str, ...]
    created: datetime


@dataclass(frozen=True, slots=True)
class PeopleSay:
    """What people said of two model versions in chats and duels."""

    up: tuple[int, int]
    """Of the candidate's and of the baseline's replies."""
    down: tuple[int, int]
    wins: tuple[int, int]
    """How often a reply of one was preferred to a reply of the other."""


class Evaluations:
    """Adds and finds evaluations."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers

    def new_id(self) -> str:
        return self._identifiers.next()

    def add(self, evaluation: str, candidate_id: str, baseline_id: str, scores: Sequence[Score]) -> None:
        """All figures of one evaluation, in one transaction."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            for score in scores:
                common = {
                    "suite": score.suite,
                    "suite_version": score.suite_version,
                    "settings_sha": evaluation,
                    "metric": score.metric,
                    "stderr": score.stderr,
                    "n": score.n,
                    "created_at": now,
                }
                baseline = self._identifiers.next()
                connection.execute(
                    insert(EvaluationRow).values(
                        id=baseline, model_version_id=baseline_id, baseline_id=None, value=score.baseline, **common
                    )
                )
                own = self._identifiers.next()
                connection.execute(
                    insert(EvaluationRow).values(
                        id=own, model_version_id=candidate_id, baseline_id=baseline, value=score.candidate, **common
                    )
                )
                rows = [
                    {"evaluation_id": own, "position": place, "prompt": prompt, "output": output, "verdict": verdict}
                    for place, (prompt, output, verdict) in enumerate(score.items)
                ]
                if rows:
                    connection.execute(insert(EvaluationItemRow), rows)

    def decision(self, candidate_id: str, baseline_id: str) -> GateDecision | None:
        """What the gate said of a candidate against this baseline, newest first; None if they were not compared."""
        own, baseline, item = EvaluationRow, EvaluationRow.__table__.alias("baseline"), EvaluationItemRow
        query = (
            select(own.id, own.settings_sha, own.value, own.created_at)
            .join(baseline, baseline.c.id == own.baseline_id)
            .where(own.suite == GATE, own.model_version_id == candidate_id, baseline.c.model_version_id == baseline_id)
            .order_by(own.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            reasons = connection.scalars(
                select(item.output).where(item.evaluation_id == row.id).order_by(item.position)
            ).all()
        return GateDecision(row.settings_sha, row.value, tuple(reasons), row.created_at)

    def ask_people(self, candidate_id: str, baseline_id: str) -> PeopleSay:
        """Ratings and preferences so far. Of each two replies the newest word counts, once."""
        message, state, feedback = MessageRow, ReplyStateRow, FeedbackRow
        other = MessageRow.__table__.alias("other")
        versions = (candidate_id, baseline_id)
        compared = (
            select(feedback.message_id, feedback.preferred_over_id, message.model_version_id)
            .join(message, message.id == feedback.message_id)
            .join(other, other.c.id == feedback.preferred_over_id)
            .where(message.model_version_id.in_(versions), other.c.model_version_id.in_(versions))
            .where(message.model_version_id != other.c.model_version_id)
            .order_by(feedback.created_at, feedback.id)
        )
        with self._database.read() as connection:

            def rated(version: str, rating: int) -> int:
                query = select(func.count()).select_from(state).join(message, message.id == state.message_id)
                query = query.where(message.model_version_id == version, state.rating == rating)
                return connection.scalar(query) or 0

            won = Counter({frozenset(row[:2]): row[2] for row in connection.execute(compared)}.values())
            return PeopleSay(
                up=(rated(candidate_id, 1), rated(baseline_id, 1)),
                down=(rated(candidate_id, -1), rated(baseline_id, -1)),
                wins=(won[candidate_id], won[baseline_id]),
            )

    def forget_texts(self, texts: Sequence[str]) -> int:
        """Deletes what is kept of prompts and replies that are to be forgotten, whichever model gave them; returns how
        many. The reasons of a gate's verdict are our own words and stay."""
        item, count = EvaluationItemRow, 0
        answers = item.evaluation_id.not_in(select(EvaluationRow.id).where(EvaluationRow.suite == GATE))
        with self._database.write() as connection:
            for start in range(0, len(texts), _STEP):
                step = texts[start : start + _STEP]
                other = item.verdict["champion"].as_string()
                told = or_(item.prompt.in_(step), item.output.in_(step), other.in_(step))
                count += connection.execute(delete(item).where(answers, told)).rowcount
        return count
