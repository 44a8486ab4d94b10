"""Connections: how SQLite is opened, what a transaction is, and what its errors mean.

The sqlite3 driver's own transaction handling is switched off (`isolation_level=None`): it would leave half a schema
behind a failed migration. Every write transaction is BEGIN IMMEDIATE, because a deferred one takes the write lock only
at its first write, and two writers that both began by reading then fail in spite of any timeout.

Whatever a driver raises becomes one of our StoreErrors in one place, `_name_error`, by SQLite's error code.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, ExceptionContext, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from chatbot.errors import (
    ConfigError,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnwritable,
    StoreError,
)
from chatbot.files import make_private_folder

BUSY_SECONDS = 5.0
BACKUP_NAME = r"{stem}-\d{{8}}T\d{{6}}\.\d{{6}}Z\.db"
# Before 3.51.3 two connections that write and checkpoint a WAL database at the same instant can corrupt it.
_SAFE_WAL = (3, 51, 3)

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNWRITABLE = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}


class Database:
    """One database: reading and writing transactions on pooled connections, usable from several threads."""

    def __init__(self, url: str, *, foreign_keys: bool = True) -> None:
        self.url = parse_url(url)
        self.name = database_name(self.url)
        self.path = database_path(self.url)
        if self.path:
            _make_private_file(self.path)
        self.engine = _make_engine(self.url, foreign_keys)
        # Threads take turns at the one connection of a database in memory.
        self._turn = threading.RLock() if isinstance(self.engine.pool, StaticPool) else nullcontext()
        event.listen(self.engine, "handle_error", self._name_error)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with self._turn, _last_resort(self.name), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start and is on the disk when the block ends."""
        with self._turn, _last_resort(self.name), self.engine.connect() as connection:
            connection.execution_options(chatbot_write=True)
            with connection.begin():
                yield connection

    def vacuum(self) -> None:
        """Rewrites the file of an SQLite database without its free pages, and empties its WAL if there is one."""
        with self._turn, self.engine.connect() as connection:
            # The driver's own connection, because VACUUM must stand outside of a transaction.
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            try:
                raw.execute("VACUUM")
                (busy, *_) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                raise name_sqlite_error(error, self.name, self.path) from error
        if busy:
            raise DatabaseBusy(
                f"Another process reads {self.name}, so its WAL cannot be emptied.",
                hint="Close other programs that use this database, then try again.",
            )

    def close(self) -> None:
        self.engine.dispose()

    def _name_error(self, context: ExceptionContext) -> None:
        error = context.original_exception
        if isinstance(error, sqlite3.Error):
            raise name_sqlite_error(error, self.name, self.path) from error
        if context.sqlalchemy_exception is not None:
            raise StoreError(f"The database {self.name} refused: {_first_line(error)}") from error


@contextmanager
def _last_resort(name: str) -> Iterator[None]:
    """Names what SQLAlchemy raises by itself, without a driver's error behind it, such as a pool that ran dry."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(f"The database {name} refused: {_first_line(error)}") from error


def parse_url(url: str) -> URL:
    """Raises ConfigError for what is no database URL or has no driver here."""
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except NoSuchModuleError:
        raise ConfigError(f"No database of the kind {url.split(':', 1)[0]!r} is known.") from None
    except (ArgumentError, ValueError):  # a port that is no number
        raise ConfigError("The database setting is no URL.", hint="Give a path, or sqlite:///path.") from None
    return parsed


def database_path(url: URL) -> Path | None:
    """The file, None for a database in memory or on a server."""
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database)).absolute()


def database_name(url: URL) -> str:
    """How a person knows the database: its path, or its URL without the password."""
    return str(database_path(url) or url.render_as_string(hide_password=True))


def name_sqlite_error(error: sqlite3.Error, name: str, path: Path | None) -> StoreError:
    """Our error for one of sqlite3's. The code, not the wording, decides."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code in _BUSY:
        return DatabaseBusy(
            f"Another process has held the write lock of {name} for {BUSY_SECONDS:.0f} seconds.",
            hint="Close other programs that use this database, then try again.",
        )
    if code in _DAMAGED:
        return DatabaseDamaged(f"{name} is damaged or is no database: {error}.", hint=how_to_restore(path))
    if code in _UNWRITABLE:
        hint = "Free some space, then try again." if code == sqlite3.SQLITE_FULL else "Is the disk full or read-only?"
        return DatabaseUnwritable(f"{name} cannot be written: {error}.", hint=hint)
    return StoreError(f"The database {name} refused: {error}.")


def how_to_restore(path: Path | None) -> str:
    """What to do about a damaged database; names its newest backup."""
    if path is None:
        return ""
    backups = list_backups(path)
    if not backups:
        return "There is no backup of it. Move the file away to begin anew."
    return f"The newest backup is {backups[-1]}: move the damaged file away and copy the backup to its place."


def list_backups(path: Path) -> list[Path]:
    """The backups that `back_up` made of the database `path`, oldest first; no other file, however alike its name."""
    pattern = re.compile(BACKUP_NAME.format(stem=re.escape(path.stem)))
    return sorted(file for file in (path.parent / "backups").glob("*.db") if pattern.fullmatch(file.name))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _make_private_file(path: Path) -> None:
    """An empty file, readable by its owner only, if there is none: SQLite gives journals the same permissions."""
    try:
        make_private_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseUnwritable(f"{path} cannot be opened: {error.strerror}.", hint="Check the permissions.") from None
    os.close(descriptor)


def _make_engine(url: URL, foreign_keys: bool) -> Engine:
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"The driver for {url.drivername} is not installed: {error.name}.", hint=f"pip install {error.name}"
            ) from None
    arguments: dict[str, Any] = {"check_same_thread": False, "timeout": BUSY_SECONDS, "isolation_level": None}
    if database_path(url) is None:
        # All of it lives in its one connection, so there can be only that one.
        engine = create_engine(url, connect_args=arguments, poolclass=StaticPool)
    else:
        engine = create_engine(url, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        wal = sqlite3.sqlite_version_info >= _SAFE_WAL
        connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        connection.execute("PRAGMA synchronous = FULL")
        # Always, not only while something is forgotten: a growing reply and a renamed title free copies all the time.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("chatbot_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
