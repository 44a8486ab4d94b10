"""Training runs as rows: what was asked for, on what, with which versions, how it went, what came of it.

The run's folder holds the same figures line by line while it trains; the rows are for questions over many runs and for
the trail from a model version to its data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import (
    DatasetRow,
    DatasetVersionRow,
    ModelVersionRow,
    RunInputRow,
    RunMetricRow,
    RunRow,
)
from chatbot.store.sessions import Database
from chatbot.text import storable

RunStatus = Literal["planned", "running", "complete", "stopped", "failed"]
_ENDED = ("complete", "stopped", "failed")
_FAILURE = "failure"  # the key in a run's configuration under which a failed one keeps why


@dataclass(frozen=True, slots=True)
class RunInput:
    """A dataset version that a run reads."""

    dataset_version_id: str
    role: Literal["train", "validation"]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run as it stands."""

    id: str
    kind: str
    base_model: str
    parent_version_id: str | None
    config: Mapping[str, Any]
    seed: int
    versions: Mapping[str, Any]
    device: str
    status: RunStatus
    created: datetime
    started: datetime | None
    ended: datetime | None
    datasets: tuple[str, ...]
    """Such as `support/3`."""
    model: str
    """The name of the model version that came of it, empty if none did."""

    @property
    def failure(self) -> str:
        """Why it failed, in a sentence; empty if it did not. Foreign text: print it through `printable`."""
        return str(self.config.get(_FAILURE, ""))


