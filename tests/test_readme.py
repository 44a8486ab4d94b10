"""The README says what is true: its commands exist, its help is the program's own, its files are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text("utf-8")


def test_the_help_is_the_programs_own() -> None:
    run = subprocess.run(
        [sys.executable, REPOSITORY / "docs" / "write.py", "--check"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_every_command_that_is_shown_exists() -> None:
    from typer.main import get_command
    from typer.testing import CliRunner

    from chatbot.cli.main import app

    group: Any = get_command(app)
    commands = group.list_commands(group.context_class(group))
    shown = set(re.findall(r"`chatbot (\w+)", README)) | set(re.findall(r"^ +chatbot (\w+)", README, re.MULTILINE))
    assert shown
    assert shown <= set(commands)
    for name in commands:
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


def test_every_make_target_that_is_shown_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    shown = set(re.findall(r"^ +make (\w+)", README, re.MULTILINE))
    assert {"chat", "test", "check"} <= shown
    for target in shown:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_file_that_is_linked_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (REPOSITORY / link).exists(), link
