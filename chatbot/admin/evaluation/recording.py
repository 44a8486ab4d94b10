"""A report as rows of the store. A figure that is no number stays out: its columns hold numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from chatbot.admin.evaluation.choices import Chosen
from chatbot.admin.evaluation.records import Measure, Report
from chatbot.store.database import Store
from chatbot.store.evaluations import GATE, Score

_VERDICTS = {"better": 1.0, "undecided": 0.0, "worse": -1.0}


def record(
    store: Store, report: Report, candidate_id: str, champion_id: str, chosen: Mapping[str, Sequence[Chosen]]
) -> None:
    """Figures, replies and the verdict, in one transaction."""
    scores = [
        Score(
            suite=measure.suite,
            suite_version=str((report.settings or {}).get(measure.suite, report.dataset)),
            metric=measure.metric,
            candidate=measure.candidate,
            baseline=measure.champion,
            stderr=measure.stderr if measure.stderr is not None and math.isfinite(measure.stderr) else None,
            n=measure.n,
            items=_list_items(measure, report, chosen),
        )
        for measure in report.measures
        if math.isfinite(measure.candidate) and math.isfinite(measure.champion)
    ]
    reasons: tuple[tuple[str, str, dict[str, Any]], ...] = tuple(
        (reason.weight, reason.text, {}) for reason in report.reasons
    )
    verdict = Score(GATE, "1", "verdict", _VERDICTS[report.verdict], 0.0, None, report.measures[0].n, reasons)
    store.evaluations.add(report.id, candidate_id, champion_id, [*scores, verdict])


def _list_items(
    measure: Measure, report: Report, chosen: Mapping[str, Sequence[Chosen]]
) -> tuple[tuple[str, str, dict[str, Any]], ...]:
    if (measure.suite, measure.metric) == ("replies", "chrF"):
        return tuple((one.prompt, one.candidate, {"champion": one.champion}) for one in report.comparisons)
    return tuple((prompt, answer, {"right": right}) for prompt, answer, right in chosen.get(measure.suite, ()))
