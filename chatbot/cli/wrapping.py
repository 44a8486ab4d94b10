"""Sentences on lines that fit the terminal."""

from __future__ import annotations

import textwrap

from chatbot.cli.logs.printing import find_width
from chatbot.text import printable_line

_WIDEST = 100  # cells, beyond which the eye loses the line


def wrap(text: str, width: int = 0, *, indent: str = "") -> list[str]:
    """`text` made safe to show, on lines of at most `width` cells (0: the terminal's, if that is not too wide to read);
    between Chinese characters a line may break anywhere."""
    from rich.cells import chop_cells

    room = (width or min(find_width(), _WIDEST)) - len(indent)
    lines = textwrap.wrap(printable_line(text), room, break_on_hyphens=False)
    return [indent + part for line in lines for part in chop_cells(line, room)]
