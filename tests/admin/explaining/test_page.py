"""The HTML page holds all it needs, escapes what it shows, and its pictures are the maps."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from chatbot.admin.explaining.explanation import Explanation
from chatbot.admin.explaining.figures import find_next, sum_up_heads
from chatbot.admin.explaining.page import draw_picture, render_page
from chatbot.admin.tokenizing.pieces import Piece, show_bytes
from chatbot.errors import InvalidInput

HOSTILE = b"<script src=//x>\x1b[2J\"'&"


def make(count: int = 4) -> Explanation:
    weights = np.tril(np.ones((count, count))) / np.arange(1, count + 1)[:, None]
    attention = {0: np.stack([weights, np.eye(count)]), 2: np.stack([weights, weights])}
    piece = Piece(7, HOSTILE, show_bytes(HOSTILE))
    following = find_next(np.array([1.0, 2.0, 3.0]), temperature=0.5)
    return Explanation(
        model="<b>tiny",
        tokens=[piece] * count,
        neighbours={0: [(piece, 0.5)]},
        heads=sum_up_heads(attention),
        attention=attention,
        next=following,
        candidates=[piece] * 3,
        width=8,
    )


@pytest.mark.parametrize("count", [1, 4, 60])
def test_the_page_is_whole_and_safe(count: int) -> None:
    page = render_page(make(count), (2, 1))
    assert "<script" not in page
    assert "\x1b" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert "default-src 'none'" in page
    assert "&lt;script" in page
    assert set(re.findall(r'src="([^:"]*):', page)) == {"data"}
    assert page.count("data:image/png") >= 4

    open_tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in {"meta", "img"}:
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Reader().feed(page)
    assert open_tags == []


def test_a_picture_is_the_map() -> None:
    weights = np.array([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])
    content = base64.b64decode(draw_picture(weights).partition(",")[2])
    chunks, place = {}, 8
    while place < len(content):
        (size,) = struct.unpack_from(">I", content, place)
        kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        assert struct.unpack_from(">I", content, place + 8 + size)[0] == zlib.crc32(kind + data)
        chunks[kind] = data
        place += 12 + size
    rows = zlib.decompress(chunks[b"IDAT"])
    pixels = [list(rows[start + 1 : start + 4]) for start in (0, 4, 8)]
    assert pixels[0] == [255, 0, 0]  # 0 is transparent: hidden
    assert pixels[1] == [128, 220, 0]
    assert pixels[2] == [1, 1, 255]
    assert len(chunks[b"PLTE"]) == 3 * 256


def test_a_head_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="layer 1"):
        render_page(make(), (1, 0))
