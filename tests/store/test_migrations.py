"""The schema: models and migrations agree, old databases come up whole, and only one process migrates."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from chatbot.errors import DatabaseDamaged, DatabaseTooNew, DatabaseUnwritable, StoreError
from chatbot.files import package_folder
from chatbot.store import open_store
from chatbot.store.backup import KEPT, back_up
from chatbot.store.database import NEWEST, Store
from chatbot.store.migrations import open_upgraded, upgrade
from chatbot.store.replies import NewConversation
from chatbot.store.schema import SCHEMA
from chatbot.store.search_tables import is_ours
from chatbot.store.sessions import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chatbot.db"


def make_url(path: Path) -> str:
    return f"sqlite:///{path}"


def write_down(item: Any) -> str:
    """A constraint or index as text, its SQL fragments too (an object's own repr names only its address)."""
    options = {name: str(value) for name, value in item.get("dialect_options", {}).items()}
    return str({**item, "dialect_options": options})


def describe(connection: Connection) -> dict[str, Any]:
    """Everything that a schema consists of, CHECK constraints included, which Alembic does not compare."""
    found = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"]) for column in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table),
            "checks": sorted(write_down(item) for item in found.get_check_constraints(table)),
            "foreign": sorted(write_down(item) for item in found.get_foreign_keys(table)),
            "unique": sorted(write_down(item) for item in found.get_unique_constraints(table)),
            "indexes": sorted(write_down(item) for item in found.get_indexes(table)),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def test_the_migrations_make_what_the_tables_say(path: Path) -> None:
    upgrade(make_url(path))
    migrated, declared = Database(make_url(path)), Database("sqlite://")
    with declared.write() as connection:
        SCHEMA.create_all(connection)
        wanted = describe(connection)
    with migrated.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "include_name": is_ours}
        )
        assert compare_metadata(context, SCHEMA) == []
        assert describe(connection) == wanted
    assert len([table for table in wanted if is_ours(table, "table")]) == 22
    migrated.close()
    declared.close()


def test_the_newest_migration_is_the_one_written_down() -> None:
    assert ScriptDirectory(str(package_folder("migrations"))).get_heads() == [NEWEST]


def test_opening_a_database_loads_alembic_only_if_it_must(path: Path) -> None:
    upgrade(make_url(path))
    program = (
        "import sys; from chatbot.store.migrations import open_upgraded; "
        f"open_upgraded({make_url(path)!r}).close(); print('alembic' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_files_are_private(path: Path) -> None:
    with open_upgraded(make_url(path)) as store:
        store.replies.add_prompt(NewConversation("", "default", ""), "hello")
        with store._database.write() as connection:
            connection.exec_driver_sql("UPDATE message SET content = 'open'")
            beside = [item for item in path.parent.iterdir() if item.name.startswith(path.name) and item.is_file()]
            assert len(beside) >= 3  # the database, its journal or WAL, the lock
            assert {stat.S_IMODE(item.stat().st_mode) for item in beside} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    backup = path.parent / "backups"
    with open_store(make_url(path)) as store:
        assert stat.S_IMODE(store.back_up().stat().st_mode) == 0o600
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700


THIRD = """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    with op.batch_alter_table("conversation") as table:
        table.add_column(sa.Column("colour", sa.Text(), nullable=False, server_default="blue"))
    with op.batch_alter_table("message", recreate="always") as table:
        table.alter_column("finish_reason", new_column_name="ended_by")
"""


ANOTHER_THIRD = """
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    for table in ("reply_state", "search_entry"):
        assert not op.get_bind().exec_driver_sql(f"SELECT * FROM {table}").all()
"""


def write_third(folder: Path, more: str = "") -> Path:
    scripts = folder / "migrations"
    shutil.copytree(package_folder("migrations"), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "0003_third.py").write_text(THIRD + more)
    return scripts


def fill(path: Path) -> None:
    with open_upgraded(make_url(path)) as store:
        version = store.model_versions.find_or_add_base("m", sha256="1", template_sha="2", path="/m")
        for text in ("one", "two"):
            user = store.replies.add_prompt(NewConversation(text, "default", ""), text)
            reply = store.replies.new_id()
            store.replies.start(reply, user.id, version, "2", {"seed": 1})
            store.replies.finish(reply, f"reply to {text}", "complete", "stop", {"seed": 1})


def test_a_later_migration_keeps_old_rows_and_leaves_a_backup(path: Path, tmp_path: Path, monkeypatch: Any) -> None:
    fill(path)
    monkeypatch.setattr("chatbot.store.database.NEWEST", "0003")
    done = upgrade(make_url(path), scripts=write_third(tmp_path), target="0003")
    assert (done.before, done.after) == ("0002", "0003")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT content, ended_by FROM message ORDER BY id").fetchall()
        assert rows == [("one", ""), ("reply to one", "stop"), ("two", ""), ("reply to two", "stop")]
        assert connection.execute("SELECT title, colour, tip_id IS NULL FROM conversation ORDER BY id").fetchall() == [
            ("one", "blue", 0),
            ("two", "blue", 0),
        ]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert done.backup is not None
    with closing(sqlite3.connect(done.backup)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (4,)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("    raise RuntimeError('half way')\n", RuntimeError),
        ("    op.execute('DELETE FROM conversation')\n", DatabaseDamaged),
    ],
)
def test_a_migration_that_fails_changes_nothing(
    path: Path, tmp_path: Path, monkeypatch: Any, failure: str, error: type[Exception]
) -> None:
    fill(path)
    before = sqlite3.connect(path).execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
    monkeypatch.setattr("chatbot.store.database.NEWEST", "0003")
    with pytest.raises(error):
        upgrade(make_url(path), scripts=write_third(tmp_path, failure), target="0003")
    with closing(sqlite3.connect(path)) as connection:
        after = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        assert after == before
        assert connection.execute("SELECT count(*) FROM message").fetchone() == (4,)
    monkeypatch.undo()
    with Store.open(make_url(path)) as store:
        assert store.verify() == []


