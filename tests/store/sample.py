"""Small conversations, and a learning cycle over them, for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert

from chatbot.store.database import Store
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
from chatbot.store.model_versions import insert_version
from chatbot.store.records import Message, Status
from chatbot.store.replies import NewConversation

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def say(store: Store, text: str, conversation: str = "", *, title: str = "t", persona: str = "default") -> Message:
    """A prompt; begins a conversation unless one is given."""
    return store.replies.add_prompt(conversation or NewConversation(title, persona, ""), text)


def answer(
    store: Store,
    prompt: Message,
    text: str,
    *,
    model: str = "m",
    status: Status = "complete",
    reason: str = "stop",
    **generation: Any,
) -> Message:
    """A reply to `prompt`, written to its end."""
    version = store.model_versions.find_or_add_base(model, sha256="", template_sha="", path="")
    reply = store.replies.start(store.replies.new_id(), prompt.id, version, "template", generation)
    store.replies.grow(reply.id, text[: len(text) // 2])
    return store.replies.finish(reply.id, text, status, reason, generation)


class Cycle:
    """Rows of the learning cycle, made by hand: nothing writes them yet. Names are ids too."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, table: Any, **values: Any) -> None:
        with self._store._database.write() as connection:
            connection.execute(insert(table).values(values))

    def make_dataset(self, name: str, items: Sequence[tuple[str | None, Sequence[str]]], split: str = "train") -> str:
        """A dataset with one version and (conversation, messages) as its items; returns the version's id."""
        version = f"{name}/1"
        self.add(DatasetRow, id=name, name=name, kind="sft", created_at=NOW)
        shas = {"sha256": "", "template_sha": "", "tokenizer_sha": ""}
        self.add(DatasetVersionRow, id=version, dataset_id=name, number=1, recipe={}, counts={}, created_at=NOW, **shas)
        for position, (conversation, messages) in enumerate(items):
            item = f"{version}:{position}"
            self.add(
                DatasetItemRow,
                id=item,
                dataset_version_id=version,
                position=position,
                split=split,
                group_key="",
                content_sha="",
                source_conversation_id=conversation,
            )
            for message in messages:
                self.add(DatasetItemMessageRow, dataset_item_id=item, message_id=message)
        return version

    def train(
        self, name: str, inputs: dict[str, str], *, parent: str | None = None, resumed_from: str | None = None
    ) -> str:
        """A run, and the adapter that came of it; `inputs` gives the role of each dataset version. Returns the
        adapter's id."""
        run = f"run of {name}"
        self.add(
            RunRow,
            id=run,
            kind="sft",
            base_model="base",
            parent_version_id=parent,
            config={},
            seed=1,
            versions={},
            device="cpu",
            status="complete",
            resumed_from_id=resumed_from,
            started_at=None,
            ended_at=None,
            created_at=NOW,
        )
        for version, role in inputs.items():
            self.add(RunInputRow, run_id=run, dataset_version_id=version, role=role, weight=1.0)
        shas = {"sha256": "s", "base_sha": "", "template_sha": "", "tokenizer_sha": ""}
        self.add(
            ModelVersionRow,
            id=name,
            kind="adapter",
            name=name,
            number=1,
            run_id=run,
            path=f"/adapters/{name}",
            created_at=NOW,
            **shas,
        )
        return name

    def promote(self, version: str, reason: str, *, instead_of: str | None = None) -> None:
        if instead_of is None:
            self.add(AliasRow, name="champion", model_version_id=version, updated_at=NOW)
        else:
            with self._store._database.write() as connection:
                connection.execute(AliasRow.__table__.update().values(model_version_id=version))  # type: ignore[attr-defined]
        self.add(
            AliasEventRow,
            id=self._store.replies.new_id(),
            name="champion",
            from_version_id=instead_of,
            to_version_id=version,
            author="me",
            reason=reason,
            created_at=NOW,
        )


def add_adapter_version(store: Store, name: str, **about: Any) -> str:
    """The row of an adapter that no run registered; returns its id. `about` as `insert_version` takes it."""
    with store._database.write() as connection:
        return insert_version(connection, store.runs.new_id(), name, **about)
