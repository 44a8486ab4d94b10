"""Suites as figures: in how many items the right answer is the likeliest, for a token.

Which of several answers is likeliest needs no generation, no judge and no words that a model may say in two ways. A
model whose losses are no numbers, or that cannot tell two answers apart, has not found the right one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from chatbot.admin.datasets.items import Turn
from chatbot.admin.evaluation.bench import Bench, Loss
from chatbot.admin.evaluation.measuring import CANDIDATE, CHAMPION, pair_scores
from chatbot.admin.evaluation.questions import render_answer
from chatbot.admin.evaluation.records import Measure
from chatbot.admin.evaluation.suites import Suite
from chatbot.admin.rendering import TrainingRow
from chatbot.errors import InvalidInput

Chosen = tuple[str, str, bool]
"""A prompt, what the candidate would say, and whether that is right."""


def compare_choices(
    bench: Bench, suite: Suite, on_progress: Callable[[int], None] = lambda _: None
) -> tuple[Measure, list[Chosen]]:
    """The share of items answered rightly, and what was chosen. Items longer than the model's window are left out, so
    that `n` is smaller. Raises InvalidInput if that leaves none."""
    rows: list[TrainingRow] = []
    fitting: list[tuple[str, tuple[str, ...]]] = []
    for item in suite.items:
        answers = (item.right, *item.wrong)
        own = [render_answer(bench.template, [Turn(role="user", content=item.prompt)], answer) for answer in answers]
        if max(len(row.tokens) for row in own) <= bench.window:
            rows += own
            fitting.append((item.prompt, answers))
    if not fitting:
        raise InvalidInput(f"No item of the suite {suite.name} fits into the model's window of {bench.window} tokens.")
    right: dict[str, list[float]] = {}
    chosen: list[Chosen] = []
    for side in (CHAMPION, CANDIDATE):
        losses = iter(bench.losses(side, rows, on_progress))
        best = [choose([next(losses) for _ in answers]) for _, answers in fitting]
        right[side] = [float(place == 0) for place in best]
        chosen = [
            (prompt, "" if place is None else answers[place], place == 0)
            for (prompt, answers), place in zip(fitting, best, strict=True)
        ]
    return pair_scores(suite.name, "accuracy", right[CANDIDATE], right[CHAMPION], "higher"), chosen


def choose(losses: Sequence[Loss]) -> int | None:
    """The place of the likeliest answer; None if one is no number or two are likeliest."""
    means = [loss.mean for loss in losses]
    if not all(map(math.isfinite, means)):
        return None
    best = min(means)
    return means.index(best) if means.count(best) == 1 else None
