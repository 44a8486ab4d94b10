"""The page in the terminal fits its width and shows only what is safe."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from chatbot.admin.evaluation.records import Comparison
from chatbot.cli.admin.reporting import render_terminal
from tests.admin.evaluation.reports import make_hostile_report, make_report


@pytest.mark.parametrize("width", [40, 72, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    comparisons = (Comparison("为什么" * 60, "x" * 500, "a b " * 200, "🎉" * 200),)
    for report in (make_report(), make_report(comparisons=comparisons), make_hostile_report()):
        page = render_terminal(report, width)
        assert max(map(cell_len, page.splitlines())) <= width
        assert not set(page) & {"\x1b", "\x07", "\u202e"}


def test_the_verdict_comes_first_and_the_figures_follow() -> None:
    lines = render_terminal(make_report(), 110).splitlines()
    assert lines[0] == "identity-2 against identity-1, on identity 2"
    assert lines[1] == "The candidate is better."
    assert lines[2].startswith("for it     Better at what it was trained for")
    (figure,) = [line for line in lines if line.startswith("held-out: loss")]
    assert figure.split()[-8:] == ["2.100", "1.412", "−0.688", "−0.800", "to", "−0.570", "64", "▲"]
    assert "Candidate  –" in lines


def test_long_replies_are_cut_and_the_rest_is_counted() -> None:
    report = make_report(comparisons=(Comparison("p", "word " * 400, "c", "d"),) * 9)
    page = render_terminal(report, 80)
    assert page.count("…") == 5
    assert len(page.splitlines()) < 70
    assert "4 more replies" in page