FIRST = """
INSERT INTO conversation VALUES
    ('01990000-0000-7000-8000-000000000001', 'Über', 'über', 'default', '', '{}', NULL, 0, 0, 0, :now, :now),
    ('01990000-0000-7000-8000-000000000002', 'binned', 'binned', 'default', '', '{}', NULL, 0, 0, 1, :now, :now);
INSERT INTO model_version VALUES ('v', 'base', 'm', 1, NULL, '/m', '', '', '', '', :now);
INSERT INTO message (id, conversation_id, parent_id, role, status, finish_reason, writer, model_version_id, generation,
    content, hidden, template_sha, created_at) SELECT '01990000-0000-7000-8000-00000000' || column1,
    '01990000-0000-7000-8000-00000000000' || column2, '01990000-0000-7000-8000-00000000' || column3, column4, column5,
    column6, column7, column8, column9, column10, 0, '', :now FROM (VALUES
    ('0011', 1, NULL, 'user', 'complete', '', '', NULL, '{}', '今天天气怎么样'),
    ('0012', 1, '0011', 'assistant', 'complete', 'stop', '', 'v', '{"mean_logprob": -2.0}', 'rated answer'),
    ('0013', 1, '0011', 'assistant', 'complete', 'length', '', 'v', '{}', 'approved answer'),
    ('0014', 1, '0011', 'assistant', 'streaming', '', 'nobody', 'v', '{}', 'half an'),
    ('0021', 2, NULL, 'user', 'complete', '', '', NULL, '{}', 'binned question'));
UPDATE conversation SET tip_id = (SELECT max(id) FROM message WHERE conversation_id = conversation.id);
INSERT INTO feedback VALUES
    ('f1', '01990000-0000-7000-8000-000000000012', -1, '{"a": 1}', 'too long', '', NULL, 'me', :now),
    ('f2', '01990000-0000-7000-8000-000000000013', NULL, '{}', '', '', '01990000-0000-7000-8000-000000000012', 'me',
    :now);
INSERT INTO review VALUES ('r', '01990000-0000-7000-8000-000000000013', 'approve', 'good', 'me', :now);
INSERT INTO safety_event VALUES ('s', '01990000-0000-7000-8000-000000000012', 'output', 'c', 1.0, 'a', :now);
INSERT INTO label VALUES ('l', '01990000-0000-7000-8000-000000000011', 'topic', 'weather', 0.5, 'me', :now);
"""


