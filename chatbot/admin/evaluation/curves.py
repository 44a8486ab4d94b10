"""Curves of a run as SVG: where the lines, the dots and the ticks of the axes are. The page's template draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.admin.evaluation.figures import thin

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 36, 44  # margins, in which the labels and the legend stand
_MOST_POINTS = 600
_MOST_DOTS = 40  # more would hide the line


@dataclass(frozen=True, slots=True)
class Tick:
    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """`kind` names its style."""

    kind: str
    label: str
    points: str
    """As the attribute of a polyline."""
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """All in the units of a view box of WIDTH × HEIGHT."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def draw_chart(series: Sequence[tuple[str, str, tuple[tuple[int, float], ...]]]) -> Chart | None:
    """`series` are (kind, label, points). None if no series has a point that can be drawn."""
    thinned = [(kind, label, thin(points, _MOST_POINTS)) for kind, label, points in series]
    drawn = [(kind, label, points) for kind, label, points in thinned if points]
    if not drawn:
        return None
    steps = [step for _, _, points in drawn for step, _ in points]
    values = [value for _, _, points in drawn for _, value in points]
    x_ticks = find_ticks(min(steps), max(steps), 8, whole=True)
    y_ticks = find_ticks(min(values), max(values), 6)
    left, right = float(min(steps)), float(max(steps))
    low, high = min(y_ticks[0], *values), max(y_ticks[-1], *values)

    def place_x(step: float) -> float:
        return round(LEFT + (step - left) / ((right - left) or 1) * (WIDTH - LEFT - RIGHT), 1)

    def place_y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for kind, label, points in drawn:
        places = [(place_x(step), place_y(value)) for step, value in points]
        dots = tuple(places) if len(places) <= _MOST_DOTS else ()
        lines.append(Line(kind, label, " ".join(f"{x},{y}" for x, y in places), dots))
    return Chart(
        tuple(lines),
        tuple(Tick(place_x(tick), f"{tick:,.0f}") for tick in x_ticks if left <= tick <= right),
        tuple(Tick(place_y(tick), f"{tick:,.6g}") for tick in y_ticks),
    )


def find_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Round numbers from the last at or below `low` to the first at or above `high`; about `most`."""
    span = high - low
    if not math.isfinite(span) or span <= max(abs(low), abs(high)) * 1e-9:
        return [low] if low == high or not math.isfinite(span) else [low, high]
    power = 10.0 ** math.floor(math.log10(span / most))
    size = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= most)
    if whole:
        size = max(size, 1.0)
    first, last = math.floor(low / size), math.ceil(high / size)
    return [round(number * size, 12) for number in range(first, last + 1)]
