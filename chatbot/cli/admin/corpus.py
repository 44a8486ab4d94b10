"""`chatbot admin corpus`: text to pretrain on, gathered from files and the log, cleaned, frozen and looked at."""

from __future__ import annotations

import typer

from chatbot.cli.admin.corpora import building, listing, showing

app = typer.Typer(
    help="Corpora: text to pretrain on, from files and the log.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

app.command(name="build")(building.build)
app.command(name="list")(listing.list_corpora)
app.command(name="show")(showing.show)
app.command(name="delete")(listing.delete)
