"""An explanation as one HTML page: every head's map at a glance, and one of them large.

The tokens are text that anyone may have written, so the template escapes them; the page needs no script and no network
and forbids itself both. A map is a small picture of one pixel for each pair of tokens, inside the page.
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.text import printable_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chatbot.admin.explaining.explanation import Explanation

_TEMPLATE = "page.html.jinja"
_ANCHORS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # of viridis
_STEPS = 255  # colours; one more is transparent, for what is hidden
_MOST_CELLS = 48  # tokens of a map that is also written as a table, with labels and numbers


def render_page(found: Explanation, chosen: tuple[int, int] | None = None) -> str:
    """One file that holds all it needs. `chosen` is the layer and head that is shown large. Raises InvalidInput if the
    model has no such head."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["line"] = printable_line
    template = environment.from_string(Path(__file__).with_name(_TEMPLATE).read_text("utf-8"))
    large = found.find_map(*chosen) if chosen else None
    pictures = {layer: [draw_picture(one) for one in maps] for layer, maps in sorted(found.attention.items())}
    page = template.render(
        found=found,
        pictures=pictures,
        most=max((len(one) for one in pictures.values()), default=0),
        chosen=chosen,
        large=draw_picture(large) if large is not None else "",
        cells=_list_cells(large) if large is not None and len(large) <= _MOST_CELLS else [],
    )
    return page + "\n"


def draw_picture(weights: NDArray[Any]) -> str:
    """A map (T, T) as the address of a PNG of T by T pixels that is inside the address."""
    import numpy as np

    size = len(weights)
    places = np.clip(np.sqrt(np.clip(weights, 0, 1)) * (_STEPS - 1) + 1, 1, _STEPS).astype(np.uint8)
    places[np.triu_indices(size, 1)] = 0
    rows = b"".join(b"\x00" + row.tobytes() for row in places)
    content = b"\x89PNG\r\n\x1a\n"
    content += _write_chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 3, 0, 0, 0))
    content += _write_chunk(b"PLTE", bytes(3) + b"".join(bytes(_mix(step / (_STEPS - 1))) for step in range(_STEPS)))
    content += _write_chunk(b"tRNS", b"\x00")
    content += _write_chunk(b"IDAT", zlib.compress(rows, 9)) + _write_chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _write_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _mix(share: float) -> tuple[int, int, int]:
    """The colour at `share` of the way from the first anchor to the last."""
    place = share * (len(_ANCHORS) - 1)
    left = min(int(place), len(_ANCHORS) - 2)
    low, high = _ANCHORS[left], _ANCHORS[left + 1]
    red, green, blue = (round(a + (b - a) * (place - left)) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _list_cells(weights: NDArray[Any]) -> list[list[tuple[float, str, bool]]]:
    """Of each row, up to its own token: the weight, its colour, and whether dark ink is read on it."""
    cells = []
    for number, row in enumerate(weights):
        shares = [float(value) for value in row[: number + 1]]
        colours = [_mix(min(max(share, 0.0), 1.0) ** 0.5) for share in shares]
        cells.append(
            [
                (share, "#{:02x}{:02x}{:02x}".format(*colour), share**0.5 > 0.6)
                for share, colour in zip(shares, colours, strict=True)
            ]
        )
    return cells