def test_a_database_of_the_first_schema_comes_up_with_all_its_rows_searchable_and_queued(path: Path) -> None:
    assert upgrade(make_url(path), target="0001").after == "0001"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(FIRST.replace(":now", "'2026-01-01 00:00:00.000000'"))
    done = upgrade(make_url(path))
    assert (done.before, done.after) == ("0001", NEWEST)
    with Store.open(make_url(path)) as store:
        assert store.verify() == []
        reply, approved = ("01990000-0000-7000-8000-0000000000" + end for end in ("12", "13"))
        assert [hit.message_id for hit in store.search.find("answer")] == [approved, reply]
        assert [hit.message_id for hit in store.search.find("天")] == [reply[:-1] + "1"]
        assert [entry.message_id for entry in store.review_queue.list()] == [reply]
        assert store.review_queue.list()[0].concern.name == "RATED_DOWN"
        assert store.judgements.get(reply).comment == "too long"
        assert store.messages.get(approved).decision == "approve"
        first, second = store.judgements.history(approved)
        assert {first.preferred_over, second.preferred_over} == {reply, None}
        assert {first.note, second.note} == {"good", ""}
        assert first.written_by == {}
        assert store.judgements.is_flagged(reply)
        # What nothing wrote and no type fits is passed through without harm, and the next word replaces it.
        assert store.judgements.get(reply).tags == ("a",)
        archived = store.archive.read(store.logs.list()[0].conversation.id)
        assert archived.messages[1].feedback[0].tags == ("a",)
        store.judgements.say(reply, author="me", tags=["b"], rating=0)
        assert store.judgements.get(reply).tags == ("b",)
        assert store.replies.mark_interrupted() == 1
        assert [hit.snippet for hit in store.search.find("half")] == ["half an"]
        store.judgements.decide([approved], "withdraw", author="me")  # a decision that 0001 did not know
        assert len(store.review_queue.list()) == 3
        assert store.verify() == []
        with store._database.read() as opened:
            assert opened.exec_driver_sql("SELECT kind, value FROM label").all() == [("topic", "weather")]
            # No default is left: whoever adds a judgement says what wrote the reply.
            assert "DEFAULT" not in str(opened.exec_driver_sql("SELECT sql FROM sqlite_master").all())


def test_what_follows_from_other_tables_is_made_after_the_last_migration(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(make_url(path), target="0001")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(FIRST.replace(":now", "'2026-01-01 00:00:00.000000'"))
    scripts = write_third(tmp_path)
    (scripts / "versions" / "0003_third.py").write_text(ANOTHER_THIRD)
    monkeypatch.setattr("chatbot.store.database.NEWEST", "0003")
    upgrade(make_url(path), scripts=scripts, target="0003")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM reply_state").fetchone() == (3,)
        assert connection.execute("SELECT count(*) FROM search_entry").fetchone() == (4,)


def test_an_older_database_is_refused_until_it_is_upgraded(path: Path) -> None:
    with pytest.raises(StoreError, match=r"no database.*chatbot db upgrade"):
        open_store(make_url(path))
    assert not path.parent.exists()
    path.parent.mkdir()
    path.touch()
    with pytest.raises(StoreError, match=r"is empty.*chatbot db upgrade"):
        open_store(make_url(path))
    upgrade(make_url(path))
    open_store(make_url(path)).close()


def test_a_newer_database_is_refused_and_both_versions_named(path: Path) -> None:
    upgrade(make_url(path))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0977'")
    for open_it in (open_store, open_upgraded):
        with pytest.raises(DatabaseTooNew, match=rf"0977.*{NEWEST}"):
            open_it(make_url(path))


def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    content = path.read_bytes()
    with pytest.raises(StoreError, match="another program's"):
        upgrade(make_url(path))
    assert path.read_bytes() == content


def test_several_starters_make_one_database(path: Path) -> None:
    program = f"from chatbot.store.migrations import open_upgraded; open_upgraded({make_url(path)!r}).close()"
    starters = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(4)]
    errors = [starter.communicate(timeout=60)[1].decode() for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * 4, errors
    with open_store(make_url(path)) as store:
        assert store.verify() == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseUnwritable, match=r"file/chatbot\.db"):
        open_upgraded(make_url(tmp_path / "file" / "chatbot.db"))


def test_backups_of_a_neighbour_are_left_alone(tmp_path: Path) -> None:
    from chatbot.store.sessions import list_backups

    path, neighbour = tmp_path / "chatbot.db", tmp_path / "chatbot-work.db"
    for database in (path, neighbour):
        upgrade(f"sqlite:///{database}")
    own = tmp_path / "backups" / "chatbot-20250101-keep.db"
    theirs = [back_up(neighbour) for _ in range(KEPT)]
    own.write_bytes(b"mine")
    made = [back_up(path) for _ in range(KEPT + 2)]
    assert list_backups(path) == made[-KEPT:]
    assert all(file.exists() for file in [*theirs, own])
