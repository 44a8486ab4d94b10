"""Which process writes a reply, and whether it still lives.

A row left `streaming` by a process that died must come back as `interrupted`, but a row that another chat is writing
at this moment must be left alone. Process numbers are used again and mean nothing in another container, and a
heartbeat would have to grow old before the user may go on. So each process that writes holds a lock with a name of its
own: the kernel (for SQLite, a lock on a file beside the database) or the server (for PostgreSQL, an advisory lock)
drops it at the moment of death, however that came.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, text

from chatbot.errors import DatabaseUnwritable, StoreError
from chatbot.files import make_private_folder
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.sessions import Database


class Presence:
    """The lock of this store, and a look at those of others."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers
        self._name = ""
        self._making = threading.Lock()
        self._descriptor = -1
        self._connection: Connection | None = None

    def name(self) -> str:
        """This store's name as a writer; the lock is taken when it is first asked for."""
        with self._making:
            if not self._name:
                name = self._identifiers.next()
                self._hold(name)
                self._name = name
        return self._name

    def lives(self, name: str) -> bool:
        """Whether the process that writes under `name` is alive."""
        if name == self._name:
            return True
        if folder := self._folder():
            return _is_locked(folder / name)
        if self._database.engine.dialect.name == "postgresql":
            with self._database.read() as connection:
                # The lock is free, and ours for an instant, exactly if nobody lives who held it.
                free = text("SELECT pg_try_advisory_xact_lock(:key)")
                return not connection.scalar(free, {"key": _advisory_key(name)})
        return False

    def close(self) -> None:
        if self._descriptor >= 0:
            folder = self._folder()
            assert folder is not None
            (folder / self._name).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
        if self._connection is not None:
            # Said aloud: the server would notice a closed connection only after a while.
            with suppress(StoreError), self._connection:
                self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _advisory_key(self._name)})
            self._connection = None
        self._name = ""

    def _folder(self) -> Path | None:
        path = self._database.path
        return path and path.with_name(f"{path.name}.writers")

    def _hold(self, name: str) -> None:
        if folder := self._folder():
            try:
                make_private_folder(folder)
                # Not inherited by child processes, so an engine that outlives the chat does not keep it.
                self._descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            except OSError as error:
                raise DatabaseUnwritable(
                    f"{folder} cannot be written: {error.strerror}.", hint="Is the disk full or read-only?"
                ) from None
        elif self._database.engine.dialect.name == "postgresql":
            self._connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _advisory_key(name)})


def _advisory_key(name: str) -> int:
    """63 bits of the identifier: its random half."""
    return int(name.replace("-", "")[16:], 16) & 0x7FFF_FFFF_FFFF_FFFF


def _is_locked(path: Path) -> bool:
    """Whether a process holds `path`; the file of a dead one is removed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # not ours to judge
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)
