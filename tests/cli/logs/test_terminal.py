"""What is different on a terminal: questions, colours, the editor, pipes that break."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from chatbot.store.database import Store
from chatbot.store.tables import MessageRow
from tests.cli.logs.talks import EGGS, PRIVATE, TEN, run
from tests.terminal.conftest import Terminal


@pytest.fixture
def ask() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str, **environment: str) -> Terminal:
        known = {**os.environ, "TERM": "xterm-256color", **environment}
        opened.append(Terminal(known, "-m", "chatbot", "logs", *arguments, columns=100))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def test_forgetting_asks_and_no_keeps_everything(log: Store, ask: Callable[..., Terminal]) -> None:
    terminal = ask("forget", EGGS)
    terminal.until_shown("[y/N]")
    assert "Boiling eggs" in terminal.text
    terminal.write("n\n")
    terminal.until_shown("Aborted")
    assert log.conversations.get(EGGS).id == EGGS


def test_redacting_asks_and_yes_masks(log: Store, ask: Callable[..., Terminal]) -> None:
    terminal = ask("redact", PRIVATE)
    terminal.until_shown("[y/N]")
    assert "»" not in terminal.text  # colours mark the finding
    terminal.write("y\n")
    terminal.until_shown("Masked.")
    assert "[e-mail]" in run("show", PRIVATE).out


def test_the_editor_opens_with_the_reply(log: Store, ask: Callable[..., Terminal], tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "%s It depends." "$(cat "$1")" > "$1"\n')
    editor.chmod(0o700)
    terminal = ask("correct", TEN, EDITOR=str(editor), VISUAL="")
    terminal.until_shown("is approved")
    assert "Ten minutes. It depends." in run("show", EGGS).out


@pytest.mark.parametrize("editor", ["true", "sh -c 'echo >> \"$0\"'"])
def test_an_editor_that_changes_nothing_makes_no_correction(
    log: Store, ask: Callable[..., Terminal], editor: str
) -> None:
    reply = log.messages.get(TEN)
    with log._database.write() as connection:
        connection.execute(update(MessageRow).where(MessageRow.id == reply.id).values(content="One.\r\nTwo.\n"))
    terminal = ask("correct", TEN, EDITOR=editor, VISUAL="")
    terminal.until_shown("nothing is changed")
    assert log.messages.get(TEN).siblings == 1


def test_an_editor_that_fails_changes_nothing(log: Store, ask: Callable[..., Terminal]) -> None:
    terminal = ask("correct", TEN, EDITOR="false", VISUAL="")
    terminal.until_shown("status 1")
    assert log.messages.get(TEN).siblings == 1


@pytest.mark.parametrize(("variable", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_hits_are_coloured_unless_nobody_wants_it(
    log: Store, ask: Callable[..., Terminal], variable: dict[str, str], coloured: bool
) -> None:
    terminal = ask("search", "seven", **variable)
    terminal.until_shown("for seven minutes")
    assert (b"\x1b[" in terminal.raw) is coloured


@pytest.mark.parametrize("command", [["list"], ["show", EGGS], ["export"], ["stats", "--json"]])
def test_a_reader_who_leaves_is_no_error(log: Store, command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "chatbot", "logs", *command], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_encoding_without_the_signs_is_no_error(log: Store) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "chatbot", "logs", "list"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0
    assert b"?????" in done.stdout


def test_no_command_loads_a_model_or_a_screen(log: Store) -> None:
    program = (
        "import sys\nfrom chatbot.cli.main import app\n"
        "app(['logs', 'list'], standalone_mode=False)\n"
        "print(*[name for name in ('torch', 'transformers', 'textual', 'alembic', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
