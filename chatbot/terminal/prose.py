"""A message laid out in rows of a given width, as one thing to draw.

Textual's Markdown makes a widget of each paragraph, and the cost of a screen is its number of widgets. Here a message
is one widget whose picture is a list of blocks; a block keeps its rows and strips until the width or the theme
changes, so that a reply that grows costs the layout of its last block only.

Offsets for selecting text with the mouse are row and column of what is on screen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.css.styles import RulesMap

_NARROWEST = 8


@dataclass(slots=True, eq=False)
class Block:
    """Text that is wrapped as one: a paragraph, an item of a list, a block of code."""

    content: Content
    first: Content = field(default_factory=lambda: Content(""))
    """What stands left of the first row: a bullet, the bar of a quotation."""
    rest: Content = field(default_factory=lambda: Content(""))
    """What stands left of the other rows."""
    fill: str = ""
    """The style of the whole width, as code has it."""
    fold: bool = False
    """Break anywhere, not between words."""
    gap: int = 0
    """Empty rows above it."""
    _rows: tuple[int, list[Content]] | None = None
    _strips: tuple[object, list[Strip]] | None = None

    def rows(self, width: int) -> list[Content]:
        """The rows at `width` cells, prefixes included."""
        if self._rows is None or self._rows[0] != width:
            self._rows = (width, [Content("")] * self.gap + self.lay_out(width))
        return self._rows[1]

    def lay_out(self, width: int) -> list[Content]:
        room = max(width - max(self.first.cell_length, self.rest.cell_length), _NARROWEST)
        if self.fold:
            lines = [line.expand_tabs(4) for line in self.content.split("\n", allow_blank=True)]
            wrapped = list(chain.from_iterable(line.fold(room) for line in lines))
        else:
            wrapped = self.content.wrap(room)
        return [(self.rest if number else self.first) + row for number, row in enumerate(wrapped or [Content("")])]

    def strips(self, width: int, y: int, style: Style, options: RenderOptions) -> list[Strip]:
        """The rows drawn; `y` is the number of the first one within the message."""
        key = (width, y, style)
        if options.selection is None and self._strips is not None and self._strips[0] == key:
            return self._strips[1]
        fill = options.get_style(self.fill) if self.fill else None
        strips = []
        for number, row in enumerate(self.rows(width)):
            filled = fill is not None and number >= self.gap
            strips.append(
                self._draw(row, width, y + number, style + fill if fill and filled else style, filled, options)
            )
        if options.selection is None:
            self._strips = (key, strips)
        return strips

    @staticmethod
    def _draw(row: Content, width: int, y: int, style: Style, filled: bool, options: RenderOptions) -> Strip:
        if options.selection is not None and options.selection_style and (span := options.selection.get_span(y)):
            start, end = span
            row = row.stylize(options.selection_style, start, len(row.plain) if end == -1 else end)
        segments, x = [], 0
        for text, text_style in row.render(style, end="", parse_style=options.get_style):
            segments.append(Segment(text, (style + text_style).rich_style_with_offset(x, y)))
            x += len(text)
        cells = row.cell_length
        if filled and cells < width:
            segments.append(Segment(" " * (width - cells), style.rich_style))
            cells = width
        return Strip(segments, cells)

    def forget_colours(self) -> None:
        self._strips = None


@dataclass(slots=True, eq=False)
class TableBlock(Block):
    """A table: columns as wide as their longest cell, narrowed in proportion when the screen is too narrow."""

    table: Sequence[Sequence[Content]] = ()
    """Rows of cells; the first row is the heading."""

    def lay_out(self, width: int) -> list[Content]:
        columns = max(map(len, self.table), default=0)
        widths = [
            max(max((line.cell_length for line in row[n].split("\n")), default=0) for row in self.table if n < len(row))
            for n in range(columns)
        ]
        room = max(width - 3 * (columns - 1) - self.rest.cell_length, 2 * columns)
        widths = _narrow([max(1, cells) for cells in widths], room)
        rows: list[Content] = []
        for number, row in enumerate(self.table):
            cells = [row[n].wrap(widths[n]) if n < len(row) else [] for n in range(columns)]
            for line in range(max(map(len, cells), default=0)):
                parts = [
                    (column[line] if line < len(column) else Content("")).pad_right(
                        max(0, widths[n] - (column[line].cell_length if line < len(column) else 0))
                    )
                    for n, column in enumerate(cells)
                ]
                rows.append(self.rest + Content.styled(" │ ", "$border").join(parts))
            if number == 0:
                rows.append(self.rest + Content.styled("─┼─".join("─" * cells for cells in widths), "$border"))
        return rows


def _narrow(widths: list[int], room: int) -> list[int]:
    """`widths` cut down to `room` in all; the widest column gives first."""
    widths = list(widths)
    while sum(widths) > room and max(widths) > 1:
        widest = max(range(len(widths)), key=widths.__getitem__)
        widths[widest] -= max(1, min(sum(widths) - room, widths[widest] // 8))
    return widths


class Prose(Visual):
    """A list of blocks as one picture."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.blocks = list(blocks)

    def render_strips(self, width: int, height: int | None, style: Style, options: RenderOptions) -> list[Strip]:
        strips: list[Strip] = []
        for block in self.blocks:
            strips.extend(block.strips(width, len(strips), style, options))
        return strips if height is None else strips[:height]

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:  # noqa: ARG002
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:  # noqa: ARG002
        return sum(len(block.rows(width)) for block in self.blocks)

    def show_text(self, width: int) -> str:
        """What is on screen at `width`, for a selection to be cut from."""
        return "\n".join(row.plain for block in self.blocks for row in block.rows(width))

    def forget_colours(self) -> None:
        """To be called when the theme changes: strips hold colours, rows do not."""
        for block in self.blocks:
            block.forget_colours()
