"""`chatbot config`: what the settings are, where each came from, and where the file is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from chatbot.text import printable_line

app = typer.Typer(help="Show the settings and where they come from.", no_args_is_help=True)


@app.command()
def show(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: {name: {value, source, help}}.")] = False,
) -> None:
    """Every setting with its value, its source and its meaning.

    Sources, later ones win: default, config.toml, CHATBOT_* variables.

    Examples:

    \b
      chatbot config show
      CHATBOT_ENGINE_DEVICE=cpu chatbot config show --json
    """
    from chatbot.config import find_home, load_settings, read_config_file

    home = find_home()
    settings = load_settings(home)
    rows = list(_list_settings(settings, read_config_file(home.config_file)))
    if as_json:
        typer.echo(json.dumps({name: {"value": v, "source": s, "help": h} for name, v, s, h in rows}, indent=2))
        return
    width = max(len(name) for name, *_ in rows)
    for name, value, source, meaning in rows:
        shown = printable_line(json.dumps(value, ensure_ascii=False))
        typer.echo(f"{name:<{width}}  {shown}" + ("" if source == "default" else f"   ({source})"))
        typer.secho(f"{'':<{width}}  {meaning}", dim=True)


@app.command()
def path(
    as_json: Annotated[bool, typer.Option("--json", help="All folders, for scripts.")] = False,
) -> None:
    """Where config.toml is looked for (it need not exist).

    Examples:

    \b
      $EDITOR "$(chatbot config path)"
      chatbot config path --json
    """
    from chatbot.config import find_home

    home = find_home()
    if as_json:
        folders = {"config": home.config_file, "data": home.data, "state": home.state, "runtime": home.runtime}
        typer.echo(json.dumps({name: str(folder) for name, folder in folders.items()}, indent=2))
    else:
        typer.echo(home.config_file)


def _list_settings(settings: Any, content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, str, str]]:
    """(name, value, source, meaning) of each setting; a secret is shown as set or not set."""
    from pydantic import BaseModel, SecretStr

    from chatbot.config import hide_password

    for key, field in type(settings).model_fields.items():
        value = getattr(settings, key)
        name = prefix + key
        given = content.get(key)
        if isinstance(value, BaseModel):
            yield from _list_settings(value, given if isinstance(given, dict) else {}, f"{name}.")
            continue
        variable = f"CHATBOT_{name.replace('.', '_').upper()}"
        source = variable if variable in os.environ else "config.toml" if key in content else "default"
        shown = ("(set)" if value.get_secret_value() else "") if isinstance(value, SecretStr) else value
        if name in {"engine.url", "database"}:
            shown = hide_password(value)
        yield name, shown, source, " ".join((field.description or "").split())
