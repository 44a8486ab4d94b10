"""What an evaluation found: figures of two models side by side, replies side by side, and the verdict.

Both models are measured in the same run of the command, on the same rows and with the same settings; figures of two
machines or two days are not compared. Plain records, so that the report can be written as a page, Markdown or HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from chatbot.admin.evaluation.statistics import Interval

Verdict = Literal["better", "worse", "undecided"]
Direction = Literal["lower", "higher", ""]
"""Which way is better; empty for what is only told."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of both models; `low` and `high` bound the paired difference candidate − champion with 95 %."""

    suite: str
    """held-out, general, safety, replies, speed, people, or the name of a task."""
    metric: str
    candidate: float
    champion: float
    n: int
    better: Direction = ""
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    """Standard error of the difference."""
    unit: str = ""
    left_out: int = 0
    """Items that could not be asked."""

    @property
    def difference(self) -> float:
        return self.candidate - self.champion


@dataclass(frozen=True, slots=True)
class Fit:
    """In what share of comparisons an answer is likelier after its own prompt than after another one; `n` answers were
    compared. Of shuffled answers it is CHANCE."""

    CHANCE: ClassVar[float] = 0.5

    interval: Interval
    n: int
    alike: bool = False
    """Whether the prompts are so alike, and the answers so much at home among them, that it may not matter."""


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What is asked for beside a sure gain, where the validation split was measured on that chose the weights."""

    choices: int
    """Among how many sets of weights it chose; 0 if that is not known."""
    low: float
    """The gain that is left, were each of them to be right at once."""
    tested: int
    """Groups of the test split, which chose nothing."""
    gain: float
    """The candidate's mean gain on those alone."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One prompt with what both say to it."""

    prompt: str
    reference: str
    champion: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the verdict is as it is; `weight` is the verdict that it speaks for."""

    weight: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that one evaluation says."""

    id: str
    created: datetime
    candidate: str
    champion: str
    base: str
    dataset: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    needed: int | None
    """How many held-out replies it would take to decide, if it is undecided and can be said."""
    measures: tuple[Measure, ...]
    comparisons: tuple[Comparison, ...]
    curve: tuple[tuple[int, float], ...] = ()
    """(step, training loss) of the candidate's run."""
    held_out_curve: tuple[tuple[int, float], ...] = ()
    settings: dict[str, Any] | None = None
    seconds: float = 0.0
