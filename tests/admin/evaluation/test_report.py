"""A report says the same in every form, and nothing that a model wrote is obeyed by any reader of it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from chatbot.admin.evaluation.curves import HEIGHT, WIDTH, draw_chart, find_ticks
from chatbot.admin.evaluation.figures import write_row, write_verdict
from chatbot.admin.evaluation.records import Comparison, Measure
from chatbot.admin.evaluation.report import from_json, render_html, render_markdown, to_json
from chatbot.errors import InvalidInput
from tests.admin.evaluation.reports import HOSTILE, make_hostile_report, make_report

VOID = {"meta", "line", "circle", "polyline", "br"}


class Page(HTMLParser):
    """The tags and texts of a page, which must be well nested."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_everything_and_asks_for_nothing() -> None:
    source = render_html(make_report())
    page = Page(source)
    for part in ("identity-2 against identity-1", "2.100", "1.412", "−0.800 to −0.570", "The candidate is better."):
        assert part in page.text
    for part in (
        "▲ better",
        "▼ worse",
        "· unclear",
        "training loss",
        "held-out loss",
        "我是小艾。",
        "(nothing)",
        "step",
    ):
        assert part in page.text
    assert page.tags["polyline"] == 4  # two curves and the legend
    assert page.tags["article"] == 2
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"href", "src"}]
    assert not re.search(r"url\(|@import", source)
    assert "prefers-color-scheme: dark" in source
    assert "default-src 'none'" in source


def test_hostile_text_is_text_on_the_page() -> None:
    source = render_html(make_hostile_report())
    page, plain = Page(source), Page(render_html(make_report(comparisons=make_report().comparisons[:1])))
    assert set(page.tags) <= set(plain.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"href", "src"}]
    assert "<script>alert(1)</script>" in page.text
    assert not set(source) & {"\x1b", "\x07", "\u202e"}


def test_markdown_says_the_same() -> None:
    text = render_markdown(make_report())
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<h1>identity-2 against identity-1: better</h1>" in html
    for part in (
        "<td>held-out</td>",
        "−0.800 to −0.570",
        "▲ better",
        "我是小艾。",
        "<em>(nothing)</em>",
        "<em>for it</em>",
    ):
        assert part in html
    assert html.count("<table>") == 3
    assert "Held-out loss during training" in html


def test_hostile_text_is_text_in_markdown() -> None:
    html = MarkdownIt("gfm-like").render(render_markdown(make_hostile_report()))
    page = Page(html)
    assert not {"script", "img", "a", "s"} & set(page.tags)
    assert page.tags["h1"] == 1
    assert page.tags["h3"] == 1
    assert page.tags["pre"] == 4
    assert page.tags["td"] == 2 * 8 + 8 + 2 * 6  # the facts, the one figure, the curve
    assert not set(html) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.parametrize("text", ["```", "````\n```", "`", "~~~", "\n\n", "", "    indented", "- a\n- b"])
def test_a_reply_stays_in_its_fence(text: str) -> None:
    source = render_markdown(make_report(comparisons=(Comparison("p", text, "c", "END"),)))
    page = Page(MarkdownIt("commonmark").enable("table").render(source))
    assert page.tags["pre"] == (4 if text.strip() else 3)
    assert "END" in page.text


def test_a_report_comes_back_from_json() -> None:
    report = make_report(needed=120, verdict="undecided")
    assert from_json(to_json(report)) == report
    assert from_json(json.dumps(to_json(report))) == report


def test_what_is_no_number_survives_json() -> None:
    broken = Measure("held-out", "loss", math.nan, 2.0, 1, "lower", -math.inf, math.inf, math.inf)
    plain = to_json(make_report(measures=(broken,), curve=((1, math.nan),)))
    back = from_json(json.dumps(plain, allow_nan=False))
    assert math.isnan(back.measures[0].candidate)
    assert back.measures[0].low is None
    assert math.isnan(back.curve[0][1])


