"""A reply's tokens as text, each shaded by how probable it was, with a cursor that goes from token to token.

One widget that draws the rows in sight: a reply has thousands of tokens. Shades are told apart by more than colour:
improbable tokens are underlined, very improbable ones are bold as well.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, get_character_cell_size
from rich.segment import Segment
from textual.geometry import Region, Size
from textual.message import Message as Event
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from chatbot.text import printable

if TYPE_CHECKING:
    from rich.style import Style
    from textual import events

SHADES = (0.5, 0.2, 0.05, 0.01)
"""A token at least as probable as the first is plain; below each of these begins the next shade."""
IMPROBABLE = 3
"""From this shade on, a token is one that `n` stops at."""

_NARROWEST = 8
_SHADE_CLASSES = tuple(f"tokens--shade-{shade}" for shade in range(1, len(SHADES) + 1))
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60\U00020000-\U0003ffff]")


def _shade_css(widget: str) -> str:
    """The shades in every theme; the sixteen colours of a terminal cannot be blended, so there the letters change."""
    blended = (
        "background: $warning 16%",
        "background: $warning 34%",
        "background: $error 38%; text-style: underline",
        "background: $error 62%; text-style: bold underline",
    )
    ansi = (
        "ansi_yellow",
        "ansi_red",
        "ansi_red; text-style: underline",
        "ansi_red; text-style: bold underline reverse",
    )
    rules = []
    for name, colours, sixteen in zip(_SHADE_CLASSES, blended, ansi, strict=True):
        rules.append(f"{widget} > .{name} {{ {colours}; color: $foreground; }}")
        rules.append(f"{widget}:ansi > .{name} {{ background: ansi_default; color: {sixteen}; }}")
    return "\n".join(rules)


@dataclass(frozen=True, slots=True)
class ShadedToken:
    """A token as it is drawn."""

    text: str
    logprob: float

    @property
    def shade(self) -> int:
        """0 for a probable one, up to 4."""
        probability = math.exp(min(0.0, self.logprob))
        return sum(probability < limit for limit in SHADES)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A token, or the part of it that stands in one row."""

    token: int
    text: str
    x: int
    cells: int


class TokenText(ScrollView, can_focus=True):
    """The reply."""

    DEFAULT_CSS = """
    TokenText { height: 1fr; background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
    TokenText > .tokens--cursor { background: $primary; color: $background; text-style: bold; }
    TokenText:ansi > .tokens--cursor { background: ansi_blue; color: ansi_bright_white; }
    """ + _shade_css("TokenText")
    COMPONENT_CLASSES: ClassVar[set[str]] = {*_SHADE_CLASSES, "tokens--cursor"}

    class Moved(Event):
        """The cursor stands on another token."""

    def __init__(self) -> None:
        super().__init__(id="tokens")
        self.tokens: list[ShadedToken] = []
        self.cursor = 0
        self._rows: list[list[_Piece]] = []
        self._where: list[tuple[int, int]] = []  # row and column of each token's first piece
        self._width = 0

    def show(self, tokens: Sequence[ShadedToken], cursor: int = 0) -> None:
        self.tokens = list(tokens)
        self.cursor = min(cursor, max(0, len(self.tokens) - 1))
        self._width = 0
        self._lay_out()
        self.move_to(self.cursor)

    def move_to(self, cursor: int) -> None:
        """Puts the cursor on a token and brings it into sight."""
        if not self.tokens:
            return
        self.cursor = min(max(0, cursor), len(self.tokens) - 1)
        if self._where:
            row = self._where[self.cursor][0]
            self.scroll_to_region(Region(0, max(0, row - 1), 1, 3), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved())

    def on_key(self, event: events.Key) -> None:
        """Here and not as bindings, which are run so late that a digit pressed next would mean the token before."""
        step = _STEPS.get(event.key)
        if step is not None:
            event.stop()
            event.prevent_default()
            step(self)

    def step_row(self, step: int) -> None:
        if self._where:
            row, x = self._where[self.cursor]
            self._move_to_row(row + step, x)

    def step_page(self, step: int) -> None:
        self.step_row(step * max(1, self.size.height - 2))

    def step_improbable(self, step: int) -> None:
        """To the next token that is improbable, or to the one before."""
        found = range(self.cursor + step, len(self.tokens) if step > 0 else -1, step)
        self.move_to(next((n for n in found if self.tokens[n].shade >= IMPROBABLE), self.cursor))

    def on_click(self, event: events.Click) -> None:
        row, x = int(event.y + self.scroll_offset.y), int(event.x)
        if row < len(self._rows):
            self._move_to_row(row, x)

    def on_resize(self) -> None:
        self._lay_out()

    def _move_to_row(self, row: int, x: int) -> None:
        row = min(max(0, row), len(self._rows) - 1)
        pieces = self._rows[row]
        if pieces:
            self.move_to(min(pieces, key=lambda piece: max(piece.x - x, x - piece.x - piece.cells + 1, 0)).token)

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        if not width or width == self._width:
            return
        self._width = width
        self._rows = lay_out(self.tokens, max(width, _NARROWEST))
        where: dict[int, tuple[int, int]] = {}
        for number, row in enumerate(self._rows):
            for piece in row:
                where.setdefault(piece.token, (number, piece.x))
        self._where = [where[number] for number in range(len(self.tokens))]
        self.virtual_size = Size(width, len(self._rows))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        number = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if number >= len(self._rows):
            return Strip.blank(width, base)
        segments = [Segment(piece.text, self._style(piece.token, base)) for piece in self._rows[number]]
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, token: int, base: Style) -> Style:
        if token == self.cursor:
            return self.get_component_rich_style("tokens--cursor")
        shade = self.tokens[token].shade
        return self.get_component_rich_style(_SHADE_CLASSES[shade - 1]) if shade else base


