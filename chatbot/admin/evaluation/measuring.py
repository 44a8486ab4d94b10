"""What a model was trained for, as figures of both models with the interval of their paired difference.

Losses are compared on assistant tokens only, as they are trained. Of pairs it is compared how much likelier the better
reply is than the worse. Judged replies stand alone, and there may be many more good ones than bad: so the two kinds
are measured apart, each by itself, and what decides is what the good ones gained less what the bad ones did. One
figure over all of them could be had by a model to which every reply is less likely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem
from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.questions import render_answer
from chatbot.admin.evaluation.records import Direction, Measure
from chatbot.admin.evaluation.statistics import Interval, Series, contrast_interval
from chatbot.admin.rendering import TrainingRow, render_rows
from chatbot.models.template import ChatTemplate

CANDIDATE, CHAMPION = "candidate", "champion"
HELD_OUT = "held-out"
GOOD_REPLIES, BAD_REPLIES = "good replies", "bad replies"

OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better the candidate is at what it was trained for."""

    measures: tuple[Measure, ...]
    """The first is the one that decides."""
    series: tuple[Series, ...]
    """What its difference is made of; of two series, the first less the second. None if nothing can be said."""

    def estimate(self, *, confidence: float = 0.95, only: Collection[str] | None = None) -> Interval:
        """The gain, positive if the candidate is ahead, with another confidence or of some groups `only`."""
        if not self.series:
            return Interval(math.nan, -math.inf, math.inf, math.inf)
        series = [one if only is None else one.keep(only) for one in self.series]
        if self.measures[0].better == "lower":
            series = [Series([-value for value in one.values], one.weights, one.groups) for one in series]
        return contrast_interval(series[0], *series[1:], confidence=confidence)


def measure_gain(bench: Bench, items: Sequence[Item], on_progress: OnProgress) -> Gain:
    """By the kind of the items, which are all of one."""
    pairs = [item for item in items if isinstance(item, PreferenceItem)]
    if pairs:
        return compare_pairs(bench, bench.template, pairs, on_progress)
    labels = [item for item in items if isinstance(item, LabelItem)]
    if labels:
        return compare_labels(bench, bench.template, labels, on_progress)
    rows, groups = render_items(bench.template, items)
    return compare_losses(bench, rows, groups, HELD_OUT, on_progress)


def count_rows(template: ChatTemplate, items: Sequence[Item]) -> int:
    """How many losses `measure_gain` takes, of both models."""
    judged = sum(4 if isinstance(item, PreferenceItem) else 2 for item in items if not isinstance(item, SftItem))
    return judged + 2 * len(render_items(template, items)[0])


def render_items(template: ChatTemplate, items: Sequence[Item]) -> tuple[list[TrainingRow], list[str]]:
    """The rows of what is to be learnt by heart, and the group of each."""
    found = [
        (row, item.group) for item in items if isinstance(item, SftItem) for row in render_rows(template, item.turns)
    ]
    return [row for row, _ in found], [group for _, group in found]


def compare_losses(
    bench: Bench, rows: Sequence[TrainingRow], groups: Sequence[str], suite: str, on_progress: OnProgress
) -> Gain:
    """Mean loss a learnt token, in nats."""
    own = bench.losses(CANDIDATE, rows, on_progress)
    other = bench.losses(CHAMPION, rows, on_progress)
    tokens = [loss.tokens for loss in own]
    series = Series([a.nats - b.nats for a, b in zip(own, other, strict=True)], tokens, groups)
    total = max(sum(tokens), 1)
    figures = (sum(loss.nats for loss in own) / total, sum(loss.nats for loss in other) / total)
    interval = contrast_interval(series)
    measure = make_measure(suite, "loss", *figures, len(rows), interval, "lower", unit="nats a token")
    return Gain((measure,), (series,))


def compare_pairs(
    bench: Bench, template: ChatTemplate, items: Sequence[PreferenceItem], on_progress: OnProgress
) -> Gain:
    """How much likelier the better reply of a pair is than the worse, in nats, and in how many pairs it is."""
    better = [render_answer(template, item.turns, item.chosen) for item in items]
    worse = [render_answer(template, item.turns, item.rejected) for item in items]
    groups = [item.group for item in items]
    margins = {}
    for side in (CANDIDATE, CHAMPION):
        first, second = bench.losses(side, better, on_progress), bench.losses(side, worse, on_progress)
        margins[side] = [b.nats - a.nats for a, b in zip(first, second, strict=True)]
    right = {side: [float(margin > 0) for margin in margins[side]] for side in margins}
    own, other = margins[CANDIDATE], margins[CHAMPION]
    return Gain(
        (
            pair_scores(HELD_OUT, "margin", own, other, "higher", groups, unit="nats"),
            pair_scores(HELD_OUT, "preferred", right[CANDIDATE], right[CHAMPION], "higher", groups),
        ),
        (subtract(own, other, groups),),
    )


def compare_labels(bench: Bench, template: ChatTemplate, items: Sequence[LabelItem], on_progress: OnProgress) -> Gain:
    """How much likelier good replies are than bad ones, in nats a reply, and both by themselves. With replies of one
    kind only, nothing decides."""
    rows = [render_answer(template, item.turns, item.reply) for item in items]
    likely = {side: [-loss.nats for loss in bench.losses(side, rows, on_progress)] for side in (CANDIDATE, CHAMPION)}
    measures, series = [], []
    kinds: tuple[tuple[bool, str, Direction], ...] = ((True, GOOD_REPLIES, "higher"), (False, BAD_REPLIES, "lower"))
    for good, metric, direction in kinds:
        places = [place for place, item in enumerate(items) if item.good is good]
        if not places:
            continue
        own, other = ([likely[side][place] for place in places] for side in (CANDIDATE, CHAMPION))
        groups = [items[place].group for place in places]
        measures.append(pair_scores(HELD_OUT, metric, own, other, direction, groups, unit="nats"))
        series.append(subtract(own, other, groups))
    if len(series) < 2:
        return Gain(tuple(measures), ())
    first, second = measures
    margin = make_measure(
        HELD_OUT, "margin", first.candidate - second.candidate, first.champion - second.champion,
        len(items), contrast_interval(*series), "higher", unit="nats",
    )  # fmt: skip
    return Gain((margin, *measures), tuple(series))


def subtract(own: Sequence[float], other: Sequence[float], groups: Sequence[str] | None = None) -> Series:
    """Paired differences, one a row, all of the same weight."""
    return Series([a - b for a, b in zip(own, other, strict=True)], [1.0] * len(own), groups)


def pair_scores(
    suite: str,
    metric: str,
    own: Sequence[float],
    other: Sequence[float],
    better: Direction,
    groups: Sequence[str] | None = None,
    *,
    unit: str = "",
) -> Measure:
    """The mean of a score of both, row by row."""
    interval = contrast_interval(subtract(own, other, groups))
    count = max(len(own), 1)
    return make_measure(suite, metric, sum(own) / count, sum(other) / count, len(own), interval, better, unit=unit)


def make_measure(
    suite: str, metric: str, own: float, other: float, n: int, interval: Interval, better: Direction, *, unit: str = ""
) -> Measure:
    """An interval without ends is none."""
    ends = (interval.low, interval.high, interval.stderr)
    low, high, stderr = (value if math.isfinite(value) else None for value in ends)
    return Measure(suite, metric, own, other, n, better, low, high, stderr, unit=unit)
