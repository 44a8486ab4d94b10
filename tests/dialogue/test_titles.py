"""Titles made from a first prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.dialogue.titles import LIMIT, make_title
from chatbot.text import printable


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is a monad? Explain it to me.", "What is a monad?"),
        ("Hi! Can you help me with Rust?", "Hi! Can you help me with Rust?"),
        ("Version 3.11 is out. Why?", "Version 3.11 is out"),
        ("# Plan\n\nWrite a **bold** `plan` for [us](https://x.y).", "Plan Write a bold plan for us"),
        ("- first point of a list\n- second", "first point of a list"),
        ("```python\nprint(1)\n```\nWhy does this print 1?", "Why does this print 1?"),
        ("```python\nprint('only code here')\n```", "print('only code here')"),
        ("今天天气怎么样？明天呢？", "今天天气怎么样？"),
        ("2 * 3 * 4 and snake_case_name stay", "2 * 3 * 4 and snake_case_name stay"),
        ("\x1b]0;owned\x07 hello", "␛]0;owned␇ hello"),
        ("...", "..."),
    ],
)
def test_titles(text: str, title: str) -> None:
    assert make_title(text) == title


def test_long_ones_are_cut_between_words_and_chinese_anywhere() -> None:
    title = make_title("Please " + "explain " * 40)
    assert title.endswith("explain…")
    assert len(title) <= LIMIT
    assert len(make_title("天地玄黄宇宙洪荒" * 20)) == LIMIT


@given(st.text(max_size=3000))
def test_any_text_makes_one_safe_line(text: str) -> None:
    title = make_title(text)
    assert len(title) <= LIMIT
    assert "\n" not in title
    assert printable(title) == title
    assert bool(title) or not "".join(printable(text).split())


def test_a_long_prompt_costs_no_time() -> None:
    for text in ("*" * 1_000_000, "[" * 1_000_000, "`" * 500_000 + "a" * 500_000, "> " * 500_000):
        assert len(make_title(text)) <= LIMIT
