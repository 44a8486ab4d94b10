"""`chatbot logs list` and `search`: what there is, and where something was said."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.logs.describing import entry_to_json, shorten
from chatbot.cli.logs.filters import Filters, with_filters
from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.options import AsJson, Limit, Offset
from chatbot.cli.logs.printing import SHORT, find_width, fit, lay_out, print_json, print_text, style, tell
from chatbot.cli.logs.texts import check_text
from chatbot.cli.logs.times import show_day
from chatbot.text import printable

if TYPE_CHECKING:
    from chatbot.store.logs import LogEntry
    from chatbot.store.search import Hit

_WIDE = 100  # columns from which there is room for models
_SPACES = re.compile(r"\s+")


@with_filters()
def list_conversations(asked: Filters, limit: Limit = 20, offset: Offset = 0, as_json: AsJson = False) -> None:
    """Lists conversations, the newest first.

    Marks: ▲ replies rated up, ▼ rated down, ✓ approved, ✗ rejected, ? waiting for a review.

    Examples:

    \b
      chatbot logs list
      chatbot logs list --since 7d --rating down
      chatbot logs list --text "boiling water" --json | jq -r '.[].id'
    """
    with open_log() as log:
        found = log.store.logs.list(asked.resolve(log.store), limit=limit + 1, offset=offset)
    entries = found[:limit]
    if as_json:
        print_json([entry_to_json(entry) for entry in entries])
        return
    if not entries:
        tell("There are no conversations yet." if asked.is_empty and not offset else "No conversation matches.")
        return
    print_text("\n".join(_draw_table(entries)))
    if len(found) > limit:
        tell(f"There are more: --offset {offset + limit}")


def _draw_table(entries: list[LogEntry]) -> list[str]:
    width = find_width()
    named = width >= _WIDE and any(entry.models for entry in entries)
    rows = [
        [
            shorten(entry.conversation.id),
            show_day(entry.conversation.updated),
            str(entry.messages),
            _draw_marks(entry),
            *([", ".join(entry.models)] if named else []),
            entry.conversation.title,
        ]
        for entry in entries
    ]
    titles = ["ID", "CHANGED", "SAID", "MARKS", *(["MODELS"] if named else []), "TITLE"]
    limits = {3: 18, 4: 24} if named else {3: 18}
    return lay_out(titles, rows, flexible=len(titles) - 1, right=[2], limits=limits, width=width)


def _draw_marks(entry: LogEntry) -> str:
    marks = {"▲": entry.up, "▼": entry.down, "✓": entry.approved, "✗": entry.rejected, "?": entry.waiting}
    return " ".join(f"{mark}{count}" for mark, count in marks.items() if count)


@with_filters("text")
def search(
    query: Annotated[list[str], typer.Argument(help='Words; "quotation marks" keep some together.')],
    asked: Filters,
    limit: Limit = 20,
    offset: Offset = 0,
    as_json: AsJson = False,
) -> None:
    """Finds messages in which all the words stand.

    The newest first. A word of four or more letters also finds longer ones that begin with it. Any language: one
    Chinese character is enough.

    Examples:

    \b
      chatbot logs search boiling water
      chatbot logs search '"seven minutes"' --since 2w
      chatbot logs search 汉字 --json | jq -r '.[].message'
    """
    words = check_text(" ".join(query), "The query")
    with open_log() as log:
        found = log.store.search.find(words, asked.resolve(log.store), limit=limit + 1, offset=offset)
    hits = found[:limit]
    if as_json:
        print_json([_hit_to_json(hit) for hit in hits])
        return
    if not hits:
        tell("Nothing was found.")
        return
    print_text("\n".join(line for hit in hits for line in _draw_hit(hit, find_width())))
    if len(found) > limit:
        tell(f"There are more: --offset {offset + limit}")


def _hit_to_json(hit: Hit) -> dict[str, Any]:
    return {
        "message": hit.message_id,
        "conversation": hit.conversation_id,
        "title": hit.title,
        "role": hit.role,
        "model": hit.model,
        "created": hit.created,
        "snippet": hit.snippet,
        "spans": hit.spans,
    }


def _draw_hit(hit: Hit, width: int) -> list[str]:
    """Where it was said, and below it what."""
    head = f"{show_day(hit.created):<10}  {hit.role:<9}  "
    return [
        head + fit(hit.title, width - len(head) - SHORT - 2) + "  " + shorten(hit.message_id),
        "  " + draw_snippet(hit.snippet, hit.spans, width - 2),
    ]


def draw_snippet(text: str, spans: Sequence[tuple[int, int]], width: int) -> str:
    """`text` on one line of at most `width` cells with what stands in `spans` marked where colours are; the first of
    them is always to be seen."""
    from rich.cells import cell_len, set_cell_size

    places = [0, *(place for span in spans for place in span), len(text)]
    parts = [_SPACES.sub(" ", printable(text[start:end])) for start, end in itertools.pairwise(places)]
    before = parts[0].lstrip()
    room = max(width // 3, width - cell_len("".join(parts[1:]).rstrip()) - 1)
    if cell_len(before) > room:  # its end is what matters
        before = "…" + set_cell_size(before[::-1], room - 1)[::-1].lstrip()
    drawn, left = "", width - 1
    for place, part in enumerate([before, *parts[1:]]):
        last = place == len(parts) - 1
        shown = part.rstrip() if last else part
        if cell_len(shown) > left + last:
            shown = set_cell_size(shown, left).rstrip() + "…"
        left -= cell_len(shown)
        drawn += style(shown, fg="yellow", bold=True) if place % 2 and shown else shown
        if left <= 0:
            break
    return drawn
