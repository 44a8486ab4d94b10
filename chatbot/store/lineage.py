"""The trail: which model wrote a reply, what it was trained on, and what was trained on what was said.

Each question is walked along foreign keys from where it is asked: from messages to dataset versions, runs and the model
versions that came of them, and on to those that were trained further from there; and back from a model version to
its messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from chatbot.errors import NotFound
from chatbot.store.learning_tables import (
    AliasEventRow,
    AliasRow,
    DatasetItemMessageRow,
    DatasetItemRow,
    DatasetRow,
    DatasetVersionRow,
    ModelVersionRow,
    RunInputRow,
    RunRow,
)
from chatbot.store.sessions import Database
from chatbot.store.staleness import find_stale
from chatbot.store.tables import ID_LENGTH, MessageRow

_STEP = 500  # how many identifiers one query names


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A dataset version that holds the messages."""

    id: str
    name: str
    number: int
    kind: str
    items: int
    """How many of its items were made from them; of a model version's dataset, all."""
    created: datetime


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model version in the trail."""

    id: str
    name: str
    number: int
    kind: str
    aliases: tuple[str, ...]
    created: datetime


@dataclass(frozen=True, slots=True)
class Descent:
    """What learnt from messages: dataset versions, and every model version of a run that used one of them, if only to
    validate with, or that went on from such a run or model version."""

    datasets: tuple[DatasetUse, ...]
    models: tuple[ModelUse, ...]


@dataclass(frozen=True, slots=True)
class Promotion:
    """A move of an alias."""

    alias: str
    author: str
    reason: str
    created: datetime
    arrived: bool
    """False if the alias left the version."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model version comes from and what it has done."""

    model: ModelUse
    path: str
    sha256: str
    run_id: str | None
    base_model: str
    parent: ModelUse | None
    datasets: tuple[DatasetUse, ...]
    messages: tuple[str, ...]
    """The messages that trained it, oldest first; only those of its own run."""
    replies: int
    promotions: tuple[Promotion, ...]
    forgotten: tuple[str, ...] = ()
    """The dataset versions that lost items since it, or what it was trained on from, learnt them: it is stale."""


class Lineage:
    """Walks the trail."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_messages(self, message_ids: Sequence[str]) -> Descent:
        """What learnt from any of these messages."""
        with self._database.read() as connection:
            return find_descent(connection, message_ids)

    def of_conversation(self, conversation_id: str) -> Descent:
        """What learnt from anything that was said in a conversation, also if it is gone."""
        with self._database.read() as connection:
            ids = connection.scalars(select(MessageRow.id).where(MessageRow.conversation_id == conversation_id)).all()
            return find_descent(connection, ids, conversation_id)

    def stale(self) -> dict[str, tuple[str, ...]]:
        """By the id of each stale model version, the dataset versions that lost items after it had learnt them."""
        with self._database.read() as connection:
            return find_stale(connection)

    def find_model(self, name: str) -> list[str]:
        """The ids of the model versions of this name, or of NAME/NUMBER, newest first."""
        table = ModelVersionRow
        base, _, number = name.rpartition("/")
        query = select(table.id).where(table.name == name)
        if base and number.isdecimal() and len(number) < 10:
            query = select(table.id).where(
                or_(table.name == name, (table.name == base) & (table.number == int(number)))
            )
        with self._database.read() as connection:
            return list(connection.scalars(query.order_by(table.number.desc())))

    def of_model(self, version_id: str) -> Origin:
        """Where a model version comes from. Raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(select(ModelVersionRow.__table__).where(ModelVersionRow.id == version_id)).first()
            if row is None:
                raise NotFound(f"There is no model version {version_id[:ID_LENGTH]!r}.")
            run = connection.execute(select(RunRow.__table__).where(RunRow.id == row.run_id)).first()
            item, used = DatasetItemRow, RunInputRow
            counted = (
                select(used.dataset_version_id, func.count(item.id.distinct()))
                .outerjoin(item, item.dataset_version_id == used.dataset_version_id)
                .where(used.run_id == row.run_id)
                .group_by(used.dataset_version_id)
            )
            counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted)}
            trained = (
                select(DatasetItemMessageRow.message_id)
                .join(item, item.id == DatasetItemMessageRow.dataset_item_id)
                .join(used, used.dataset_version_id == item.dataset_version_id)
                .where(used.run_id == row.run_id, used.role != "validation", item.split == "train")
            )
            models = _read_models(connection, [version_id, *([run.parent_version_id] if run else [])])
            replies = select(func.count()).where(MessageRow.model_version_id == version_id)
            return Origin(
                model=models[version_id],
                path=row.path,
                sha256=row.sha256,
                run_id=row.run_id,
                base_model=run.base_model if run else "",
                parent=models.get(run.parent_version_id) if run else None,
                datasets=_read_datasets(connection, counts),
                messages=tuple(sorted(set(connection.scalars(trained)))),
                replies=connection.scalar(replies) or 0,
                promotions=_read_promotions(connection, version_id),
                forgotten=find_stale(connection).get(version_id, ()),
            )


