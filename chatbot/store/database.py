"""The store: one database with what can be asked of it, by subject."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, inspect, text

from chatbot.errors import DatabaseTooNew, StoreError
from chatbot.store import reply_states, search_index
from chatbot.store.aliases import Aliases
from chatbot.store.archive import Archive
from chatbot.store.backup import back_up, find_problems
from chatbot.store.conversations import Conversations
from chatbot.store.datasets import Datasets
from chatbot.store.erasure import Erasure
from chatbot.store.evaluations import Evaluations
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.judgements import Judgements
from chatbot.store.lineage import Lineage
from chatbot.store.logs import Logs
from chatbot.store.messages import Messages
from chatbot.store.model_versions import ModelVersions
from chatbot.store.presence import Presence
from chatbot.store.redactions import Redactions
from chatbot.store.registration import Registration
from chatbot.store.replies import Replies
from chatbot.store.review_queue import ReviewQueue
from chatbot.store.runs import Runs
from chatbot.store.schema import SCHEMA
from chatbot.store.search import Search
from chatbot.store.sessions import Database, database_path, parse_url
from chatbot.store.statistics import Figures
from chatbot.store.tree import Tree

NEWEST = "0002"
"""The newest migration, written down so that opening a database need not load Alembic; a test holds it to the truth."""

IN_MEMORY = "sqlite://"


class Store:
    """Conversations, messages and what is derived from them. Every method raises StoreError for the database's own
    troubles, and may be called from any thread."""

    def __init__(self, database: Database) -> None:
        identifiers = IdentifierSource()
        self._database = database
        self._presence = Presence(database, identifiers)
        self.name = database.name
        self.path: Path | None = database.path
        self.conversations = Conversations(database, identifiers)
        self.messages = Messages(database)
        self.tree = Tree(database)
        self.replies = Replies(database, identifiers, self.conversations, self._presence)
        self.model_versions = ModelVersions(database, identifiers)
        self.aliases = Aliases(database, identifiers)
        self.datasets = Datasets(database, identifiers)
        self.runs = Runs(database, identifiers)
        self.registration = Registration(database, identifiers, self.aliases)
        self.evaluations = Evaluations(database, identifiers)
        self.judgements = Judgements(database, identifiers)
        self.search = Search(database)
        self.logs = Logs(database, self.search)
        self.review_queue = ReviewQueue(database)
        self.figures = Figures(database)
        self.lineage = Lineage(database)
        self.erasure = Erasure(database)
        self.redactions = Redactions(database, identifiers)
        self.archive = Archive(database, identifiers, self.model_versions)

    @classmethod
    def open(cls, url: str) -> Self:
        """Opens a database that is at the newest migration. Raises StoreError for one that is older (saying how to
        bring it up) or newer than this program."""
        path = database_path(parse_url(url))
        if path and not path.exists():
            raise StoreError(f"There is no database {path}.", hint="Run `chatbot db upgrade` to make it.")
        database = Database(url)
        try:
            with database.read() as connection:
                version = read_version(connection)
            check_version(version, database.name)
            if version != NEWEST:
                state = "is empty" if version is None else f"is at version {version}, this program needs {NEWEST}"
                raise StoreError(f"The database {database.name} {state}.", hint="Run `chatbot db upgrade`.")
            return cls(database)
        except BaseException:
            database.close()
            raise

    @classmethod
    def in_memory(cls) -> Self:
        """A store that keeps nothing once it is closed."""
        database = Database(IN_MEMORY)
        with database.write() as connection:
            SCHEMA.create_all(connection)
        return cls(database)

    def verify(self) -> list[str]:
        """What is wrong with the database, in sentences; empty if it is sound. Reads all of it."""
        return find_problems(self._database)

    def reindex(self) -> None:
        """Makes the search index and the states of replies anew from the messages and judgements. Over a million
        messages it holds the write lock for minutes."""
        with self._database.write() as connection:
            search_index.rebuild(connection)
            reply_states.refresh_all(connection)

    def back_up(self, target: Path | None = None) -> Path:
        """Writes a copy and returns where. Raises StoreError."""
        if self.path is None:
            raise StoreError(f"{self.name} is no file.", hint="Use its server's own backup, such as pg_dump.")
        return back_up(self.path, target)

    def close(self) -> None:
        self._presence.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_version(connection: Connection) -> str | None:
    """The migration that a database is at, None if it is empty. Raises StoreError for another program's database."""
    tables = inspect(connection).get_table_names()
    if not tables:
        return None
    version = connection.scalar(text("SELECT version_num FROM alembic_version")) if "alembic_version" in tables else ""
    if version is None and tables == ["alembic_version"]:
        return None
    if not version or "conversation" not in tables:
        name = connection.engine.url.render_as_string(hide_password=True)
        raise StoreError(f"{name} is another program's database.", hint="Set `database` to a path of its own.")
    return str(version)


def check_version(version: str | None, name: str) -> None:
    """Raises DatabaseTooNew for a migration that this program does not know."""
    if version is not None and (not re.fullmatch(r"\d{4}", version) or version > NEWEST):
        raise DatabaseTooNew(
            f"{name} was written by a newer chatbot: it is at version {version}, this program knows {NEWEST}.",
            hint="Install the newer chatbot, or set `database` to another path.",
        )
