"""Which model wrote what: the model versions, base models and adapters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import AliasRow, ModelVersionRow
from chatbot.store.sessions import Database


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """What can answer: a base model or an adapter."""

    id: str
    kind: str
    name: str
    number: int
    run_id: str | None
    path: str
    sha256: str
    base_sha: str
    template_sha: str
    tokenizer_sha: str
    created: datetime


class ModelVersions:
    """Finds and records the models that answer."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers

    def find_or_add_base(self, name: str, *, sha256: str, template_sha: str, path: str) -> str:
        """The id of the version with this name and these weights; a row is made at the first use of a base model.
        The same name with other weights gets the next number."""
        table = ModelVersionRow
        known = select(table.id).where(table.name == name, table.sha256 == sha256, table.template_sha == template_sha)
        known = known.order_by(table.number.desc()).limit(1)
        with self._database.read() as connection:
            found = connection.scalar(known)
        if found is not None:
            return found
        with self._database.write() as connection:
            # Asked again under the write lock: another process may have been first.
            found = connection.scalar(known)
            if found is not None:
                return found
            number = connection.scalar(select(func.coalesce(func.max(table.number), 0)).where(table.name == name))
            identifier = self._identifiers.next()
            connection.execute(
                insert(table).values(
                    id=identifier,
                    kind="base",
                    name=name,
                    number=(number or 0) + 1,
                    run_id=None,
                    path=path,
                    sha256=sha256,
                    base_sha=sha256,
                    template_sha=template_sha,
                    tokenizer_sha="",
                    created_at=datetime.now(UTC),
                )
            )
            return identifier

    def get(self, version_id: str) -> ModelVersion:
        """Raises NotFound."""
        return self._one(ModelVersionRow.id == version_id, version_id)

    def find(self, name: str) -> ModelVersion:
        """The newest of a name. Raises NotFound."""
        return self._one(ModelVersionRow.name == name, name)

    def list(self, *, kind: str = "") -> list[ModelVersion]:
        """Newest first."""
        query = select(ModelVersionRow.__table__).order_by(ModelVersionRow.id.desc())
        if kind:
            query = query.where(ModelVersionRow.kind == kind)
        with self._database.read() as connection:
            return [_to_version(row) for row in connection.execute(query)]

    def _one(self, condition: Any, name: str) -> ModelVersion:
        query = select(ModelVersionRow.__table__).where(condition).order_by(ModelVersionRow.id.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"There is no model version {name!r}.", hint="`chatbot admin models list` shows them.")
        return _to_version(row)

    def champion(self) -> str | None:
        """The name of the promoted model version, None if none was promoted."""
        query = select(ModelVersionRow.name).join(AliasRow, AliasRow.model_version_id == ModelVersionRow.id)
        with self._database.read() as connection:
            return connection.scalar(query.where(AliasRow.name == "champion"))


def insert_version(
    connection: Connection,
    identifier: str,
    name: str,
    *,
    run_id: str | None,
    path: str,
    sha256: str,
    base_sha: str,
    template_sha: str,
    tokenizer_sha: str,
    kind: str = "adapter",
) -> str:
    """A new model version as a part of the transaction of `connection`; returns its id. A name never gets other
    weights, so a name that is known is an InvalidInput."""
    table = ModelVersionRow
    if connection.scalar(select(func.count()).where(table.name == name)):
        raise InvalidInput(f"There is a model version {name} already.")
    connection.execute(
        insert(table).values(
            id=identifier,
            kind=kind,
            name=name,
            number=1,
            run_id=run_id,
            path=path,
            sha256=sha256,
            base_sha=base_sha,
            template_sha=template_sha,
            tokenizer_sha=tokenizer_sha,
            created_at=datetime.now(UTC),
        )
    )
    return identifier


def _to_version(row: Any) -> ModelVersion:
    return ModelVersion(
        id=row.id,
        kind=row.kind,
        name=row.name,
        number=row.number,
        run_id=row.run_id,
        path=row.path,
        sha256=row.sha256,
        base_sha=row.base_sha,
        template_sha=row.template_sha,
        tokenizer_sha=row.tokenizer_sha,
        created=row.created_at,
    )
