"""Forgetting for good: what was said in a conversation leaves the database, its index, its free pages and its backups.

Deleting rows is not enough. SQLite leaves deleted bytes in the file, so `secure_delete` overwrites them (on every
connection: see `sessions`); the search index keeps the words of removed messages until its parts are merged; and VACUUM
writes a file without free pages. The backups that still hold the conversation, and what a killed backup left behind,
are replaced by a new backup. What was trained on it cannot be untrained: it is named. A server's own files and backups
are its keeper's business.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, delete, select, update

from chatbot.errors import DatabaseUnwritable, InvalidInput, StoreError
from chatbot.store import search_index
from chatbot.store.backup import KEPT, back_up, list_leftovers
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
    unreadable: tuple[Path, ...] = ()
    """Backups that may hold it, but cannot be read; they are left."""


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
        held, unreadable = self._sort_backups(chosen)
        return Forgotten(len(chosen), messages, len(items), join_descents(descents), held, None, unreadable)

    def forget(
        self,
        conversation_ids: Sequence[str],
        on_step: Callable[[str], object] | None = None,
        *,
        only_deleted: bool = False,
    ) -> Forgotten:
        """Deletes conversations everywhere; `on_step` hears what is being done. All rows go in one transaction. Each
        step after it is tried even if one before has failed; the error tells then what is left to do.

        Raises NotFound, StoreError, InvalidInput while a reply is being written or, with `only_deleted`, if one of them
        has come out of the bin; then nothing is deleted.
        """
        say = on_step or (lambda _: None)
        chosen = list(dict.fromkeys(conversation_ids))
        done = self.preview(chosen)
        say("deleting rows")
        with self._database.write() as connection:
            for conversation_id in chosen:
                _delete_conversation(connection, conversation_id, only_deleted)
            say("rewriting the search index")
            search_index.compact(connection)  # with the rows, so that the new backup has none of its words
        path = self._database.path
        if path is None:
            return done
        failures: list[StoreError] = []
        with _note(failures):
            _unlink(list_leftovers(path))  # one that is at work may hold it: now it cannot be finished
        # Again, because a backup may have been finished meanwhile; nobody could ask for it later.
        held, unreadable = self._sort_backups(chosen)
        done = replace(done, backups=held, unreadable=unreadable)
        if held:
            say("making a new backup")
            with _note(failures, "`chatbot db backup` makes a new backup."):
                done = replace(done, new_backup=back_up(path, kept=KEPT + len(held)))
        with _note(failures):
            _unlink(held)
        say("rewriting the file")
        with _note(failures, "`chatbot db scrub` does the rest."):
            self._database.vacuum()
        if failures:
            told = " ".join(failure.message for failure in failures)
            hints = " ".join(dict.fromkeys(failure.hint for failure in failures))
            raise type(failures[0])(f"The rows are deleted; but not all is done: {told}", hint=hints) from failures[0]
        return done

    def scrub(self, on_step: Callable[[str], object] | None = None) -> None:
        """Rewrites the search index and the file, so that nothing of deleted or masked texts is left in them. Raises
        StoreError."""
        scrub(self._database, on_step)

    def _sort_backups(self, conversation_ids: Sequence[str]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """The backups that hold any of the conversations, and those that cannot be read."""
        path = self._database.path
        found = {backup: _holds(backup, conversation_ids) for backup in list_backups(path)} if path else {}
        return (
            tuple(backup for backup, holds in found.items() if holds),
            tuple(backup for backup, holds in found.items() if holds is None),
        )


def scrub(database: Database, on_step: Callable[[str], object] | None = None) -> None:
    """See `Erasure.scrub`."""
    say = on_step or (lambda _: None)
    say("rewriting the search index")
    with database.write() as connection:
        search_index.compact(connection)
    if database.path:
        say("rewriting the file")
        database.vacuum()


@contextmanager
def _note(failures: list[StoreError], remedy: str = "") -> Iterator[None]:
    """Keeps an error for later, with what is left to do."""
    try:
        yield
    except StoreError as error:
        error.hint = f"{error.hint} {remedy}".strip()
        failures.append(error)


def _delete_conversation(connection: Connection, conversation_id: str, only_deleted: bool) -> None:
    if not get_conversation(connection, conversation_id).deleted and only_deleted:
        raise InvalidInput(
            f"The conversation {conversation_id} is no longer in the bin. Nothing was deleted.",
            hint="Look at `chatbot logs list --bin`, then try again.",
        )
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


def join_descents(descents: Sequence[Descent]) -> Descent:
    """What learnt from any of several conversations."""
    datasets: dict[str, DatasetUse] = {}
    for one in (dataset for descent in descents for dataset in descent.datasets):
        known = datasets.get(one.id)
        datasets[one.id] = replace(one, items=one.items + known.items) if known else one
    models = {model.id: model for descent in descents for model in descent.models}
    return Descent(tuple(datasets.values()), tuple(models.values()))


def _unlink(paths: Sequence[Path]) -> None:
    left = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            left.append(f"{path} cannot be deleted: {error.strerror}.")
    if left:
        raise DatabaseUnwritable(" ".join(left), hint="Delete it by hand.")


def _holds(path: Path, conversation_ids: Sequence[str]) -> bool | None:
    """Whether a backup holds any of the conversations; None if it cannot be read."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
            query = "SELECT 1 FROM conversation WHERE id = ?"
            return any(connection.execute(query, (one,)).fetchone() for one in conversation_ids)
    except sqlite3.Error:
        return None
