"""Plots of statistics in the terminal, drawn by plotext."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from chatbot.cli.logs.printing import has_colours

if TYPE_CHECKING:
    from chatbot.store.statistics import Statistics

_HEIGHT = 11  # lines
_WIDEST = 160  # columns, beyond which a plot only gets harder to read
_MARGIN = 10  # columns of the axis
_LABEL = 14  # columns that a date and the space beside it take

_PERIODS: dict[str, Callable[[date], date]] = {
    "day": lambda day: day,
    "week": lambda day: day - timedelta(days=day.weekday()),
    "month": lambda day: day.replace(day=1),
    "year": lambda day: day.replace(month=1, day=1),
}

_PRECISION = {"day": 10, "week": 10, "month": 7, "year": 4}  # characters of a date that say it


def draw_plots(figures: Statistics, width: int) -> Iterator[str]:
    """How long replies are, how much was said over time, how fast replies came; without data, none."""
    width = min(width, _WIDEST)
    if sum(count for _, count in figures.lengths):
        yield _draw_lengths(figures.lengths, width)
    period, days = group_days(figures.days, width - _MARGIN)
    names = [day.isoformat()[: _PRECISION[period]] for day, _, _ in days]
    if len(days) > 1:
        places = list(range(len(days)))
        counts = [count for _, count, _ in days]
        yield _draw(f"messages a {period}", width, places, counts, names)
    measured = {place: speed for place, (_, _, speed) in enumerate(days) if speed is not None}
    if len(measured) > 1:
        title = f"tokens a second, median of the {period}"
        yield _draw(title, width, list(measured), list(measured.values()), names, points=True)


def group_days(
    days: Sequence[tuple[date, int, float | None]], most: int
) -> tuple[str, list[tuple[date, int, float | None]]]:
    """The shortest period of which at most `most` are needed, and for each, the empty ones too, its first day, the
    messages, and the median of its days' speeds."""
    from statistics import median

    if not days:
        return "day", []
    for name, begin in _PERIODS.items():
        periods = _list_periods(begin, days[0][0], days[-1][0])
        if len(periods) <= most or name == "year":
            break
    counts: dict[date, int] = defaultdict(int)
    speeds: dict[date, list[float]] = defaultdict(list)
    for day, count, speed in days:
        counts[begin(day)] += count
        if speed is not None:
            speeds[begin(day)].append(speed)
    return name, [(day, counts[day], median(speeds[day]) if speeds[day] else None) for day in periods[-most:]]


def _list_periods(begin: Callable[[date], date], first: date, last: date) -> list[date]:
    periods = [begin(last)]
    while periods[-1] > begin(first):
        periods.append(begin(periods[-1] - timedelta(days=1)))
    return periods[::-1]


def _draw_lengths(lengths: Sequence[tuple[int, int]], width: int) -> str:
    ends = [f"–{after - 1}" for after, _ in lengths[1:]] + ["+"]
    names = [f"{low}{end}" for (low, _), end in zip(lengths, ends, strict=True)]
    plot = _open("replies by their length in characters", width)
    plot.bar(names, [count for _, count in lengths], width=0.7, color="cyan")
    _mark_heights(plot, [count for _, count in lengths])
    return _build(plot)


def _draw(
    title: str,
    width: int,
    places: Sequence[int],
    values: Sequence[float],
    names: Sequence[str],
    *,
    points: bool = False,
) -> str:
    plot = _open(title, width)
    if points:
        plot.scatter(places, values, marker="•", color="cyan")
        plot.xlim(-0.5, len(names) - 0.5)
    else:
        plot.bar(places, values, width=0.7 if len(names) < (width - _MARGIN) // 3 else 1, color="cyan")
    step = max(1, -(-len(names) * _LABEL // (width - _MARGIN)))
    marked = list(range(0, len(names), step))
    plot.xticks(marked, [names[place] for place in marked])
    _mark_heights(plot, values)
    return _build(plot)


def _open(title: str, width: int) -> Any:
    import plotext

    plotext.clear_figure()  # the library keeps one figure for the whole process
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plot_size(width, _HEIGHT)
    plotext.title(title)
    return plotext


def _mark_heights(plot: Any, values: Sequence[float]) -> None:
    """Whole numbers at the axis, from 0."""
    top = max(values, default=0) or 1
    step = next(size for size in _sizes() if top / size <= 5)
    ticks = [step * number for number in range(int(top // step) + 1)]
    plot.ylim(0, top)
    plot.yticks(ticks, [f"{tick:,}" for tick in ticks])


def _sizes() -> Iterator[int]:
    size = 1
    while True:
        yield from (size, 2 * size, 5 * size)
        size *= 10


def _build(plot: Any) -> str:
    drawn = plot.build()
    lines = (drawn if has_colours() else plot.uncolorize(drawn)).splitlines()
    return "\n".join(line.rstrip() for line in lines)
