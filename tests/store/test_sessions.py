"""What goes wrong with a database is named: damaged, busy, unwritable, unknown."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chatbot.errors import ConfigError, DatabaseBusy, DatabaseDamaged, DatabaseUnwritable, StoreError
from chatbot.store import open_store
from chatbot.store.backup import KEPT, back_up
from chatbot.store.migrations import open_upgraded
from chatbot.store.replies import NewConversation
from chatbot.store.sessions import Database, database_name, parse_url

NEW = NewConversation("t", "default", "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chatbot.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_a_file_that_is_no_database(path: Path, url: str) -> None:
    path.write_bytes(b"not a database at all " * 100)
    with pytest.raises(DatabaseDamaged, match="There is no backup"):
        open_upgraded(url)


def test_a_damaged_database_names_its_newest_backup(path: Path, url: str) -> None:
    with open_upgraded(url) as store:
        for number in range(60):
            store.replies.add_prompt(NEW, f"message {number} " * 400)
        store.back_up()
        newest = store.back_up()
    content = bytearray(path.read_bytes())
    for page in range(len(content) // 8192, len(content) // 4096 - 1):
        content[page * 4096 : page * 4096 + 2048] = b"\xff" * 2048
    path.write_bytes(content)
    with open_store(url) as store:
        assert store.verify()
        with pytest.raises(DatabaseDamaged, match=str(newest)):
            for conversation in store.conversations.list(limit=1000):
                store.messages.transcript(conversation.id)


def test_a_full_disk_loses_nothing_that_was_kept(url: str) -> None:
    """`max_page_count` makes SQLite report a full disk exactly as the file system would (SQLITE_FULL)."""
    with open_upgraded(url) as store:
        kept = store.replies.add_prompt(NEW, "kept")
        with store._database.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DatabaseUnwritable, match="full"):
            store.replies.add_prompt(kept.conversation_id, "x" * 100_000)
        assert [message.content for message in store.messages.transcript(kept.conversation_id)] == ["kept"]
        assert store.verify() == []
        with store._database.read() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        store.replies.add_prompt(kept.conversation_id, "x" * 100_000)


def test_a_lock_held_for_too_long(path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_upgraded(url).close()
    monkeypatch.setattr("chatbot.store.sessions.BUSY_SECONDS", 0.1)
    with open_store(url) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match=str(path)):
            store.replies.add_prompt(NEW, "hello")
        other.execute("ROLLBACK")
        store.replies.add_prompt(NEW, "hello")


def test_a_table_that_is_missing_is_a_store_error(path: Path, url: str) -> None:
    open_upgraded(url).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE draft")
    with open_store(url) as store, pytest.raises(StoreError, match="draft"):
        store.conversations.draft(None)


def test_urls() -> None:
    with pytest.raises(ConfigError, match="no URL"):
        parse_url("chatbot")
    with pytest.raises(ConfigError, match="No database of the kind"):
        parse_url("nosuch://x/y")
    assert "secret" not in database_name(parse_url("postgresql://me:secret@host/chatbot"))


def test_a_driver_that_is_not_installed() -> None:
    with pytest.raises(ConfigError, match=r"MySQLdb|mysqlclient"):
        Database("mysql://host/chatbot")


def test_backups_are_whole_kept_few_and_never_overwrite(path: Path, url: str, tmp_path: Path) -> None:
    with open_upgraded(url) as store:
        store.replies.add_prompt(NEW, "hello")
        made = [store.back_up() for _ in range(KEPT + 3)]
        assert sorted((tmp_path / "backups").iterdir()) == made[-KEPT:]
        target = tmp_path / "elsewhere" / "copy.db"
        assert store.back_up(target) == target
        with pytest.raises(DatabaseUnwritable, match="exists"):
            store.back_up(target)
    with open_store(f"sqlite:///{target}") as copy:
        assert [item.title for item in copy.conversations.list()] == ["t"]
        assert copy.verify() == []
    with pytest.raises(StoreError, match="no database"):
        back_up(tmp_path / "missing.db")


def test_verify_finds_a_tree_that_is_not_sound(path: Path, url: str) -> None:
    with open_upgraded(url) as store:
        first = store.replies.add_prompt(NEW, "a")
        second = store.replies.add_prompt(NEW, "b")
        child = store.replies.add_prompt(second.conversation_id, "c")
        assert store.verify() == []
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE message SET parent_id = ? WHERE id = ?", (first.id, child.id))
        assert any("another conversation" in problem for problem in store.verify())
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE message SET parent_id = ? WHERE id = ?", (child.id, second.id))
            connection.execute("UPDATE message SET parent_id = ? WHERE id = ?", (second.id, child.id))
        assert any("cannot be reached" in problem for problem in store.verify())
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE message SET parent_id = 'nobody' WHERE id = ?", (child.id,))
        assert any("missing" in problem for problem in store.verify())
