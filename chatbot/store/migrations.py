"""Bringing a database to the newest schema.

All pending migrations are one transaction: a database is at the old version or at the new one, never between. Before
it stands a backup. Foreign keys are off while tables are rebuilt, because SQLite's ON DELETE CASCADE would empty the
children of a table that is dropped to be made anew; `foreign_key_check` runs before the commit instead.

Starting the chat calls this each time. Alembic takes a fifth of a second to import, so it is loaded only for a
database that needs it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from chatbot.errors import DatabaseBusy, DatabaseDamaged, DatabaseUnwritable, StoreError
from chatbot.files import package_folder
from chatbot.store import reply_states, search_index
from chatbot.store.backup import back_up
from chatbot.store.database import NEWEST, Store, check_version, read_version
from chatbot.store.sessions import Database

DERIVED_SINCE = "0002"
"""The version that brought the tables which follow from others, the search index and the states of replies, or changed
what stands in them. An older database gets them anew after its last migration: only then are all tables as this program
knows them, so that no migration need know how they are filled."""

_WAIT_SECONDS = 60.0
_ADVISORY_KEY = 0x63686174626F74  # "chatbot"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What `upgrade` did. `before` is None for a database that was empty; `backup` is None if there was no need."""

    before: str | None
    after: str
    backup: Path | None


def open_upgraded(url: str) -> Store:
    """The store at `url`, made or brought to the newest schema first. Raises StoreError."""
    upgrade(url)
    return Store.open(url)


def upgrade(url: str, *, scripts: Path | None = None, target: str = NEWEST) -> Upgrade:
    """Brings the database at `url` to `target`; concurrent callers wait for the first.

    `scripts` is the folder of migrations, by default the one that the program ships. Raises StoreError, and the
    database is then as it was.
    """
    database = Database(url, foreign_keys=False)
    try:
        before = _read(database, target)
        if before == target:
            return Upgrade(before, target, None)
        with _only_one(database):
            before = _read(database, target)
            if before == target:
                return Upgrade(before, target, None)
            backup = back_up(database.path) if database.path and before is not None else None
            with database.write() as connection:
                _migrate(connection, scripts or _find_scripts(), target)
                if before is not None and before < DERIVED_SINCE <= target:
                    search_index.rebuild(connection)
                    reply_states.refresh_all(connection)
                _check_foreign_keys(connection, database.name)
            return Upgrade(before, target, backup)
    finally:
        database.close()


def _read(database: Database, target: str) -> str | None:
    with database.read() as connection:
        version = read_version(connection)
    if version != target:
        check_version(version, database.name)
    return version


def _find_scripts() -> Path:
    try:
        return package_folder("migrations")
    except FileNotFoundError as error:
        raise StoreError(f"The installation is not whole: {error}.", hint="Install chatbot again.") from None


def _migrate(connection: Connection, scripts: Path, target: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, target)
    except CommandError as error:
        raise StoreError(f"The database cannot be brought to version {target}: {error}.") from error


def _check_foreign_keys(connection: Connection, name: str) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise DatabaseDamaged(
            f"{name}: after the migration {len(broken)} rows of {broken[0][0]} and others would name missing rows.",
            hint="Nothing was changed. `chatbot db check` tells more.",
        )


@contextmanager
def _only_one(database: Database) -> Iterator[None]:
    """Holds the lock of migrations: a file beside the database, or an advisory lock of the server."""
    if database.path is None:
        if database.engine.dialect.name == "postgresql":
            with database.read() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_KEY})
                try:
                    yield
                finally:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_KEY})
        else:
            yield
        return
    path = database.path.with_name(f"{database.path.name}.migrating")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseUnwritable(f"{path} cannot be written: {error.strerror}.") from None
    try:
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DatabaseBusy(
                        f"Another process has been migrating {database.name} for {_WAIT_SECONDS:.0f} seconds.",
                        hint="Wait for it, or end it.",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)  # which drops the lock; the empty file stays, so that all always lock the same one