_STEPS: Mapping[str, Callable[[TokenText], None]] = {
    "right": lambda text: text.move_to(text.cursor + 1),
    "left": lambda text: text.move_to(text.cursor - 1),
    "down": lambda text: text.step_row(1),
    "up": lambda text: text.step_row(-1),
    "pagedown": lambda text: text.step_page(1),
    "space": lambda text: text.step_page(1),
    "pageup": lambda text: text.step_page(-1),
    "home": lambda text: text.move_to(0),
    "end": lambda text: text.move_to(len(text.tokens) - 1),
    "n": lambda text: text.step_improbable(1),
    "p": lambda text: text.step_improbable(-1),
}


class ShadeLegend(Widget):
    """What the shades mean."""

    DEFAULT_CSS = "ShadeLegend { height: 1; color: $muted; }" + _shade_css("ShadeLegend")
    COMPONENT_CLASSES: ClassVar[set[str]] = set(_SHADE_CLASSES)

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        words = [f"{100 * high:g}–{100 * low:g} %" for high, low in itertools.pairwise(SHADES)]
        segments = [Segment(f"probability over {100 * SHADES[0]:g} %", base)]
        for name, word in zip(_SHADE_CLASSES, [*words, f"below {100 * SHADES[-1]:g} %"], strict=True):
            segments += [Segment("  ", base), Segment(word, self.get_component_rich_style(name))]
        return Strip(segments).adjust_cell_length(self.size.width, base) if y == 0 else Strip.blank(self.size.width)


def lay_out(tokens: Sequence[ShadedToken], width: int) -> list[list[_Piece]]:
    """Rows of at most `width` cells. Each token has a piece, also one that is a line break or a part of a sign."""
    shown = [show_token(token.text) for token in tokens]
    owners = [number for number, text in enumerate(shown) for _ in text]
    text = "".join(shown)
    rows: list[list[_Piece]] = []
    for start, end in _wrap(text, width):
        row: list[_Piece] = []
        x, place = 0, start
        while place < end:
            token, first = owners[place], place
            while place < end and owners[place] == token:
                place += 1
            cells = cell_len(text[first:place])
            row.append(_Piece(token, text[first:place], x, cells))
            x += cells
        rows.append(row)
    return rows


def show_token(text: str) -> str:
    """A token with signs for what would not be seen: line breaks, tabs, spaces alone, parts of a character."""
    text = printable(text).replace("\t", "⇥")
    if not text:
        return "◦"
    if not text.strip(" "):
        return "·" * len(text)
    return text.replace("\n", "↵\n")


def _wrap(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Where the rows of `text` begin and end: between words, and anywhere in scripts without spaces or in a word that
    is longer than a row. A space that would begin a row is left out."""
    start = cells = 0
    breaks = 0  # where the row could end
    for place, sign in enumerate(text):
        if sign == "\n":
            yield start, place
            start = breaks = place + 1
            cells = 0
            continue
        size = get_character_cell_size(sign)
        if cells + size > width:
            if sign == " ":
                yield start, place
                start = breaks = place + 1
                cells = 0
                continue
            end = breaks if breaks > start else place
            yield start, end
            start = breaks = end
            cells = cell_len(text[start:place])
        cells += size
        if sign in " ·⇥" or _UNSPACED.match(sign):
            breaks = place + 1
    yield start, len(text)
