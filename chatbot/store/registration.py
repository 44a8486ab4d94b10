"""What a run made, taken into the books: the model version, the candidate and the end of the run.

All three are one transaction. A process that is killed before it leaves a run that can be resumed and will register
what it finds on the disk; one that is killed after it leaves a run that is complete. Nothing lies between.
"""

from __future__ import annotations

from sqlalchemy import select

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.aliases import Aliases
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import ModelVersionRow, RunRow
from chatbot.store.model_versions import insert_version
from chatbot.store.runs import write_status
from chatbot.store.sessions import Database


class Registration:
    """Ends runs that made a model."""

    def __init__(self, database: Database, identifiers: IdentifierSource, aliases: Aliases) -> None:
        self._database = database
        self._identifiers = identifiers
        self._aliases = aliases

    def register(
        self,
        run_id: str,
        name: str,
        *,
        path: str,
        sha256: str,
        base_sha: str,
        template_sha: str,
        tokenizer_sha: str,
        author: str,
        kind: str = "adapter",
    ) -> str:
        """The model `name` as a model version and the candidate, and its run as complete. Returns the version's id.

        A run has one model version at most: if it has one already, that one is kept. Raises InvalidInput if that has
        another name or other weights, or if another run made `name`; NotFound if there is no such run.
        """
        table = ModelVersionRow
        with self._database.write() as connection:
            status = connection.scalar(select(RunRow.status).where(RunRow.id == run_id))
            if status is None:
                raise NotFound(f"There is no run {run_id}.")
            known = connection.execute(
                select(table.id, table.name, table.sha256).where(table.run_id == run_id).limit(1)
            ).one_or_none()
            if known is not None and (known.name, known.sha256) != (name, sha256):
                raise InvalidInput(f"The run {run_id} made {known.name} already, with other weights.")
            version_id: str = (
                known.id
                if known is not None
                else insert_version(
                    connection,
                    self._identifiers.next(),
                    name,
                    run_id=run_id,
                    path=path,
                    sha256=sha256,
                    base_sha=base_sha,
                    template_sha=template_sha,
                    tokenizer_sha=tokenizer_sha,
                    kind=kind,
                )
            )
            if status != "complete":
                self._aliases.nominate(
                    version_id, author=author, reason=f"trained by the run {run_id}", connection=connection
                )
            write_status(connection, run_id, "complete")
        return version_id
