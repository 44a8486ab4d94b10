"""How the figures of an evaluation are written, the same in the terminal, in Markdown and on the HTML page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from chatbot.admin.evaluation.records import Measure, Report, Verdict

Sign = Literal["better", "worse", "unclear", ""]
"""What the interval of a difference says; empty if neither direction is the better one."""

MARKS: dict[Sign, str] = {"better": "▲", "worse": "▼", "unclear": "·", "": ""}
NONE = "–"
WEIGHTS: dict[Verdict, str] = {"better": "for it", "worse": "against it", "undecided": "open"}
"""What a reason says of the candidate: a suite that did not fall speaks for it without being better."""
_SHARES = {"accuracy", "preferred", "exact", "ended", "empty", "repetitive"}
_COUNTS = {"people"}
_VERDICTS: dict[Verdict, str] = {
    "better": "The candidate is better.",
    "worse": "The candidate is worse.",
    "undecided": "Undecided.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A measure as text."""

    metric: str
    champion: str
    candidate: str
    difference: str
    interval: str
    n: str
    sign: Sign

    @property
    def mark(self) -> str:
        return MARKS[self.sign]


def list_rows(report: Report) -> Iterator[tuple[str, list[Row]]]:
    """The measures of each suite, in the order of the report."""
    for suite, measures in groupby(report.measures, key=lambda one: one.suite):
        yield suite, [write_row(measure) for measure in measures]


def write_row(measure: Measure) -> Row:
    """Shares are in percent and their differences in points; what is not a finite number is a dash."""
    digits, scale, unit = _find_format(measure)

    def write(value: float | None, *, signed: bool = False) -> str:
        if value is None or not math.isfinite(value):
            return NONE
        text = f"{value * scale:{'+' if signed else ''},.{digits}f}"
        return text.replace("-", "−")  # a minus that is as wide as a plus

    low, high = write(measure.low, signed=True), write(measure.high, signed=True)
    return Row(
        metric=f"{measure.metric}, {unit}" if unit else measure.metric,
        champion=write(measure.champion),
        candidate=write(measure.candidate),
        difference=write(measure.difference, signed=True),
        interval=NONE if NONE in {low, high} else f"{low} to {high}",
        n=f"{measure.n:,}",
        sign=read_sign(measure),
    )


def read_sign(measure: Measure) -> Sign:
    """Better or worse if the whole interval lies on one side of 0."""
    if not measure.better or measure.low is None or measure.high is None:
        return ""
    upwards = measure.better == "higher"
    if measure.low > 0:
        return "better" if upwards else "worse"
    if measure.high < 0:
        return "worse" if upwards else "better"
    return "unclear"


def write_verdict(report: Report) -> str:
    """The verdict in a sentence or two."""
    text = _VERDICTS[report.verdict]
    if report.verdict == "undecided" and report.needed is not None:
        text += f" With a difference as large as this one, about {report.needed:,} held-out replies would decide."
    return text


def list_facts(report: Report) -> dict[str, str]:
    """What was compared, when and how."""
    facts = {
        "Candidate": report.candidate,
        "Champion": report.champion,
        "Base model": report.base,
        "Dataset": report.dataset,
        "Evaluation": report.id,
        "Made": f"{report.created:%Y-%m-%d %H:%M} {report.created.tzname() or ''}".rstrip(),
        "Took": f"{report.seconds:,.0f} s",
    }
    facts |= {str(name).replace("_", " ").capitalize(): str(value) for name, value in (report.settings or {}).items()}
    return facts


def thin(points: tuple[tuple[int, float], ...], most: int) -> list[tuple[int, float]]:
    """At most `most` of the points whose value is finite, evenly chosen, the first and the last among them."""
    sound = sorted((step, value) for step, value in points if math.isfinite(value))
    if len(sound) <= most:
        return sound
    return [sound[round(place * (len(sound) - 1) / (most - 1))] for place in range(most)]


def _find_format(measure: Measure) -> tuple[int, float, str]:
    """Digits, factor and unit."""
    if measure.suite in _COUNTS:
        return 0, 1, measure.unit
    if measure.metric in _SHARES and not measure.unit:
        return 1, 100, "%"
    largest = max((abs(value) for value in (measure.candidate, measure.champion) if math.isfinite(value)), default=0)
    return (1 if largest >= 10 else 3), 1, measure.unit
