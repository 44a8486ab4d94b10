"""A report as Markdown, as one HTML page, and as JSON.

Everything in it that a model, a person or a file wrote is hostile: a reply may hold markup, scripts, fences of
backticks, marks that turn the text around. The HTML page is escaped by its template, needs no script and no network,
and forbids itself both; in Markdown such text stands in fences longer than any inside it, or has its signs escaped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from chatbot.admin.evaluation.curves import draw_chart
from chatbot.admin.evaluation.figures import WEIGHTS, list_facts, list_rows, thin, write_verdict
from chatbot.admin.evaluation.records import Report
from chatbot.errors import InvalidInput
from chatbot.text import printable, printable_line

_TEMPLATE = "report.html.jinja"
_LOOKS = 12  # points of the held-out curve in Markdown
_SPECIAL = re.compile(r"[\\`*_\[\]<>&|~#!$@]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def render_html(report: Report) -> str:
    """One file that holds all it needs. Light or dark as the reader's system is."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"printable": printable, "line": printable_line}
    template = environment.from_string(Path(__file__).with_name(_TEMPLATE).read_text("utf-8"))
    chart = draw_chart(
        [("training", "training loss", report.curve), ("held-out", "held-out loss", report.held_out_curve)]
    )
    page = template.render(
        report=report,
        weights=WEIGHTS,
        verdict=write_verdict(report),
        facts=list_facts(report),
        suites=list(list_rows(report)),
        chart=chart,
    )
    return page + "\n"


def render_markdown(report: Report) -> str:
    """CommonMark with tables, as GitHub shows it."""
    return "\n".join(_write_markdown(report))


def _write_markdown(report: Report) -> Iterator[str]:
    yield f"# {_escape(report.candidate)} against {_escape(report.champion)}: {report.verdict}\n"
    yield f"**{write_verdict(report)}**\n"
    for reason in report.reasons:
        yield f"- *{WEIGHTS[reason.weight]}* – {_escape(reason.text)}"
    yield "\n| | |\n| --- | --- |"
    for name, value in list_facts(report).items():
        yield f"| {_escape(name)} | {_escape(value)} |"
    yield "\n## Figures\n"
    yield "| Suite | Figure | Champion | Candidate | Difference | 95 % interval | n | |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for suite, rows in list_rows(report):
        for row in rows:
            numbers = f"{row.champion} | {row.candidate} | {row.difference} | {row.interval} | {row.n}"
            yield f"| {_escape(suite)} | {_escape(row.metric)} | {numbers} | {f'{row.mark} {row.sign}'.strip()} |"
    looks = thin(report.held_out_curve, _LOOKS)
    if looks:
        yield "\n## Held-out loss during training\n"
        yield "| Step | Loss |\n| ---: | ---: |"
        yield from (f"| {step:,} | {loss:.4f} |" for step, loss in looks)
    if report.comparisons:
        yield "\n## Replies"
    for number, one in enumerate(report.comparisons, 1):
        yield f"\n### {number}. {_escape(printable_line(one.prompt, 60))}\n"
        texts = {"Prompt": one.prompt, "Approved": one.reference, "Champion": one.champion, "Candidate": one.candidate}
        for name, text in texts.items():
            yield f"{name}:\n\n{_fence(text)}\n"


def to_json(report: Report) -> dict[str, Any]:
    """The report as JSON's own kinds: moments in ISO 8601, what is no finite number as null."""
    plain = _to_plain(report)
    assert isinstance(plain, dict)
    return plain


def from_json(value: str | bytes | Mapping[str, Any]) -> Report:
    """What `to_json` made, or its text. Raises InvalidInput if it is no report."""
    try:
        data = dict(value) if isinstance(value, Mapping) else json.loads(value)
        return TypeAdapter(Report).validate_python(_restore(data))
    except ValidationError as error:
        complaint = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(key) for key in complaint["loc"])
        raise InvalidInput(printable_line(f"This is no report: {place}: {complaint['msg']}.", 300)) from None
    except (ValueError, RecursionError, AttributeError, TypeError):
        raise InvalidInput("This is no report: it is not JSON, or not of its form.") from None


def _to_plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool) or value is None else str(value)


def _restore(data: dict[str, Any]) -> dict[str, Any]:
    """The null of a figure that must be there becomes what it was, no number."""
    measures = [
        {**one, **{side: math.nan for side in ("candidate", "champion") if one.get(side, 0) is None}}
        for one in data.get("measures", [])
    ]
    curves = {
        name: [(step, math.nan if loss is None else loss) for step, loss in data.get(name, [])]
        for name in ("curve", "held_out_curve")
    }
    return {**data, **curves, "measures": measures}


def _escape(text: str) -> str:
    """`text` on one line, with nothing in it that Markdown would read as more than text."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", printable_line(text))


def _fence(text: str) -> str:
    text = printable(text).strip("\n")
    if not text.strip():
        return "*(nothing)*"
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}text\n{text}\n{fence}"
