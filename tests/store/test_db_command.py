"""`chatbot db`: what it prints, for a person and for a script, and its exit codes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chatbot.cli.db import app
from chatbot.config import Home
from chatbot.errors import DatabaseDamaged, DatabaseTooNew, StoreError
from chatbot.store import open_store
from chatbot.store.database import NEWEST
from chatbot.store.replies import NewConversation

RUNNER = CliRunner()


def run(*arguments: str) -> str:
    result = RUNNER.invoke(app, arguments)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.stdout


def test_make_back_up_and_check(home: Home, tmp_path: Path) -> None:
    assert json.loads(run("path", "--json")) == {"database": str(home.data / "chatbot.db")}
    path = Path(run("path").strip())
    assert not path.exists()
    with pytest.raises(StoreError, match="chatbot db upgrade"):
        run("check")
    assert json.loads(run("upgrade", "--json")) == {"before": None, "after": NEWEST, "backup": None}
    assert "newest version" in run("upgrade")
    with open_store(f"sqlite:///{path}") as store:
        store.replies.add_prompt(NewConversation("kept", "default", ""), "hello")
    assert json.loads(run("check", "--json")) == {"database": str(path), "sound": True, "problems": []}
    copy = Path(json.loads(run("backup", str(tmp_path / "copy.db"), "--json"))["backup"])
    with open_store(f"sqlite:///{copy}") as store:
        assert store.conversations.list()[0].title == "kept"
    assert Path(run("backup").strip()).parent == path.parent / "backups"


def test_problems_are_told_and_fail(home: Home) -> None:
    run("upgrade")
    backup = run("backup").strip()
    with closing(sqlite3.connect(home.data / "chatbot.db")) as connection, connection:
        connection.execute(
            "INSERT INTO draft VALUES ('', 'x', '2026-01-01 00:00:00.000000')",
        )
        connection.execute("INSERT INTO alias VALUES ('champion', 'nothing', '2026-01-01 00:00:00.000000')")
    result = RUNNER.invoke(app, ["check"])
    assert "a row of alias names a row of model_version that is missing" in result.stdout
    assert isinstance(result.exception, DatabaseDamaged)
    assert result.exception.exit_code == 4
    assert backup in result.exception.hint


def test_a_damaged_index_is_told_and_made_anew(home: Home) -> None:
    run("upgrade")
    path = home.data / "chatbot.db"
    with open_store(f"sqlite:///{path}") as store:
        store.replies.add_prompt(NewConversation("kept", "default", ""), "needle")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM search_entry")
    result = RUNNER.invoke(app, ["check"])
    assert "1 messages are not in the search index (`chatbot db reindex` mends it)" in result.stdout
    result = RUNNER.invoke(app, ["reindex"])
    assert (result.exit_code, result.stderr) == (0, "Reading all messages…\n")
    assert "made anew" in result.stdout
    assert "is sound" in run("check")
    assert json.loads(run("reindex", "--json")) == {"database": str(path)}
    with open_store(f"sqlite:///{path}") as store:
        assert len(store.search.find("needle")) == 1


def test_scrubbing_rewrites_the_file(home: Home) -> None:
    run("upgrade")
    path = home.data / "chatbot.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        with connection:
            connection.execute("INSERT INTO draft VALUES ('', 'zyxomatic', '2026-01-01 00:00:00.000000')")
        with connection:
            connection.execute("DELETE FROM draft")
    assert b"zyxomatic" in path.read_bytes()
    assert "Nothing of deleted or masked texts is left" in run("scrub")
    assert b"zyxomatic" not in path.read_bytes()
    assert json.loads(run("scrub", "--json")) == {"database": str(path)}


def test_a_newer_database_stops_every_command_that_opens_it(home: Home) -> None:
    run("upgrade")
    with closing(sqlite3.connect(home.data / "chatbot.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0977'")
    for command in ("upgrade", "check", "backup", "reindex", "scrub"):
        with pytest.raises(DatabaseTooNew, match="0977"):
            run(command)
    assert run("path")
