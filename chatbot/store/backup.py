"""Backups and soundness.

A backup is VACUUM INTO: a compact copy of one committed state, taken while others read and write. It appears under its
name only when it is whole, and is readable by its owner only.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from chatbot.errors import ChatbotError, DatabaseDamaged, DatabaseUnwritable, StoreError
from chatbot.files import make_private_folder, sync_folder
from chatbot.store.sessions import BACKUP_NAME, BUSY_SECONDS, Database, list_backups, name_sqlite_error

KEPT = 5
_PROBLEMS_SHOWN = 20


def back_up(path: Path, target: Path | None = None, *, kept: int = KEPT) -> Path:
    """Copies the SQLite database `path` to `target`, by default into `backups` beside it, where the newest `kept` stay.

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
        for old in list_backups(path)[:-kept]:
            old.unlink(missing_ok=True)
    return chosen


def list_leftovers(path: Path) -> list[Path]:
    """The unfinished copies that a killed `back_up` of the database `path` left; also those of one that is at work."""
    pattern = re.compile(r"\." + BACKUP_NAME.format(stem=re.escape(path.stem)) + r"\..*")
    return sorted(file for file in (path.parent / "backups").glob(".*") if pattern.fullmatch(file.name))


def find_problems(database: Database) -> list[str]:
    """What is wrong with a database, in sentences; empty if it is sound. Reads all of it."""
    problems: list[str] = []
    try:
        with database.read() as connection:
            is_sqlite = database.engine.dialect.name == "sqlite"
            if is_sqlite:
                rows = connection.exec_driver_sql(f"PRAGMA integrity_check({_PROBLEMS_SHOWN})").scalars()
                problems += [f"integrity: {row}" for row in rows if row != "ok"]
                for table, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                    problems.append(f"a row of {table} names a row of {parent} that is missing")
            for sentence, query in _TREE_CHECKS.items():
                if count := connection.scalar(text(query)):
                    problems.append(f"{count} {sentence}")
            for sentence, query in {**_STATE_CHECKS, **(_SEARCH_CHECKS if is_sqlite else {})}.items():
                if count := connection.scalar(text(query)):
                    problems.append(f"{count} {sentence} (`chatbot db reindex` mends it)")
        if is_sqlite:
            problems += _check_search_index(database)
    except DatabaseDamaged as error:
        problems.append(error.message)
    except ChatbotError as error:
        if not problems:
            raise
        problems.append(error.message)
    return problems[:_PROBLEMS_SHOWN]


def _check_search_index(database: Database) -> list[str]:
    """FTS5 checks itself by a statement that pretends to write, and says only that something is wrong. It holds the
    write lock while it reads the index, so others who write wait for it; it commits nothing, so readers need not."""
    try:
        with database.read() as connection:
            connection.exec_driver_sql("INSERT INTO message_search (message_search) VALUES ('integrity-check')")
    except DatabaseDamaged:
        return ["the search index is damaged (`chatbot db reindex` mends it)"]
    return []


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

_STATE_CHECKS = {
    "replies have no state, so that no queue or filter shows them": """
        SELECT count(*) FROM message WHERE role = 'assistant' AND status <> 'streaming'
        AND NOT EXISTS (SELECT 1 FROM reply_state WHERE reply_state.message_id = message.id)""",
    "replies have a state that is not what was judged of them": """
        SELECT count(*) FROM reply_state JOIN message ON message.id = reply_state.message_id
        WHERE reply_state.conversation_id <> message.conversation_id OR message.role <> 'assistant'
        OR reply_state.rating <> coalesce((
            SELECT rating FROM feedback WHERE feedback.message_id = reply_state.message_id AND rating IS NOT NULL
            ORDER BY created_at DESC, id DESC LIMIT 1), 0)
        OR reply_state.decision <> coalesce((
            SELECT CASE decision WHEN 'withdraw' THEN '' ELSE decision END FROM review
            WHERE review.message_id = reply_state.message_id ORDER BY created_at DESC, id DESC LIMIT 1), '')
        OR reply_state.waiting <> (message.content <> '' AND message.status <> 'streaming' AND NOT message.hidden
            AND reply_state.decision NOT IN ('approve', 'reject'))
        OR reply_state.waiting AND reply_state.concern = 0""",
}

_SEARCH_CHECKS = {
    "messages are not in the search index": """
        SELECT count(*) FROM message WHERE status <> 'streaming' AND content <> ''
        AND NOT EXISTS (SELECT 1 FROM search_entry WHERE search_entry.message_id = message.id)""",
    "entries of the search index belong to no message": """
        SELECT count(*) FROM message_search_docsize
        WHERE NOT EXISTS (SELECT 1 FROM search_entry JOIN message ON message.id = search_entry.message_id
        WHERE search_entry.number = message_search_docsize.id)""",
    "entries of the search index have no words": """
        SELECT count(*) FROM search_entry
        WHERE NOT EXISTS (SELECT 1 FROM message_search_docsize WHERE id = search_entry.number)""",
}
