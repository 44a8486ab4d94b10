"""`chatbot admin dataset`: what is to be learnt, made from reviewed conversations and files, frozen and looked at."""

from __future__ import annotations

import typer

from chatbot.cli.admin.datasets import building, listing, moving, showing

app = typer.Typer(
    help="Datasets: build from the log and files, look at, compare, export, import.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

app.command(name="build")(building.build)
app.command(name="list")(listing.list_datasets)
app.command(name="show")(showing.show)
app.command(name="diff")(listing.diff)
app.command(name="export")(moving.export)
app.command(name="import")(moving.import_version)
app.command(name="delete")(listing.delete)
