"""`chatbot db`: the database's schema, backups and soundness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from chatbot.errors import DatabaseDamaged
from chatbot.text import printable_line

app = typer.Typer(help="The database of conversations: upgrade, back up, check, mend.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")]


@app.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to the newest schema, or make it; a backup is taken first.

    The chat and `chatbot ask` do the same when they start.

    Examples:

    \b
      chatbot db upgrade
    """
    from chatbot.store.migrations import upgrade as upgrade_database

    url = _find_url()
    done = upgrade_database(url)
    backup = str(done.backup) if done.backup else None
    if done.before == done.after:
        text = f"The database is at the newest version, {done.after}."
    elif done.before is None:
        text = f"The database was made, at version {done.after}."
    else:
        text = f"The database went from version {done.before} to {done.after}." + (
            f" Backup: {backup}" if backup else ""
        )
    _print(as_json, text, before=done.before, after=done.after, backup=backup)


@app.command()
def backup(
    target: Annotated[
        Path | None,
        typer.Argument(
            help="The copy's path. Without it: the folder `backups` beside the database.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database while it is in use; the copy is whole and readable by you only.

    In the folder `backups` the five newest are kept.

    Examples:

    \b
      chatbot db backup
      chatbot db backup /media/stick/chatbot.db
    """
    from chatbot.store.migrations import open_upgraded

    with open_upgraded(_find_url()) as store:
        path = store.back_up(target.absolute() if target else None)
    _print(as_json, str(path), backup=str(path))


@app.command()
def check(as_json: AsJson = False) -> None:
    """Read the whole database and say what is wrong with it; exit code 4 if anything is.

    Examples:

    \b
      chatbot db check
      chatbot db check --json | jq .problems
    """
    from chatbot.store import open_store
    from chatbot.store.sessions import how_to_restore

    with open_store(_find_url()) as store:
        problems = store.verify()
        name, hint = store.name, how_to_restore(store.path)
    if as_json:
        typer.echo(json.dumps({"database": name, "sound": not problems, "problems": problems}, indent=2))
    elif not problems:
        typer.echo(f"{printable_line(name)} is sound.")
    else:
        for problem in problems:
            typer.echo(printable_line(problem))
    if problems:
        raise DatabaseDamaged(f"{name} has {len(problems)} problems.", hint=hint)


@app.command()
def reindex(as_json: AsJson = False) -> None:
    """Make the search index and the review queue anew, from the messages and what was judged of them.

    `chatbot db check` says when it is needed. Close the chat before: over a million messages it takes minutes, in
    which nothing else can write.

    Examples:

    \b
      chatbot db reindex
    """
    from chatbot.store.migrations import open_upgraded

    with open_upgraded(_find_url()) as store:
        if not as_json:
            typer.echo("Reading all messages…", err=True)
        store.reindex()
        name = store.name
    _print(as_json, "The search index and the review queue are made anew.", database=name)


@app.command()
def scrub(as_json: AsJson = False) -> None:
    """Rewrite the search index and the file, so that nothing of deleted or masked texts is left in them.

    `chatbot logs forget` and `redact` do it themselves, and say so if they could not. Close the chat before. It needs
    as much free space as the database takes.

    Examples:

    \b
      chatbot db scrub
    """
    from chatbot.cli.logs.waiting import show_work
    from chatbot.store.migrations import open_upgraded

    with open_upgraded(_find_url()) as store:
        with show_work("rewriting") as say:
            store.erasure.scrub(say)
        name = store.name
    _print(as_json, f"Nothing of deleted or masked texts is left in {name}.", database=name)


@app.command()
def path(as_json: AsJson = False) -> None:
    """Where the database is (it need not exist yet).

    Examples:

    \b
      sqlite3 "$(chatbot db path)"
    """
    from chatbot.store.sessions import database_name, parse_url

    name = database_name(parse_url(_find_url()))
    _print(as_json, name, database=name)


def _find_url() -> str:
    from chatbot.config import find_home, load_settings

    home = find_home()
    return home.database_url(load_settings(home))


def _print(as_json: bool, text: str, **values: Any) -> None:
    typer.echo(json.dumps(values, indent=2) if as_json else printable_line(text))
