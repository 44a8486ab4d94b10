"""Suites as figures: in how many items the right answer is the likeliest, for a token.

Which of several answers is likeliest needs no generation, no judge and no words that a model may say in two ways. A
model whose losses are no numbers, or that cannot tell two answers apart, has not found the right one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

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
    """The share of items answered rightly, and what was chosen. Items longer than the model's window are left out and
    counted. Raises InvalidInput if that leaves none."""
    return compare_chosen(suite, {side: (bench, side) for side in (CHAMPION, CANDIDATE)}, on_progress)


def compare_chosen(
    suite: Suite, benches: Mapping[str, tuple[Bench, str]], on_progress: Callable[[int], None] = lambda _: None
) -> tuple[Measure, list[Chosen]]:
    """The same of models that may stand on different bases: for each side a bench, and its name there. An item counts
    if it fits into the windows of both."""
    rows: dict[str, list[list[TrainingRow]]] = {side: [] for side in benches}
    fitting: list[tuple[str, tuple[str, ...]]] = []
    for item in suite.items:
        answers = (item.right, *item.wrong)
        own = {
            side: [render_answer(bench.template, [_ask(bench, item.prompt)], answer) for answer in answers]
            for side, (bench, _) in benches.items()
        }
        if all(len(row.tokens) <= benches[side][0].window for side in own for row in own[side]):
            fitting.append((item.prompt, answers))
            for side, made in own.items():
                rows[side].append(made)
    if not fitting:
        least = min(bench.window for bench, _ in benches.values())
        raise InvalidInput(f"No item of the suite {suite.name} fits into the model's window of {least} tokens.")
    right: dict[str, list[float]] = {}
    chosen: list[Chosen] = []
    for side, (bench, name) in benches.items():
        losses = iter(bench.losses(name, [row for made in rows[side] for row in made], on_progress))
        best = [choose([next(losses) for _ in answers]) for _, answers in fitting]
        right[side] = [float(place == 0) for place in best]
        chosen = [
            (prompt, "" if place is None else answers[place], place == 0)
            for (prompt, answers), place in zip(fitting, best, strict=True)
        ]
    measure = pair_scores(suite.name, "accuracy", right[CANDIDATE], right[CHAMPION], "higher")
    return replace(measure, left_out=len(suite.items) - len(fitting)), chosen


def _ask(bench: Bench, prompt: str) -> Turn:
    """Where a model goes on with text, the answer begins a line."""
    return Turn(role="user", content=f"{prompt}\n" if bench.template.completes else prompt)


def choose(losses: Sequence[Loss]) -> int | None:
    """The place of the likeliest answer; None if one is no number or two are likeliest."""
    means = [loss.mean for loss in losses]
    if not all(map(math.isfinite, means)):
        return None
    best = min(means)
    return means.index(best) if means.count(best) == 1 else None
