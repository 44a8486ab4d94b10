"""`chatbot logs`: what was said, found again, judged, reviewed, redacted, exported, imported, forgotten, traced."""

from __future__ import annotations

import typer

from chatbot.cli.logs import (
    erasing,
    exporting,
    figures,
    importing,
    judging,
    listing,
    redacting,
    reviewing,
    showing,
    tracing,
)

app = typer.Typer(
    help="The conversations: find, judge, review, redact, export, import, forget, trace.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

app.command(name="list")(listing.list_conversations)
app.command(name="search")(listing.search)
app.command(name="show")(showing.show)
app.command(name="rate")(judging.rate)
app.command(name="tag")(judging.tag)
app.command(name="correct")(judging.correct)
app.command(name="prefer")(judging.prefer)
app.command(name="review")(reviewing.review)
app.command(name="redact")(redacting.redact)
app.command(name="stats")(figures.stats)
app.command(name="export")(exporting.export)
app.command(name="import")(importing.import_files)
app.command(name="delete")(erasing.delete)
app.command(name="forget")(erasing.forget)
app.command(name="lineage")(tracing.lineage)
