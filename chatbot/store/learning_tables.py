"""The tables of the learning cycle: datasets → runs → model versions → evaluations → aliases.

They keep the trail in both directions: which messages trained an adapter, and which adapters are stale once a
conversation is gone. Hence what was derived outlives its source and keeps the source's identifier.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from chatbot.store.tables import ID_LENGTH, Row, identifier, link, one_of


class DatasetRow(Row):
    __tablename__ = "dataset"
    __table_args__ = (one_of("kind", "sft", "preference", "label", "text"),)

    id: Mapped[str] = identifier()
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    created_at: Mapped[datetime]


class DatasetVersionRow(Row):
    """Frozen once written: a change is a new number."""

    __tablename__ = "dataset_version"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)

    id: Mapped[str] = identifier()
    dataset_id: Mapped[str] = link("dataset.id")
    number: Mapped[int]
    sha256: Mapped[str]
    recipe: Mapped[dict[str, Any]]
    template_sha: Mapped[str]
    tokenizer_sha: Mapped[str]
    counts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class DatasetItemRow(Row):
    __tablename__ = "dataset_item"
    __table_args__ = (
        one_of("split", "train", "validation", "test"),
        UniqueConstraint("dataset_version_id", "position"),
    )

    id: Mapped[str] = identifier()
    dataset_version_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("dataset_version.id", ondelete="CASCADE")
    )
    position: Mapped[int]
    split: Mapped[str]
    group_key: Mapped[str]
    """Items of one group never stand in two splits."""
    content_sha: Mapped[str]
    source_conversation_id: Mapped[str | None] = mapped_column(String(ID_LENGTH), index=True)
    """No foreign key: it must still name the conversation after that one is gone."""


class DatasetItemMessageRow(Row):
    """Which messages an item was made from. No foreign key to them, for the same reason."""

    __tablename__ = "dataset_item_message"

    dataset_item_id: Mapped[str] = link("dataset_item.id", "CASCADE", primary_key=True)
    message_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True, index=True)


class RunRow(Row):
    __tablename__ = "run"
    __table_args__ = (one_of("status", "planned", "running", "complete", "stopped", "failed"),)

    id: Mapped[str] = identifier()
    kind: Mapped[str]
    base_model: Mapped[str]
    parent_version_id: Mapped[str | None] = link("model_version.id")
    config: Mapped[dict[str, Any]]
    seed: Mapped[int]
    versions: Mapped[dict[str, Any]]
    """Of our code and of the libraries."""
    device: Mapped[str]
    status: Mapped[str]
    resumed_from_id: Mapped[str | None] = link("run.id")
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class RunInputRow(Row):
    __tablename__ = "run_input"
    __table_args__ = (one_of("role", "train", "validation", "replay"),)

    run_id: Mapped[str] = link("run.id", "CASCADE", primary_key=True)
    dataset_version_id: Mapped[str] = link("dataset_version.id", primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    weight: Mapped[float]


class RunMetricRow(Row):
    __tablename__ = "run_metric"

    run_id: Mapped[str] = link("run.id", "CASCADE", primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[float]


class ModelVersionRow(Row):
    """What can answer or classify. The same name with other weights is a new number."""

    __tablename__ = "model_version"
    __table_args__ = (one_of("kind", "base", "adapter", "classifier"), UniqueConstraint("name", "number"))

    id: Mapped[str] = identifier()
    kind: Mapped[str]
    name: Mapped[str]
    number: Mapped[int]
    run_id: Mapped[str | None] = mapped_column(
        String(ID_LENGTH), ForeignKey("run.id", use_alter=True, name="fk_model_version_run_id"), index=True
    )
    path: Mapped[str]
    """Its folder; for a model of a remote server, that server's URL."""
    sha256: Mapped[str]
    """Of the weights; empty for a model of a remote server, which does not say."""
    base_sha: Mapped[str]
    template_sha: Mapped[str]
    tokenizer_sha: Mapped[str]
    created_at: Mapped[datetime]


class EvaluationRow(Row):
    __tablename__ = "evaluation"
    __table_args__ = (Index("ix_evaluation_suite", "suite", "metric"),)

    id: Mapped[str] = identifier()
    model_version_id: Mapped[str] = link("model_version.id")
    baseline_id: Mapped[str | None] = link("evaluation.id", "SET NULL")
    """The baseline scored in the same run: figures of two machines or two settings are not compared."""
    suite: Mapped[str]
    suite_version: Mapped[str]
    settings_sha: Mapped[str]
    metric: Mapped[str]
    value: Mapped[float]
    stderr: Mapped[float | None]
    n: Mapped[int]
    created_at: Mapped[datetime]


class EvaluationItemRow(Row):
    """Single answers are kept so that paired tests can be done afterwards."""

    __tablename__ = "evaluation_item"

    evaluation_id: Mapped[str] = link("evaluation.id", "CASCADE", primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    prompt: Mapped[str]
    output: Mapped[str]
    verdict: Mapped[dict[str, Any]]


class AliasRow(Row):
    __tablename__ = "alias"
    __table_args__ = (one_of("name", "champion", "previous", "candidate"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    model_version_id: Mapped[str] = link("model_version.id")
    updated_at: Mapped[datetime]


class AliasEventRow(Row):
    """Who moved an alias, when, from what, to what, and why."""

    __tablename__ = "alias_event"

    id: Mapped[str] = identifier()
    name: Mapped[str] = mapped_column(index=True)
    from_version_id: Mapped[str | None] = link("model_version.id")
    to_version_id: Mapped[str | None] = link("model_version.id")
    author: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime]