class Runs:
    """Adds, follows and finds runs."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers

    def new_id(self) -> str:
        """The id of a run that has no row yet: its folder is made first, so that no row is ever without one."""
        return self._identifiers.next()

    def add(
        self,
        kind: str,
        *,
        run_id: str = "",
        base_model: str,
        parent_version_id: str | None,
        config: Mapping[str, Any],
        seed: int,
        versions: Mapping[str, Any],
        device: str,
        inputs: Sequence[RunInput],
    ) -> str:
        """A planned run, by the id that `new_id` gave or a new one; returns its id."""
        identifier = run_id or self._identifiers.next()
        with self._database.write() as connection:
            connection.execute(
                insert(RunRow).values(
                    id=identifier,
                    kind=kind,
                    base_model=base_model,
                    parent_version_id=parent_version_id,
                    config=dict(config),
                    seed=seed,
                    versions=dict(versions),
                    device=device,
                    status="planned",
                    started_at=None,
                    ended_at=None,
                    created_at=datetime.now(UTC),
                )
            )
            for one in inputs:
                connection.execute(
                    insert(RunInputRow).values(
                        run_id=identifier,
                        dataset_version_id=one.dataset_version_id,
                        role=one.role,
                        weight=one.weight,
                    )
                )
        return identifier

    def change_status(self, run_id: str, status: RunStatus, *, reason: str = "") -> None:
        """Also notes when it first began, and when it ended; `reason` is why it failed. What is complete stays so: its
        adapter is there, whatever happened to its process afterwards. Raises NotFound."""
        with self._database.write() as connection:
            write_status(connection, run_id, status, reason=reason)

    def set_metrics(self, run_id: str, values: Iterable[tuple[str, int, float]]) -> None:
        """(name, step, value) each; what a step was said to be before, a resumed run says again."""
        rows = [{"run_id": run_id, "name": name, "step": step, "value": value} for name, step, value in values]
        if not rows:
            return
        with self._database.write() as connection:
            insertion: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            statement = insertion(RunMetricRow)
            keys = ["run_id", "name", "step"]
            connection.execute(
                statement.on_conflict_do_update(index_elements=keys, set_={"value": statement.excluded.value}), rows
            )

    def metrics(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """(step, value), by step."""
        table = RunMetricRow
        query = select(table.step, table.value).where(table.run_id == run_id, table.name == name).order_by(table.step)
        with self._database.read() as connection:
            return [(row.step, row.value) for row in connection.execute(query)]

    def list(self, *, limit: int = 50) -> list[Run]:
        """Newest first."""
        with self._database.read() as connection:
            return _read(connection, select(RunRow.__table__).order_by(RunRow.id.desc()).limit(limit))

    def find(self, prefix: str) -> Run:
        """The run whose id begins with `prefix`, or that made the model version of that name. Raises NotFound,
        InvalidInput if there are several."""
        by_model = select(ModelVersionRow.run_id).where(ModelVersionRow.name == prefix)
        with self._database.read() as connection:
            query = select(RunRow.__table__).where(
                RunRow.id.startswith(prefix, autoescape=True) | RunRow.id.in_(by_model)
            )
            found = _read(connection, query.order_by(RunRow.id.desc()).limit(4)) if prefix else []
        if not found:
            raise NotFound(f"There is no run {prefix!r}.", hint="`chatbot admin runs list` shows them.")
        if len(found) > 1:
            names = ", ".join(one.id for one in found[:3])
            raise InvalidInput(f"{prefix!r} begins the ids of several runs: {names}.", hint="Give more of the id.")
        return found[0]

    def newest(self, dataset: str) -> Run | None:
        """The newest run that trained on any version of a dataset."""
        query = (
            select(RunRow.__table__)
            .join(RunInputRow, RunInputRow.run_id == RunRow.id)
            .join(DatasetVersionRow, DatasetVersionRow.id == RunInputRow.dataset_version_id)
            .join(DatasetRow, DatasetRow.id == DatasetVersionRow.dataset_id)
            .where(DatasetRow.name == dataset)
            .order_by(RunRow.id.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            return next(iter(_read(connection, query)), None)


def write_status(connection: Connection, run_id: str, status: RunStatus, *, reason: str = "") -> None:
    """`change_status` as a part of the transaction of `connection`."""
    now = datetime.now(UTC)
    columns = (RunRow.status, RunRow.started_at, RunRow.config)
    run = connection.execute(select(*columns).where(RunRow.id == run_id)).one_or_none()
    if run is None:
        raise NotFound(f"There is no run {run_id}.")
    if run.status == "complete":
        return
    values: dict[str, Any] = {"status": status, "ended_at": now if status in _ENDED else None}
    if run.started_at is None and status != "planned":
        values["started_at"] = now
    if reason or _FAILURE in run.config:
        kept = {name: value for name, value in run.config.items() if name != _FAILURE}
        values["config"] = kept | ({_FAILURE: storable(reason)} if reason else {})
    connection.execute(update(RunRow).where(RunRow.id == run_id).values(values))


def _read(connection: Connection, query: Any) -> list[Run]:
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    datasets: dict[str, list[str]] = {}
    used = (
        select(RunInputRow.run_id, DatasetRow.name, DatasetVersionRow.number)
        .join(DatasetVersionRow, DatasetVersionRow.id == RunInputRow.dataset_version_id)
        .join(DatasetRow, DatasetRow.id == DatasetVersionRow.dataset_id)
        .where(RunInputRow.run_id.in_(ids))
        .order_by(RunInputRow.role)
    )
    for run_id, name, number in connection.execute(used):
        title = f"{name}/{number}"
        if title not in datasets.setdefault(run_id, []):
            datasets[run_id].append(title)
    made = select(ModelVersionRow.run_id, ModelVersionRow.name).where(ModelVersionRow.run_id.in_(ids))
    models = {row.run_id: row.name for row in connection.execute(made)}
    return [
        Run(
            id=row.id,
            kind=row.kind,
            base_model=row.base_model,
            parent_version_id=row.parent_version_id,
            config=row.config,
            seed=row.seed,
            versions=row.versions,
            device=row.device,
            status=row.status,
            created=row.created_at,
            started=row.started_at,
            ended=row.ended_at,
            datasets=tuple(datasets.get(row.id, ())),
            model=models.get(row.id, ""),
        )
        for row in rows
    ]
