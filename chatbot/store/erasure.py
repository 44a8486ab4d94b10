"""Forgetting for good: what was said in a conversation leaves the database, its index, its free pages and its backups.

Deleting rows is not enough. SQLite leaves deleted bytes in the file, so `secure_delete` overwrites them; the search
index keeps the words of removed messages until its parts are merged; and VACUUM writes a file without free pages. The
backups that still hold the conversation, and what a killed backup left behind, are replaced by a new backup. What was
trained on it cannot be untrained: it is named. A server's own files and backups are its keeper's business.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, delete, select, update

from chatbot.errors import DatabaseUnwritable, InvalidInput
from chatbot.store import search_index
from chatbot.store.backup import back_up, list_leftovers
from chatbot.store.conversations import get_conversation
from chatbot.store.learning_tables import DatasetItemMessageRow, DatasetItemRow
from chatbot.store.lineage import DatasetUse, Descent, find_descent
from chatbot.store.sessions import BUSY_SECONDS, Database, list_backups
from chatbot.store.tables import ConversationRow, DraftRow, MessageRow

_STEP = 200


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted, and what had learnt from it and so is stale."""

    conversations: int
    messages: int
    dataset_items: int
    descent: Descent
    backups: tuple[Path, ...]
    """Those that were deleted because they held it."""
    new_backup: Path | None


class Erasure:
    """Deletes conversations for good."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_bin(self) -> list[str]:
        """The conversations that `delete` has put aside."""
        query = select(ConversationRow.id).where(ConversationRow.deleted.is_(True)).order_by(ConversationRow.id)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def preview(self, conversation_ids: Sequence[str]) -> Forgotten:
        """What `forget` would do. Raises NotFound."""
        chosen = list(dict.fromkeys(conversation_ids))
        with self._database.read() as connection:
            messages = 0
            descents = []
            items: set[str] = set()
            for conversation_id in chosen:
                get_conversation(connection, conversation_id)
                ids = _list_messages(connection, conversation_id)
                messages += len(ids)
                descents.append(find_descent(connection, ids, conversation_id))
                items.update(_list_items(connection, conversation_id))
        path = self._database.path
        held = tuple(backup for backup in list_backups(path) if _holds(backup, chosen)) if path else ()
        return Forgotten(len(chosen), messages, len(items), _join(descents), held, None)

    def forget(self, conversation_ids: Sequence[str], on_step: Callable[[str], object] | None = None) -> Forgotten:
        """Deletes conversations everywhere. All rows go in one transaction; `on_step` hears what is being done. If a
        later step fails the rows and the backups are gone, and `scrub` does the rest. Raises NotFound, InvalidInput
        while a reply is being written, StoreError."""
        say = on_step or (lambda _: None)
        planned = self.preview(conversation_ids)
        say("deleting rows")
        with self._database.write() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
            for conversation_id in dict.fromkeys(conversation_ids):
                _delete_conversation(connection, conversation_id)
        path = self._database.path
        if path:
            # Before anything else can fail: nobody could ask for them again once the rows are gone.
            _unlink([*planned.backups, *list_leftovers(path)])
        self.scrub(on_step)
        if not path or not planned.backups:
            return planned
        say("making a new backup")
        return replace(planned, new_backup=back_up(path))

    def scrub(self, on_step: Callable[[str], object] | None = None) -> None:
        """Rewrites the search index and the file, so that nothing of deleted rows is left in them."""
        say = on_step or (lambda _: None)
        say("rewriting the search index")
        with self._database.write() as connection:
            search_index.compact(connection)
        if self._database.path:
            say("rewriting the file")
            self._database.vacuum()


def _delete_conversation(connection: Connection, conversation_id: str) -> None:
    get_conversation(connection, conversation_id)
    table = MessageRow
    rows = connection.execute(
        select(table.id, table.status, table.content).where(table.conversation_id == conversation_id)
    ).all()
    if any(row.status == "streaming" for row in rows):
        raise InvalidInput("A reply of this conversation is still being written.", hint="Stop it first.")
    for row in rows:
        search_index.remove(connection, row.id, row.content)
    items = _list_items(connection, conversation_id)
    for start in range(0, len(items), _STEP):
        connection.execute(delete(DatasetItemRow).where(DatasetItemRow.id.in_(items[start : start + _STEP])))
    connection.execute(delete(DraftRow).where(DraftRow.conversation_key == conversation_id))
    connection.execute(update(ConversationRow).where(ConversationRow.id == conversation_id).values(tip_id=None))
    connection.execute(delete(ConversationRow).where(ConversationRow.id == conversation_id))


def _list_messages(connection: Connection, conversation_id: str) -> list[str]:
    return list(connection.scalars(select(MessageRow.id).where(MessageRow.conversation_id == conversation_id)))


def _list_items(connection: Connection, conversation_id: str) -> list[str]:
    """The dataset items that were made from a conversation."""
    item, link = DatasetItemRow, DatasetItemMessageRow
    said = select(MessageRow.id).where(MessageRow.conversation_id == conversation_id)
    made = select(item.id).where(item.source_conversation_id == conversation_id)
    linked = select(link.dataset_item_id).where(link.message_id.in_(said))
    return sorted({*connection.scalars(made), *connection.scalars(linked)})


def _join(descents: Sequence[Descent]) -> Descent:
    datasets: dict[str, DatasetUse] = {}
    for one in (dataset for descent in descents for dataset in descent.datasets):
        known = datasets.get(one.id)
        datasets[one.id] = replace(one, items=one.items + known.items) if known else one
    models = {model.id: model for descent in descents for model in descent.models}
    return Descent(tuple(datasets.values()), tuple(models.values()))


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DatabaseUnwritable(
                f"{path} cannot be deleted: {error.strerror}.", hint="Delete it by hand."
            ) from None


def _holds(path: Path, conversation_ids: Sequence[str]) -> bool:
    """Whether a backup holds any of the conversations; one that cannot be read is left alone."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
            query = "SELECT 1 FROM conversation WHERE id = ?"
            return any(connection.execute(query, (one,)).fetchone() for one in conversation_ids)
    except sqlite3.Error:
        return False
