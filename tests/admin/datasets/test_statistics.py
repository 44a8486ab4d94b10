"""Figures of a dataset."""

from __future__ import annotations

import pytest

from chatbot.admin.datasets.statistics import describe_lengths, find_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello, how are you?", "en"),
        ("Größe und Füße", "de"),
        ("Quelle est la capitale de la France ?", "fr"),
        ("¿Cuál es la capital de España?", "es"),
        ("Zyxomatic", "unclear"),
        ("你好，世界", "zh"),
        ("我用 Python 写了一个程序", "zh"),
        ("これは日本語の文章です", "ja"),
        ("漢字ばかりの文章を書く", "ja"),
        ("안녕하세요", "ko"),
        ("Привет, мир", "ru"),
        ("مرحبا بالعالم", "ar"),
        ("สวัสดี", "th"),
        ("42 + 1 = 43 🎉", "other"),
        ("", "other"),
    ],
)
def test_a_language_is_told_by_its_script(text: str, language: str) -> None:
    assert find_language(text) == language


def test_lengths_are_told_by_nearest_rank() -> None:
    assert describe_lengths(list(range(1, 101))) == {"median": 50, "p95": 95, "max": 100, "total": 5050}
    assert describe_lengths([7]) == {"median": 7, "p95": 7, "max": 7, "total": 7}
    assert describe_lengths([]) == {"median": 0, "p95": 0, "max": 0, "total": 0}
