"""What the commands of `chatbot logs` print: aligned tables for people, JSON for programs.

Widths are counted in cells of the terminal, of which a Chinese character takes two. Colours are for terminals only, and
NO_COLOR (https://no-color.org) is heeded.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import typer

from chatbot.errors import ChatbotError, InvalidInput
from chatbot.text import printable_line

SHORT = 18
"""Characters of an identifier that are shown: its time and its counter. The first eight alone are only the minute."""

_NO_TERMINAL = 120  # columns where there is no terminal: for a file or a pager
_GAP = "  "


def print_text(text: str) -> None:
    """Writes to standard output. What its encoding lacks becomes a question mark; a reader who has left ends the
    command without a word. Raises ChatbotError if it cannot be written."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with guard_output():
        typer.echo(text.encode(encoding, "replace").decode(encoding), color=has_colours())


def print_json(value: Any) -> None:
    """One JSON value on standard output; all that is not ASCII is escaped, so a terminal may see it."""
    with guard_output():
        typer.echo(json.dumps(to_plain(value), indent=2, allow_nan=False))


def tell(text: str) -> None:
    """One line for a person, on standard error."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    if sys.stdout:
        with guard_output():
            sys.stdout.flush()  # what it is about stands above it
    typer.echo(printable_line(text).encode(encoding, "replace").decode(encoding), err=True)


@contextlib.contextmanager
def guard_output() -> Any:
    """Turns what writing to standard output may raise into a quiet end or a ChatbotError."""
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # else Python tries again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader, such as head, has seen enough
            raise typer.Exit(141) from None
        raise ChatbotError(f"Standard output cannot be written: {error.strerror}.") from None


def to_plain(value: Any) -> Any:
    """`value` as JSON knows it: records as objects, moments in ISO 8601; what is no finite number becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def style(text: str, **how: Any) -> str:
    """`text` with colours where they are wanted."""
    return typer.style(text, **how) if has_colours() else text


def find_width() -> int:
    """The columns of the terminal, or COLUMNS."""
    return max(shutil.get_terminal_size((_NO_TERMINAL, 24)).columns, 40)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` made safe to show, in exactly `width` cells: cut with an ellipsis, or filled with spaces."""
    from rich.cells import cell_len, set_cell_size

    line = printable_line(text)
    if cell_len(line) > width:
        line = set_cell_size(line, width - 1).rstrip() + "…"
    filling = " " * (width - cell_len(line))
    return filling + line if right else line + filling


def lay_out(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    flexible: int,
    right: Sequence[int] = (),
    limits: Mapping[int, int] | None = None,
    width: int = 0,
) -> list[str]:
    """A table: its heading, then a line for each row, none wider than `width` (0: the terminal).

    Column `flexible` takes what the others leave; those of `right` are numbers; `limits` are a column's most cells.
    """
    from rich.cells import cell_len

    shown = [[printable_line(cell) for cell in row] for row in rows]
    sizes = [max(map(cell_len, column)) for column in zip(titles, *shown, strict=True)]
    sizes = [min(size, (limits or {}).get(place, size)) for place, size in enumerate(sizes)]
    others = sum(sizes) - sizes[flexible] + len(_GAP) * (len(sizes) - 1)
    sizes[flexible] = max(min(sizes[flexible], (width or find_width()) - others), cell_len(titles[flexible]), 10)

    def write(cells: Sequence[str]) -> str:
        parts = [
            fit(cell, size, right=place in right) for place, (cell, size) in enumerate(zip(cells, sizes, strict=True))
        ]
        return _GAP.join(parts).rstrip()

    return [style(write(titles), bold=True), *(write(row) for row in shown)]


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Such as `1 reply` or `1,234 replies`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def confirm(question: str, *, yes: bool) -> None:
    """Asks on the terminal unless `yes`; a no ends the command. Raises InvalidInput where nobody can be asked."""
    if yes:
        return
    if not is_interactive():
        raise InvalidInput(f"Nobody is here to answer: {printable_line(question)}", hint="Give --yes to do it.")
    typer.confirm(printable_line(question), abort=True, err=True)


def is_interactive() -> bool:
    """Whether a person can be asked."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())


def has_colours() -> bool:
    """Whether standard output is a terminal that may be coloured."""
    return bool(
        sys.stdout
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") not in {"dumb", ""}
    )
