"""Backups and soundness.

A backup is VACUUM INTO: a compact copy of one committed state, taken while others read and write. It appears under its
name only when it is whole, and is readable by its owner only.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from chatbot.errors import ChatbotError, DatabaseDamaged, DatabaseUnwritable, StoreError
from chatbot.files import make_private_folder, sync_folder
from chatbot.store.sessions import BUSY_SECONDS, Database, list_backups, name_sqlite_error

KEPT = 5
_PROBLEMS_SHOWN = 20


def back_up(path: Path, target: Path | None = None) -> Path:
    """Copies the SQLite database `path` to `target`, by default into `backups` beside it, where the newest KEPT stay.

    Raises StoreError; an existing `target` is refused (it may be the only good copy there is).
    """
    chosen = target or path.parent / "backups" / f"{path.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.db"
    if not path.is_file():
        raise StoreError(f"There is no database {path} to back up.")
    if chosen.exists():
        raise DatabaseUnwritable(f"{chosen} exists already.", hint="Choose another name.")
    try:
        make_private_folder(chosen.parent)
        descriptor, name = tempfile.mkstemp(dir=chosen.parent, prefix=f".{chosen.name}.")
        os.close(descriptor)  # an empty file that is private already; SQLite fills it
    except OSError as error:
        raise DatabaseUnwritable(f"{chosen.parent} cannot be written: {error.strerror}.") from None
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (name,))
        _sync_file(Path(name))
        Path(name).replace(chosen)
        sync_folder(chosen.parent)
    except sqlite3.Error as error:
        raise name_sqlite_error(error, str(path), path) from error
    except OSError as error:
        raise DatabaseUnwritable(f"{chosen} cannot be written: {error.strerror}.") from None
    finally:
        Path(name).unlink(missing_ok=True)
    if target is None:
        for old in list_backups(path)[:-KEPT]:
            old.unlink(missing_ok=True)
    return chosen


def find_problems(database: Database) -> list[str]:
    """What is wrong with a database, in sentences; empty if it is sound. Reads all of it."""
    problems: list[str] = []
    try:
        with database.read() as connection:
            if database.engine.dialect.name == "sqlite":
                rows = connection.exec_driver_sql(f"PRAGMA integrity_check({_PROBLEMS_SHOWN})").scalars()
                problems += [f"integrity: {row}" for row in rows if row != "ok"]
                for table, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                    problems.append(f"a row of {table} names a row of {parent} that is missing")
            for sentence, query in _TREE_CHECKS.items():
                count = connection.scalar(text(query))
                if count:
                    problems.append(f"{count} {sentence}")
    except DatabaseDamaged as error:
        problems.append(error.message)
    except ChatbotError as error:
        if not problems:
            raise
        problems.append(error.message)
    return problems[:_PROBLEMS_SHOWN]


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


_TREE_CHECKS = {
    "messages have a parent in another conversation": """
        SELECT count(*) FROM message AS child JOIN message AS parent ON parent.id = child.parent_id
        WHERE parent.conversation_id <> child.conversation_id""",
    "conversations end in a message that is missing or is another conversation's": """
        SELECT count(*) FROM conversation LEFT JOIN message ON message.id = conversation.tip_id
        WHERE conversation.tip_id IS NOT NULL
        AND (message.id IS NULL OR message.conversation_id <> conversation.id)""",
    "conversations have messages but no branch on screen": """
        SELECT count(*) FROM conversation WHERE tip_id IS NULL
        AND EXISTS (SELECT 1 FROM message WHERE message.conversation_id = conversation.id)""",
    "messages cannot be reached from the beginning of their conversation": """
        WITH RECURSIVE reachable(id, conversation_id) AS (
            SELECT id, conversation_id FROM message WHERE parent_id IS NULL
            UNION ALL
            SELECT message.id, message.conversation_id FROM reachable JOIN message
            ON message.conversation_id = reachable.conversation_id AND message.parent_id = reachable.id)
        SELECT (SELECT count(*) FROM message) - (SELECT count(*) FROM reachable)""",
    "finished messages still name a writer": """
        SELECT count(*) FROM message WHERE status <> 'streaming' AND writer <> ''""",
}
