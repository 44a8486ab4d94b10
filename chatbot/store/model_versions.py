"""Which model wrote what: model versions and the aliases that choose among them."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, insert, select

from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import AliasRow, ModelVersionRow
from chatbot.store.sessions import Database


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

    def champion(self) -> str | None:
        """The name of the promoted model version, None if none was promoted."""
        query = select(ModelVersionRow.name).join(AliasRow, AliasRow.model_version_id == ModelVersionRow.id)
        with self._database.read() as connection:
            return connection.scalar(query.where(AliasRow.name == "champion"))
