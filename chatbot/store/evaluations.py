"""Evaluations as rows: the figures of a model version beside those of the baseline scored in the same run.

What belongs to one evaluation shares `settings_sha`, which begins with the evaluation's own id. Its verdict is the row
of suite `gate` (1 better, 0 undecided, −1 worse), with the reasons as that row's items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, or_, select

from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import EvaluationItemRow, EvaluationRow
from chatbot.store.sessions import Database

GATE = "gate"


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

    def forget_texts(self, texts: Sequence[str]) -> int:
        """Deletes kept answers to prompts that are to be forgotten; returns how many."""
        item, count = EvaluationItemRow, 0
        with self._database.write() as connection:
            for text in texts:
                gone = connection.execute(delete(item).where(or_(item.prompt == text, item.output == text)))
                count += gone.rowcount
        return count
