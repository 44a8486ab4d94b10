"""Which model versions still know what was to be forgotten.

Forgetting a conversation takes it out of every dataset version, but nothing takes it out of weights: what trained on
it, and what was trained further from that, stays stale until it is trained anew. A run keeps the sha256 of the dataset
as it was; a dataset version whose files or rows have lost items since is not what the run has seen.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from chatbot.store.learning_tables import (
    DatasetItemRow,
    DatasetRow,
    DatasetVersionRow,
    ModelVersionRow,
    RunInputRow,
    RunRow,
)


def find_stale(connection: Connection) -> dict[str, tuple[str, ...]]:
    """By the id of each stale model version, the dataset versions, such as talks/3, that lost items after it learnt."""
    changed = _list_changed(connection)
    if not changed:
        return {}
    used: dict[str, set[str]] = {}
    shas: dict[str, Any] = {}
    parents: dict[str, str | None] = {}
    for run in connection.execute(select(RunRow.id, RunRow.config, RunRow.parent_version_id)):
        seen = run.config.get("dataset")
        shas[run.id] = seen.get("sha256") if isinstance(seen, dict) else None
        parents[run.id] = run.parent_version_id
    for row in connection.execute(select(RunInputRow.run_id, RunInputRow.dataset_version_id).distinct()):
        title, sha, short = changed.get(row.dataset_version_id, ("", "", False))
        if title and (short or shas[row.run_id] != sha):
            used.setdefault(row.run_id, set()).add(title)
    runs: dict[str, str | None] = {
        row.id: row.run_id for row in connection.execute(select(ModelVersionRow.id, ModelVersionRow.run_id))
    }
    return {version: titles for version in runs if (titles := _follow(version, runs, parents, used))}


def _list_changed(connection: Connection) -> dict[str, tuple[str, str, bool]]:
    """By id, the (title, sha256 now, whether rows are gone that the files still have) of versions that lost items."""
    version, item = DatasetVersionRow, DatasetItemRow
    left: dict[str, int] = {
        row[0]: row[1]
        for row in connection.execute(select(item.dataset_version_id, func.count()).group_by(item.dataset_version_id))
    }
    query = select(version.id, version.sha256, version.counts, version.number, DatasetRow.name)
    found = {}
    for row in connection.execute(query.join(DatasetRow, DatasetRow.id == version.dataset_id)):
        items = row.counts.get("items")
        written = sum(items.values()) if isinstance(items, dict) else 0
        short = left.get(row.id, 0) < written
        if short or row.counts.get("struck"):
            found[row.id] = (f"{row.name}/{row.number}", row.sha256, short)
    return found


def _follow(
    version: str, runs: dict[str, str | None], parents: dict[str, str | None], used: dict[str, set[str]]
) -> tuple[str, ...]:
    """What a version and those that it was trained on from have learnt of `used`."""
    titles: set[str] = set()
    at: str | None = version
    seen: set[str] = set()
    while at is not None and at not in seen:
        seen.add(at)
        run = runs.get(at)
        titles |= used.get(run or "", set())
        at = parents.get(run) if run else None
    return tuple(sorted(titles))
