"""Writes what in the README is made by the program itself: the help of every command.

`make docs` runs it; with --check it changes nothing and fails if the README is behind, which is what the tests ask.
The help is printed as on a terminal of 100 columns.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- commands: written by `make docs` -->", "<!-- end of commands -->"


def list_help(command: Any, name: str) -> Iterator[tuple[str, str]]:
    """(`chatbot models pull`, its help) for the command and everything below it."""
    context = command.context_class(command, info_name=name, terminal_width=100, max_content_width=100)
    yield name, command.get_help(context).replace("\b", "").rstrip()
    for child_name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from list_help(command.get_command(context, child_name), f"{name} {child_name}")


def render_commands() -> str:
    from chatbot.cli.main import app

    parts = []
    for name, text in list_help(typer.main.get_command(app), "chatbot"):
        lines = "\n".join(line.rstrip() for line in text.splitlines())
        parts.append(f"### `{name}`\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


def main() -> int:
    readme = README.read_text("utf-8")
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = f"{before}{BEGIN}\n\n{render_commands()}\n{END}{after}"
    if written == readme:
        return 0
    if "--check" in sys.argv:
        sys.stderr.write("README.md does not show the commands as they are: run `make docs`.\n")
        return 1
    README.write_text(written, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
