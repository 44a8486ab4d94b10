"""What an import may cost: the light entry points load no heavy library."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "textual", "sqlalchemy", "alembic", "pydantic", "httpx", "rich", "typer")


def list_loaded(code: str, names: tuple[str, ...]) -> list[str]:
    program = f"{code}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_import_chatbot_loads_nothing() -> None:
    assert list_loaded("import chatbot", HEAVY) == []


@pytest.mark.parametrize("module", ["chatbot.cli.main", "chatbot.config", "chatbot.engine.protocol"])
def test_the_command_line_loads_no_model_and_no_screen(module: str) -> None:
    assert list_loaded(f"import {module}", ("torch", "transformers", "textual", "sqlalchemy", "alembic")) == []


def test_the_first_frame_needs_no_database_and_no_model() -> None:
    heavy = ("torch", "transformers", "sqlalchemy", "alembic", "httpx")
    assert list_loaded("import chatbot.terminal.app", heavy) == []


@pytest.mark.parametrize("module", ["chatbot.dialogue.manager", "chatbot.models.template", "chatbot.engine.client"])
def test_the_terminals_process_never_loads_torch(module: str) -> None:
    assert list_loaded(f"import {module}", ("torch", "transformers", "textual")) == []
