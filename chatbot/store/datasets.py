"""Dataset versions as rows: what each was made of, which message each item came from, what was held out.

The texts stand in the dataset's folder and not here. The rows are the trail from a message to the items that were made
of it, and the memory of what was held out, which later versions ask. That memory outlives the version: one that is
deleted is no longer found, but its number is never given again and its rows stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.learning_tables import (
    DatasetItemMessageRow,
    DatasetItemRow,
    DatasetRow,
    DatasetVersionRow,
    ModelVersionRow,
    RunInputRow,
)
from chatbot.store.sessions import Database

_BATCH = 500  # rows of one INSERT, names in one query
_DELETED = "deleted"  # when a version was deleted, among its counts
_IMPORTED = "imported"  # whether another machine made it, among its counts
_OWN = {_DELETED, _IMPORTED}  # what only the rows say: no manifest, least of all a stranger's, says it for them


@dataclass(frozen=True, slots=True)
class DatasetItem:
    """One item of a version; `position` is its place, which is a number of its own in each version."""

    split: str
    group: str
    content_sha: str
    conversation: str = ""
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One frozen version. `recipe` and `counts` are as in its manifest, but for what only the row knows."""

    id: str
    name: str
    kind: str
    number: int
    sha256: str
    recipe: Mapping[str, Any]
    template_sha: str
    tokenizer_sha: str
    counts: Mapping[str, Any]
    created: datetime

    @property
    def title(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def imported(self) -> bool:
        """Whether another machine made it: its recipe is about the log of that one, and as a stranger wants it."""
        return self.counts.get(_IMPORTED) is True


class Datasets:
    """Adds and finds dataset versions."""

    def __init__(self, database: Database, identifiers: IdentifierSource) -> None:
        self._database = database
        self._identifiers = identifiers

    def add_version(
        self,
        name: str,
        kind: str,
        number: int,
        *,
        sha256: str,
        recipe: Mapping[str, Any],
        template_sha: str,
        tokenizer_sha: str,
        counts: Mapping[str, Any],
        items: Iterable[DatasetItem],
        imported: bool = False,
    ) -> str:
        """The id of the new version, written with all its items or not at all; `imported` if another machine made it.
        Raises InvalidInput if the dataset is of another kind or has this number already."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            dataset_id = self._find_or_add(connection, name, kind, now)
            version = DatasetVersionRow
            taken = select(version.id).where(version.dataset_id == dataset_id, version.number == number)
            if connection.scalar(taken) is not None:
                raise InvalidInput(f"The dataset {name} has a version {number} already.")
            version_id = self._identifiers.next()
            connection.execute(
                insert(version).values(
                    id=version_id,
                    dataset_id=dataset_id,
                    number=number,
                    sha256=sha256,
                    recipe=dict(recipe),
                    template_sha=template_sha,
                    tokenizer_sha=tokenizer_sha,
                    counts=_describe(counts, {_IMPORTED: True} if imported else {}),
                    created_at=now,
                )
            )
            numbered = enumerate(items)
            while batch := list(islice(numbered, _BATCH)):
                self._add_items(connection, version_id, batch)
        return version_id

    def versions(self, name: str | None = None) -> list[DatasetVersion]:
        """All versions, or those of one dataset: by name, the oldest first."""
        query = _select().order_by(DatasetRow.name, DatasetVersionRow.number)
        if name is not None:
            query = query.where(DatasetRow.name == name)
        with self._database.read() as connection:
            return [_to_version(row) for row in connection.execute(query) if _DELETED not in row.counts]

    def count_versions(self) -> int:
        """How many versions there ever were, deleted ones too: more if one was added since it was asked before."""
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(DatasetVersionRow)) or 0

    def next_number(self, name: str) -> int:
        """The number of the next version: above all that there were."""
        version, dataset = DatasetVersionRow, DatasetRow
        query = select(func.max(version.number)).join(dataset, dataset.id == version.dataset_id)
        with self._database.read() as connection:
            return (connection.scalar(query.where(dataset.name == name)) or 0) + 1

    def find(self, name: str, number: int | None = None) -> DatasetVersion:
        """A version, the newest without a number. Raises NotFound."""
        found = [one for one in self.versions(name) if number in (None, one.number)]
        if not found:
            which = f"dataset {name}" if number is None else f"version {number} of the dataset {name}"
            raise NotFound(f"There is no {which}.", hint="`chatbot admin dataset list` shows those that there are.")
        return found[-1]

    def items(self, version_id: str) -> list[DatasetItem]:
        """The items of a version in their order, with the messages they came from."""
        item, link = DatasetItemRow, DatasetItemMessageRow
        named: dict[str, list[str]] = {}
        with self._database.read() as connection:
            links = (
                select(link.dataset_item_id, link.message_id)
                .join(item, item.id == link.dataset_item_id)
                .where(item.dataset_version_id == version_id)
                .order_by(link.message_id)
            )
            for item_id, message_id in connection.execute(links):
                named.setdefault(item_id, []).append(message_id)
            query = select(item.__table__).where(item.dataset_version_id == version_id).order_by(item.position)
            return [
                DatasetItem(
                    split=row.split,
                    group=row.group_key,
                    content_sha=row.content_sha,
                    conversation=row.source_conversation_id or "",
                    messages=tuple(named.get(row.id, ())),
                )
                for row in connection.execute(query)
            ]

    def count_items(self, version_id: str) -> int:
        """How many of its items are left: forgetting deletes some."""
        query = select(func.count()).where(DatasetItemRow.dataset_version_id == version_id)
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def find_splits(self, keys: Collection[str]) -> dict[str, set[str]]:
        """The splits in which any version has each of `keys`, which are groups, contents' sha256 or conversations. One
        pass over all items: there is no index on what they are made of, and a build asks for thousands."""
        item = DatasetItemRow
        wanted = set(keys)
        found: dict[str, set[str]] = {}
        query = select(item.group_key, item.content_sha, item.source_conversation_id, item.split)
        with self._database.read() as connection:
            for row in connection.execute(query):
                for key in wanted.intersection(row[:3]):
                    found.setdefault(key, set()).add(row.split)
        return found

    def replace_content(self, version_id: str, *, sha256: str, counts: Mapping[str, Any]) -> None:
        """Notes that a version's files were rewritten, which only forgetting does."""
        table = DatasetVersionRow
        with self._database.write() as connection:
            known = connection.scalar(select(table.counts).where(table.id == version_id)) or {}
            values = {"sha256": sha256, "counts": _describe(counts, known)}
            connection.execute(update(table).where(table.id == version_id).values(values))

    def runs(self, version_id: str) -> list[str]:
        """The runs that used a version."""
        used = RunInputRow
        query = select(used.run_id).where(used.dataset_version_id == version_id).distinct().order_by(used.run_id)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def models(self, version_id: str) -> list[str]:
        """The names of the models that came of the runs that used a version."""
        model, used = ModelVersionRow, RunInputRow
        query = select(model.name).join(used, used.run_id == model.run_id)
        with self._database.read() as connection:
            return sorted(set(connection.scalars(query.where(used.dataset_version_id == version_id))))

    def delete(self, version_id: str, *, force: bool = False) -> None:
        """Lets nobody find a version again. What it held out stays known, and so does, if a run used it, which messages
        that run learnt. Raises NotFound, and InvalidInput if a run used it and that is not passed over by `force`."""
        version, item, link = DatasetVersionRow, DatasetItemRow, DatasetItemMessageRow
        with self._database.write() as connection:
            row = connection.execute(select(version.counts).where(version.id == version_id)).first()
            if row is None or _DELETED in row.counts:
                raise NotFound("There is no such dataset version.")
            used = select(RunInputRow.run_id).where(RunInputRow.dataset_version_id == version_id).limit(1)
            if connection.scalar(used) is None:
                own = select(item.id).where(item.dataset_version_id == version_id)
                connection.execute(delete(link).where(link.dataset_item_id.in_(own)))
            elif not force:
                raise InvalidInput(
                    "A run used this dataset version.", hint="--force deletes its files; the run keeps its trail."
                )
            counts = {**row.counts, _DELETED: datetime.now(UTC).isoformat(timespec="seconds")}
            connection.execute(update(version).where(version.id == version_id).values(counts=counts))

    def _find_or_add(self, connection: Connection, name: str, kind: str, now: datetime) -> str:
        table, version = DatasetRow, DatasetVersionRow
        row = connection.execute(select(table.id, table.kind).where(table.name == name)).first()
        if row is not None:
            known = connection.scalars(select(version.counts).where(version.dataset_id == row.id))
            if row.kind != kind and all(_DELETED in counts for counts in known):
                connection.execute(update(table).where(table.id == row.id).values(kind=kind))
            elif row.kind != kind:
                raise InvalidInput(
                    f"The dataset {name} is of the kind {row.kind}, not {kind}.", hint="Choose another name."
                )
            return str(row.id)
        identifier = self._identifiers.next()
        connection.execute(insert(table).values(id=identifier, name=name, kind=kind, created_at=now))
        return identifier

    def _add_items(self, connection: Connection, version_id: str, batch: Sequence[tuple[int, DatasetItem]]) -> None:
        rows: list[dict[str, Any]] = []
        links: list[dict[str, Any]] = []
        for position, item in batch:
            item_id = self._identifiers.next()
            rows.append(
                {
                    "id": item_id,
                    "dataset_version_id": version_id,
                    "position": position,
                    "split": item.split,
                    "group_key": item.group,
                    "content_sha": item.content_sha,
                    "source_conversation_id": item.conversation or None,
                }
            )
            links += [{"dataset_item_id": item_id, "message_id": one} for one in dict.fromkeys(item.messages)]
        connection.execute(insert(DatasetItemRow), rows)
        for part in _cut(links):
            connection.execute(insert(DatasetItemMessageRow), part)


def _select() -> Any:
    version, dataset = DatasetVersionRow, DatasetRow
    return select(version.__table__, dataset.name, dataset.kind).join(dataset, dataset.id == version.dataset_id)


def _describe(counts: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a manifest, with those of `own` that only a row has."""
    told = {name: value for name, value in counts.items() if name not in _OWN}
    return told | {name: value for name, value in own.items() if name in _OWN}


def _to_version(row: Any) -> DatasetVersion:
    return DatasetVersion(
        id=row.id,
        name=row.name,
        kind=row.kind,
        number=row.number,
        sha256=row.sha256,
        recipe=row.recipe,
        template_sha=row.template_sha,
        tokenizer_sha=row.tokenizer_sha,
        counts=row.counts,
        created=row.created_at,
    )


def _cut(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]
