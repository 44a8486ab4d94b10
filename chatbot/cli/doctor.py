"""`chatbot doctor`: looks at everything a chat needs and says what to do about what is wrong."""

from __future__ import annotations

import json
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chatbot.errors import ChatbotError
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.config import Home, Settings

_LIBRARIES = ("torch", "transformers", "peft", "textual", "sqlalchemy")
_LOW_DISK = 2 << 30  # bytes: a database backup and a small model still fit
_MARKS = {"ok": ("✓", typer.colors.GREEN), "warning": ("!", typer.colors.YELLOW), "failed": ("✗", typer.colors.RED)}


@dataclass(frozen=True)
class Finding:
    """One line of the report. `advice` says what to do; empty when all is well."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    advice: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts: a list of findings.")] = False,
) -> None:
    """Checks versions, settings, device, model, database, engine and disk. Exits with 1 if something is broken.

    Examples:

    \b
      chatbot doctor
      chatbot doctor --json | jq '.[] | select(.status != "ok")'
    """
    findings = []
    for finding in _examine():
        findings.append(finding)
        if not as_json:
            mark, colour = _MARKS[finding.status]
            typer.secho(mark, fg=colour, nl=False)
            typer.echo(f" {finding.name:<9} {printable_line(finding.detail)}")
            if finding.advice:
                typer.echo(f"{'':<12}{printable_line(finding.advice)}")
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    if any(finding.status == "failed" for finding in findings):
        raise typer.Exit(1)


def _examine() -> Iterator[Finding]:
    from chatbot.config import find_home, load_settings

    home = find_home()
    yield _try("versions", _check_versions)
    try:
        settings = load_settings(home)
    except ChatbotError as error:
        yield Finding("settings", "failed", error.message, error.hint)
        return
    source = str(home.config_file) if home.config_file.exists() else "defaults (no config.toml)"
    yield Finding("settings", "ok", source)
    checks: dict[str, Callable[[], Finding]] = {
        "device": lambda: _check_device(settings),
        "model": lambda: _check_model(home, settings),
        "personas": lambda: _check_personas(home, settings),
        "terminal": lambda: _check_terminal(settings),
        "database": lambda: _check_database(home, settings),
        "engine": lambda: _check_engine(home, settings),
        "disk": lambda: _check_disk(home),
    }
    for name, check in checks.items():
        yield _try(name, check)


def _try(name: str, check: Callable[[], Finding]) -> Finding:
    """What is broken may break the check: the doctor tells that too, and goes on."""
    try:
        return check()
    except ChatbotError as error:
        return Finding(name, "failed", error.message, error.hint)
    except Exception as error:  # noqa: BLE001  for instance a library that cannot be imported
        return Finding(name, "failed", f"{type(error).__name__}: {error}", "Install chatbot again.")


def _check_versions() -> Finding:
    versions = [f"chatbot {metadata.version('chatbot')}", f"Python {platform.python_version()}"]
    versions += [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    versions.append(f"SQLite {sqlite3.sqlite_version}")
    detail = ", ".join(versions)
    return Finding("versions", "ok", detail)


def _check_device(settings: Settings) -> Finding:
    if settings.engine.url:
        return Finding("device", "ok", "the remote server's own")
    from chatbot.engine.loading import choose_device

    device, dtype = choose_device(settings.engine)
    return Finding("device", "ok", f"{device}, {dtype}")


def _check_model(home: Home, settings: Settings) -> Finding:
    if settings.engine.url:
        from chatbot.config import hide_password

        return Finding("model", "ok", f"{settings.model}, asked of {hide_password(settings.engine.url)}")
    from chatbot.dialogue.opening import read_champion
    from chatbot.models.library import ModelLibrary

    library = ModelLibrary(home.models)
    # What was promoted answers, and the model of the settings wherever nothing was.
    names = dict.fromkeys(name for name in (read_champion(settings, home), settings.model) if name)
    for name in names:
        library.verify(name)
    window = library.find(next(iter(names))).context
    return Finding("model", "ok", f"{', '.join(names)}: every file as its manifest says, window {window} tokens")


def _check_personas(home: Home, settings: Settings) -> Finding:
    from chatbot.dialogue.personas import Personas

    personas = Personas(home.personas)
    names = [persona.name for persona in personas.list()]
    if personas.problems:
        return Finding(
            "personas", "warning", " ".join(personas.problems), "What is named is left out until it is mended."
        )
    if settings.persona not in names:
        advice = f"Set `persona` in {home.config_file} to one of: {', '.join(names)}."
        return Finding("personas", "failed", f"there is no persona {settings.persona!r}", advice)
    return Finding("personas", "ok", ", ".join(names))


def _check_terminal(settings: Settings) -> Finding:
    from textual.theme import BUILTIN_THEMES

    from chatbot.terminal.actions import resolve_keys
    from chatbot.terminal.themes import THEMES

    _, problems = resolve_keys(settings.terminal.keys)
    themes = [theme.name for theme in THEMES]
    if settings.terminal.theme not in {*themes, *BUILTIN_THEMES}:
        problems.append(f"terminal.theme: there is no theme {settings.terminal.theme!r}; ours are {', '.join(themes)}.")
    if problems:
        return Finding("terminal", "warning", " ".join(problems), "The chat goes on with its own keys and theme.")
    return Finding("terminal", "ok", f"{settings.terminal.theme}, {len(settings.terminal.keys)} keys of your own")


def _check_database(home: Home, settings: Settings) -> Finding:
    from chatbot.store import open_store
    from chatbot.store.sessions import database_name, database_path, how_to_restore, parse_url

    url = parse_url(home.database_url(settings))
    name, path = database_name(url), database_path(url)
    if path and not path.exists():
        return Finding("database", "ok", f"{name}: not there yet, the first chat makes it")
    with open_store(home.database_url(settings)) as store:
        if problems := store.verify():
            return Finding("database", "failed", f"{name}: {problems[0]}", how_to_restore(path))
    return Finding("database", "ok", f"{name}: sound")


def _check_engine(home: Home, settings: Settings) -> Finding:
    import asyncio

    from chatbot.config import hide_password
    from chatbot.engine.client import connect_engine
    from chatbot.engine.protocol import Health

    async def look() -> Health:
        engine = connect_engine(settings, home)
        try:
            return await engine.health()
        finally:
            await engine.close()

    health = asyncio.run(look())
    told = " ".join(part for part in (health.model, health.detail) if part)
    where = hide_password(settings.engine.url) if settings.engine.url else f"private, {home.engine_socket}"
    if health.status == "failed":
        advice = "Is `engine.url` right, and does its server run?" if settings.engine.url else ""
        return Finding("engine", "failed", f"{where}: {told}", advice)
    state = told if health.status == "starting" else f"{health.status} {told}"
    return Finding("engine", "ok", f"{where}: {state.strip()}")


def _check_disk(home: Home) -> Finding:
    folder: Path = home.data
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free for {home.data}"
    if free < _LOW_DISK:
        return Finding("disk", "warning", detail, "Below 2 GB a model or a backup may not fit.")
    return Finding("disk", "ok", detail)
