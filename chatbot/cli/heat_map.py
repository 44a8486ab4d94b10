"""Maps of numbers between 0 and 1 in the terminal: colours where there are some, shades where there are none.

What small weights there are must be seen beside large ones, so the scale is that of the square root: ten steps from 0,
1, 4, 9 … to 81 per cent. A cell is two columns wide, which in most fonts makes it square; if that is too wide, it is
one column and half a line (▀ in two colours); and if that is too wide still, a cell stands for several tokens and shows
the largest of their weights, since what one token looks at should not vanish in a mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from chatbot.cli.logs.printing import fit, has_colours, style
from chatbot.cli.wrapping import wrap

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOURS = (234, 53, 54, 60, 24, 30, 36, 71, 148, 226)  # of the 256: dark violet over green to yellow, as viridis
_SHADES = "·░▒▓█"
_LABEL = 14  # cells of a token beside a row
_LEGEND = 76  # columns that all steps take


def draw_map(weights: NDArray[Any], labels: Sequence[str], width: int) -> Iterator[str]:
    """A causal map (T, T) in lines of at most `width` cells: a row for each token that looks, a column for each that is
    looked at. What comes later than the row's own token is left empty, as it is hidden from it."""
    from rich.cells import cell_len

    coloured = has_colours()
    count = len(labels)
    digits = len(str(count - 1))
    label = min(max(map(cell_len, labels)), _LABEL)
    room = width - digits - label - 2
    wide = 2 if 2 * count <= room else 1
    step = -(-count // (room // wide))
    cells = _pool(weights, step)
    starts = range(0, count, step)
    margin = digits + label + 2
    for line in write_numbers(starts, wide):
        yield (" " * margin + line).rstrip()
    halved = coloured and wide == 1
    for row in range(0, len(cells), 2 if halved else 1):
        head = f"{starts[row]:>{digits}} {fit(labels[starts[row]], label)} "
        if halved:
            below = cells[row + 1] if row + 1 < len(cells) else [None] * len(cells)
            yield head + "".join(map(_draw_half, cells[row], below)).rstrip()
        else:
            yield head + "".join(_draw_cell(one, wide, coloured=coloured) for one in cells[row]).rstrip()
    if halved or step > 1:
        yield from wrap(_describe_cells(step, halved=halved), width)
    yield _draw_legend(width, coloured=coloured)


def write_numbers(numbers: Sequence[int], wide: int) -> Iterator[str]:
    """Numbers above columns of `wide` cells, their digits one above the other."""
    digits = max(len(str(number)) for number in numbers)
    for place in range(digits):
        yield "".join(f"{number:>{digits}}"[place].rjust(wide) for number in numbers)


def _pool(weights: NDArray[Any], step: int) -> list[list[float | None]]:
    """The largest weight of each block of `step` by `step`; None where all of it is hidden."""
    count = len(weights)
    return [
        [
            float(weights[row : row + step, column : column + step].max()) if column < row + step else None
            for column in range(0, count, step)
        ]
        for row in range(0, count, step)
    ]


def _find_step(weight: float, steps: int) -> int:
    return min(int(math.sqrt(max(weight, 0.0)) * steps + 1e-9), steps - 1)


def _draw_cell(weight: float | None, wide: int, *, coloured: bool) -> str:
    if weight is None:
        return " " * wide
    if coloured:
        return style(" " * wide, bg=_COLOURS[_find_step(weight, len(_COLOURS))])
    return _SHADES[_find_step(weight, len(_SHADES))] * wide


def _draw_half(above: float | None, below: float | None) -> str:
    if above is None and below is None:
        return " "
    if above is None:
        return style("▄", fg=_COLOURS[_find_step(below or 0.0, len(_COLOURS))])
    how = {} if below is None else {"bg": _COLOURS[_find_step(below, len(_COLOURS))]}
    return style("▀", fg=_COLOURS[_find_step(above, len(_COLOURS))], **how)


def _describe_cells(step: int, *, halved: bool) -> str:
    facts = [f"a cell shows the largest weight of {step} by {step} tokens"] if step > 1 else []
    facts += ["two rows stand in a line"] if halved else []
    return ", ".join(facts).capitalize() + "."


def _draw_legend(width: int, *, coloured: bool) -> str:
    """The lowest weight of each step, or of every other one where they have no room."""
    signs = [style("  ", bg=colour) for colour in _COLOURS] if coloured else [shade * 2 for shade in _SHADES]
    steps = range(0, len(signs), 1 if width >= _LEGEND or not coloured else 2)
    return "From, in %: " + "  ".join(f"{signs[step]} {100 * step**2 // len(signs) ** 2}" for step in steps)
