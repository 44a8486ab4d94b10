"""Which model version answers: the aliases, who moved them, and the way back.

`champion` answers every chat that names no model, `previous` is where a rollback goes, `candidate` is what was trained
last. A promotion moves all of them in one transaction with a line for each in the journal, so that no chat ever reads
half a promotion, and the journal can say why each model was ever in charge.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update

from chatbot.errors import NotFound, PromotionRefused
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import AliasEventRow, AliasRow, ModelVersionRow
from chatbot.store.sessions import Database
from chatbot.text import storable

AliasName = Literal["champion", "previous", "candidate"]


@dataclass(frozen=True, slots=True)
class AliasEvent:
    """One move, with names instead of ids; empty where there was nothing."""

    alias: str
    left: str
    reached: str
    author: str
    reason: str
    created: datetime


class Aliases:
    """Reads and moves aliases."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers

    def get(self, alias: AliasName) -> str | None:
        """The id of the model version that an alias stands for."""
        with self._database.read() as connection:
            return connection.scalar(select(AliasRow.model_version_id).where(AliasRow.name == alias))

    def all(self) -> dict[str, str]:
        """The names of the model versions, by alias."""
        query = select(AliasRow.name, ModelVersionRow.name.label("model")).join(
            ModelVersionRow, ModelVersionRow.id == AliasRow.model_version_id
        )
        with self._database.read() as connection:
            return {row.name: row.model for row in connection.execute(query)}

    def nominate(self, version_id: str, *, author: str, reason: str, connection: Connection | None = None) -> None:
        """Makes a model version the candidate; with `connection` as a part of its transaction."""
        with nullcontext(connection) if connection is not None else self._database.write() as writing:
            self._move(writing, "candidate", version_id, author, reason)

    def promote(self, version_id: str, *, over: str, author: str, reason: str) -> None:
        """Makes a model version the champion, and `over`, which answered so far, the previous one. A candidate that is
        promoted is one no longer. Raises PromotionRefused if something else was promoted meanwhile: whoever decided
        had another pair of models before them."""
        with self._database.write() as connection:
            if _read(connection, "champion") not in (None, over):
                raise PromotionRefused(
                    "A model was promoted meanwhile, so nothing was changed.",
                    hint="`chatbot admin journal` tells which; compare with that one.",
                )
            self._move(connection, "previous", over, author, reason)
            self._move(connection, "champion", version_id, author, reason)
            if _read(connection, "candidate") == version_id:
                self._move(connection, "candidate", None, author, reason)

    def roll_back(self, *, to: str, author: str, reason: str) -> None:
        """Champion and previous, which must be `to`, change places: a second rollback undoes the first. Raises NotFound
        if there is nothing to go back to, PromotionRefused if the aliases were moved meanwhile."""
        with self._database.write() as connection:
            champion, previous = _read(connection, "champion"), _read(connection, "previous")
            if champion is None or previous is None:
                raise NotFound("Nothing was promoted before, so there is nothing to roll back to.")
            if previous != to:
                raise PromotionRefused(
                    "The models were moved meanwhile, so nothing was changed.",
                    hint="`chatbot admin journal` tells how.",
                )
            self._move(connection, "previous", champion, author, reason)
            self._move(connection, "champion", previous, author, reason)

    def journal(self, *, limit: int = 50) -> list[AliasEvent]:
        """The moves, newest first."""
        event = AliasEventRow
        query = select(event.__table__).order_by(event.id.desc()).limit(limit)
        with self._database.read() as connection:
            names: dict[str | None, str] = {
                row.id: row.name for row in connection.execute(select(ModelVersionRow.id, ModelVersionRow.name))
            }
            return [
                AliasEvent(
                    alias=row.name,
                    left=names.get(row.from_version_id, ""),
                    reached=names.get(row.to_version_id, ""),
                    author=row.author,
                    reason=row.reason,
                    created=row.created_at,
                )
                for row in connection.execute(query)
            ]

    def _move(self, connection: Connection, alias: AliasName, to: str | None, author: str, reason: str) -> None:
        before = _read(connection, alias)
        if before == to:
            return
        now = datetime.now(UTC)
        if to is None:
            connection.execute(delete(AliasRow).where(AliasRow.name == alias))
        elif before is None:
            connection.execute(insert(AliasRow).values(name=alias, model_version_id=to, updated_at=now))
        else:
            connection.execute(
                update(AliasRow).where(AliasRow.name == alias).values(model_version_id=to, updated_at=now)
            )
        connection.execute(
            insert(AliasEventRow).values(
                id=self._identifiers.next(),
                name=alias,
                from_version_id=before,
                to_version_id=to,
                author=storable(author),
                reason=storable(reason),
                created_at=now,
            )
        )


def _read(connection: Connection, alias: str) -> str | None:
    return connection.scalar(select(AliasRow.model_version_id).where(AliasRow.name == alias))
