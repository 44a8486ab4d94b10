from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from chatbot.text import printable, printable_line

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # surrogates too


@given(ANY_TEXT)
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    for character in shown:
        assert character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cs"}, hex(ord(character))
        assert unicodedata.bidirectional(character) not in {
            "LRE",
            "RLE",
            "PDF",
            "LRO",
            "RLO",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        }
    shown.encode()


@given(ANY_TEXT)
def test_showing_twice_changes_nothing_more(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(ANY_TEXT, st.integers(1, 40))
def test_a_line_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = printable_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line


def test_ordinary_text_is_untouched() -> None:
    text = "def f(x):\n\treturn x  # naïve, 中文, 👩‍👩‍👧 and שלום"
    assert printable(text) == text


def test_escapes_stay_visible() -> None:
    assert printable("\x1b]0;title\x07") == "␛]0;title␇"
    assert printable("a\r\nb\rc") == "a\nb\nc"
    assert printable("\x9b2J") == "\ufffd2J"


def test_hidden_marks_are_dropped() -> None:
    assert printable("user\u202e\u2066txt\U000e0041") == "usertxt"
