"""`chatbot logs stats`: how much was said, how it was judged by model version, how long and how fast replies were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chatbot.cli.logs.filters import Filters, with_filters
from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.plots import draw_plots
from chatbot.cli.logs.printing import find_width, lay_out, print_json, print_text, style, tell
from chatbot.cli.logs.waiting import show_work

if TYPE_CHECKING:
    from chatbot.store.statistics import ModelFigures, Statistics


@with_filters()
def stats(asked: Filters, as_json: AsJson = False) -> None:
    """Counts and plots. Ratings by model version; lengths, messages and speeds over time.

    Lengths are characters, speeds tokens a second, first the seconds until the first token; all three are medians.

    Examples:

    \b
      chatbot logs stats
      chatbot logs stats --since 30d --model smollm2-135m-instruct
      chatbot logs stats --json | jq '.models[] | {name, up, down}'
    """
    with open_log() as log:
        chosen = asked.resolve(log.store)
        with show_work("counting"):
            figures = log.store.figures.collect(chosen)
    if as_json:
        print_json(_to_json(figures))
        return
    if not figures.prompts + figures.replies:
        tell("There are no messages yet." if asked.is_empty else "No message matches.")
        return
    width = find_width()
    print_text("\n".join(_draw_counts(figures)))
    print_text("\n" + "\n".join(_draw_models(figures.models, width)))
    for plot in draw_plots(figures, width):
        print_text("\n" + plot)


def _to_json(figures: Statistics) -> dict[str, Any]:
    return asdict(figures) | {
        "lengths": [{"from": low, "replies": count} for low, count in figures.lengths],
        "days": [{"day": day, "messages": count, "median_speed": speed} for day, count, speed in figures.days],
    }


def _draw_counts(figures: Statistics) -> Iterator[str]:
    lines = {
        "Conversations": f"{figures.conversations:,}",
        "Messages": f"{figures.prompts:,} prompts, {figures.replies:,} replies",
        "Rated": f"{figures.up:,} up, {figures.down:,} down",
        "Reviewed": f"{figures.approved:,} approved, {figures.rejected:,} rejected, {figures.waiting:,} waiting",
    }
    if figures.silent:
        lines["Reviewed"] += f", {figures.silent:,} say nothing"
    if set(figures.statuses) - {"complete"}:
        lines["Ended"] = ", ".join(f"{count:,} {status}" for status, count in figures.statuses.items())
    for name, value in lines.items():
        yield f"{style(f'{name:<15}', bold=True)}{value}"


def _draw_models(models: list[ModelFigures], width: int) -> list[str]:
    titles = ["MODEL", "REPLIES", "UP", "DOWN", "APPROVED", "REJECTED", "LENGTH", "TOKENS", "TOK/S", "FIRST"]
    rows = [
        [
            f"{one.name}/{one.number}" if one.name else "(no model)",
            *(f"{count:,}" for count in (one.replies, one.up, one.down, one.approved, one.rejected)),
            _show(one.median_characters, 0),
            _show(one.median_tokens, 0),
            _show(one.median_speed, 1),
            _show(one.median_first_token, 2),
        ]
        for one in models
    ]
    if width < 100:  # the review's columns are summed up above
        titles, rows = titles[:4] + titles[6:], [row[:4] + row[6:] for row in rows]
    return lay_out(titles, rows, flexible=0, right=range(1, len(titles)), width=width)


def _show(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