def find_descent(connection: Connection, message_ids: Sequence[str], conversation_id: str = "") -> Descent:
    """What learnt from these messages, or from items whose source is the conversation."""
    item, link = DatasetItemRow, DatasetItemMessageRow
    items: dict[str, str] = {}  # item → dataset version
    for start in range(0, len(message_ids), _STEP):
        step = message_ids[start : start + _STEP]
        query = select(item.id, item.dataset_version_id).join(link, link.dataset_item_id == item.id)
        items |= {row.id: row.dataset_version_id for row in connection.execute(query.where(link.message_id.in_(step)))}
    if conversation_id:
        query = select(item.id, item.dataset_version_id).where(item.source_conversation_id == conversation_id)
        items |= {row.id: row.dataset_version_id for row in connection.execute(query)}
    counts: dict[str, int] = {}
    for version in items.values():
        counts[version] = counts.get(version, 0) + 1
    used = select(RunInputRow.run_id).where(RunInputRow.dataset_version_id.in_(list(counts)))
    runs = newest = set(connection.scalars(used))
    while newest:  # resumed, or trained further from what came of them
        made = select(ModelVersionRow.id).where(ModelVersionRow.run_id.in_(newest))
        further = select(RunRow.id).where(or_(RunRow.resumed_from_id.in_(newest), RunRow.parent_version_id.in_(made)))
        newest = set(connection.scalars(further)) - runs
        runs = runs | newest
    made = select(ModelVersionRow.id).where(ModelVersionRow.run_id.in_(runs))
    models = _read_models(connection, connection.scalars(made).all())
    return Descent(_read_datasets(connection, counts), tuple(models[key] for key in sorted(models)))


def _read_datasets(connection: Connection, counts: dict[str, int]) -> tuple[DatasetUse, ...]:
    version, dataset = DatasetVersionRow, DatasetRow
    query = (
        select(version.id, version.number, version.created_at, dataset.name, dataset.kind)
        .join(dataset, dataset.id == version.dataset_id)
        .where(version.id.in_(list(counts)))
        .order_by(dataset.name, version.number)
    )
    return tuple(
        DatasetUse(row.id, row.name, row.number, row.kind, counts[row.id], row.created_at)
        for row in connection.execute(query)
    )


def _read_models(connection: Connection, ids: Sequence[str | None]) -> dict[str, ModelUse]:
    table = ModelVersionRow
    wanted = [one for one in ids if one]
    aliases: dict[str, list[str]] = {}
    for row in connection.execute(select(AliasRow.name, AliasRow.model_version_id).order_by(AliasRow.name)):
        aliases.setdefault(row.model_version_id, []).append(row.name)
    return {
        row.id: ModelUse(row.id, row.name, row.number, row.kind, tuple(aliases.get(row.id, ())), row.created_at)
        for row in connection.execute(select(table.__table__).where(table.id.in_(wanted)))
    }


def _read_promotions(connection: Connection, version_id: str) -> tuple[Promotion, ...]:
    table = AliasEventRow
    query = select(table.__table__).where(or_(table.to_version_id == version_id, table.from_version_id == version_id))
    return tuple(
        Promotion(row.name, row.author, row.reason, row.created_at, row.to_version_id == version_id)
        for row in connection.execute(query.order_by(table.created_at, table.id))
    )