@pytest.mark.parametrize(
    "value",
    ["", "[]", "{}", "nonsense", b"\xff", "[" * 100_000, '{"measures": 3}', '{"measures": [1]}', '{"curve": [[1]]}'],
)
def test_what_is_no_report_is_refused(value: str | bytes) -> None:
    with pytest.raises(InvalidInput):
        from_json(value)


def test_a_field_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(InvalidInput, match="verdict"):
        from_json({**to_json(make_report()), "verdict": "splendid"})


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (Measure("general", "accuracy", 0.5, 0.625, 8, "higher", -0.3, -0.01), ("62.5", "50.0", "−12.5", "worse")),
        (Measure("held-out", "loss", 1.0, 1.25, 8, "lower", -0.4, -0.1), ("1.250", "1.000", "−0.250", "better")),
        (Measure("replies", "chrF", 41.04, 40.0, 8, "higher", -3, 4), ("40.0", "41.0", "+1.0", "unclear")),
        (Measure("people", "rated up", 3, 1, 4), ("1", "3", "+2", "")),
        (Measure("held-out", "loss", math.nan, 1.25, 8, "lower", -math.inf, math.inf), ("1.250", "–", "–", "unclear")),
    ],
)
def test_a_figure_is_written_as_people_read_it(measure: Measure, expected: tuple[str, ...]) -> None:
    row = write_row(measure)
    assert (row.champion, row.candidate, row.difference, row.sign) == expected


def test_an_undecided_verdict_names_what_would_decide() -> None:
    assert "1,234 held-out" in write_verdict(make_report(verdict="undecided", needed=1234))
    assert write_verdict(make_report(verdict="undecided")) == "Undecided."


def test_a_page_needs_no_curve_and_no_replies() -> None:
    report = make_report(curve=(), held_out_curve=(), comparisons=(), measures=(), reasons=(), settings=None)
    assert not Page(render_html(report)).tags["svg"]
    assert "Replies" not in render_markdown(report)


@pytest.mark.parametrize(
    "points",
    [
        [(5, 1.0)],
        [(1, 2.0), (2, 2.0)],
        [(1, 1e300), (2, -1e300)],
        [(1, 1e-300), (10**15, 3e-300)],
        [(1, math.nan), (2, math.inf), (3, 1.0)],
        [(step, 1 / (1 + step)) for step in range(50_000)],
    ],
)
def test_every_curve_stays_within_its_frame(points: list[tuple[int, float]]) -> None:
    chart = draw_chart([("training", "loss", tuple(points))])
    assert chart is not None
    (line,) = chart.lines
    places = [tuple(map(float, place.split(","))) for place in line.points.split()]
    assert 1 <= len(places) <= 600
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert all(chart.top <= tick.place <= chart.bottom for tick in chart.y_ticks)
    assert all(chart.left <= tick.place <= chart.right for tick in chart.x_ticks)


def test_a_curve_without_points_is_not_drawn() -> None:
    assert draw_chart([("training", "loss", ()), ("held-out", "loss", ((1, math.nan),))]) is None


@pytest.mark.parametrize(("low", "high"), [(0.9, 3.3), (0.0, 1.0), (1.01, 1.02), (-5.0, 700.0)])
def test_ticks_are_round_and_enclose_the_values(low: float, high: float) -> None:
    ticks = find_ticks(low, high, 6)
    assert ticks[0] <= low < high <= ticks[-1]
    assert 3 <= len(ticks) <= 8
    assert max(len(f"{tick:.6g}") for tick in ticks) <= 6


def test_to_json_holds_only_what_json_knows() -> None:
    settings: dict[str, Any] = {"path": object(), "list": (1, math.inf)}
    plain = to_json(make_report(settings=settings, candidate=HOSTILE))
    json.dumps(plain, allow_nan=False)
    assert plain["settings"]["list"] == [1, None]
