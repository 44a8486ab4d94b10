"""A report as a page in the terminal: the verdict first, then why, the figures, and a few replies side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import chain

from chatbot.admin.evaluation.figures import MARKS, WEIGHTS, list_rows, write_verdict
from chatbot.admin.evaluation.records import Comparison, Report, Verdict
from chatbot.cli.logs.printing import count_of, fit, lay_out, style
from chatbot.text import printable, printable_line

_SHOWN = 5  # replies
_LINES = 4  # of a reply
_COLOURS: dict[Verdict, str] = {"better": "green", "worse": "red", "undecided": "yellow"}
_LABEL = 11  # columns of the word before a text
_NARROW = 90  # columns below which the interval and n are left out


def render_terminal(report: Report, width: int) -> str:
    """The page, no line of it wider than `width` cells, from 40 on."""
    return "\n".join(_write(report, max(width, 40)))


def _write(report: Report, width: int) -> Iterator[str]:
    for line in _wrap(f"{report.candidate} against {report.champion}, on {report.dataset}", width):
        yield style(line, bold=True)
    for line in _wrap(write_verdict(report), width):
        yield style(line, fg=_COLOURS[report.verdict], bold=True)
    for reason in report.reasons:
        yield from _label(WEIGHTS[reason.weight], reason.text, width, colour=_COLOURS[reason.weight])
    yield ""
    yield from _lay_out_figures(report, width)
    for one in report.comparisons[:_SHOWN]:
        yield ""
        yield from _compare(one, width)
    left = len(report.comparisons) - _SHOWN
    if left > 0:
        yield ""
        yield from _wrap(f"{count_of(left, 'more reply', 'more replies')} with --html or --markdown.", width)


def _lay_out_figures(report: Report, width: int) -> list[str]:
    titles = ["FIGURE", "CHAMPION", "CANDIDATE", "CHANGE", "95 % INTERVAL", "N", ""]
    rows = [
        [f"{suite}: {row.metric}", row.champion, row.candidate, row.difference, row.interval, row.n, row.mark]
        for suite, suite_rows in list_rows(report)
        for row in suite_rows
    ]
    if width < _NARROW:
        titles, rows = [*titles[:4], ""], [[*row[:4], row[6]] for row in rows]
    lines = lay_out(titles, rows, flexible=0, right=range(1, len(titles) - 1), width=width)
    key = f"{MARKS['better']} better  {MARKS['worse']} worse  {MARKS['unclear']} may be chance"
    return [fit(line, width).rstrip() if len(line) > width else line for line in lines] + [key]


def _compare(one: Comparison, width: int) -> Iterator[str]:
    texts = {"Prompt": one.prompt, "Approved": one.reference, "Champion": one.champion, "Candidate": one.candidate}
    for name, text in texts.items():
        yield from _label(name, text, width, most=_LINES, bold=name == "Prompt")


def _label(
    name: str, text: str, width: int, *, colour: str | None = None, most: int = 0, bold: bool = False
) -> Iterator[str]:
    """`text` beside its name; of more than `most` lines the rest is left out."""
    lines = list(chain.from_iterable(_wrap(part, width - _LABEL) for part in printable(text).splitlines())) or ["–"]
    if most and len(lines) > most:
        lines = [*lines[: most - 1], fit(lines[most - 1] + " " * width + ".", width - _LABEL).rstrip()]
    for number, line in enumerate(lines):
        word = style(f"{name:<{_LABEL}}", fg=colour, bold=True) if not number else " " * _LABEL
        yield word + (style(line, bold=True) if bold else line)


def _wrap(text: str, width: int) -> list[str]:
    """`text` on lines of at most `width` cells; between Chinese characters a line may break anywhere."""
    from rich.cells import chop_cells

    lines: list[str] = []
    for line in textwrap.wrap(printable_line(text), width, break_on_hyphens=False):
        lines += chop_cells(line, width)
    return lines
