"""What a run made goes into the books in one transaction, and only once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.database import Store
from tests.store.sample import add_adapter_version
from tests.store.test_runs import add_run


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as store:
        yield store


def register(store: Store, run_id: str, name: str = "support-1", sha256: str = "a") -> str:
    return store.registration.register(
        run_id, name, path="", sha256=sha256, base_sha="b", template_sha="t", tokenizer_sha="k", author="ada"
    )


def test_a_run_has_one_model_however_often_it_is_told(store: Store) -> None:
    run_id = add_run(store)
    store.runs.change_status(run_id, "running")
    version = register(store, run_id)
    assert register(store, run_id) == version
    run = store.runs.find(run_id)
    assert (run.status, run.model) == ("complete", "support-1")
    assert store.aliases.all() == {"candidate": "support-1"}
    assert [one.reached for one in store.aliases.journal()] == ["support-1"]
    for name, sha256 in (("support-2", "a"), ("support-1", "other")):
        with pytest.raises(InvalidInput, match="support-1 already"):
            register(store, run_id, name, sha256)


def test_what_an_older_version_left_half_is_finished(store: Store) -> None:
    run_id = add_run(store)
    add_adapter_version(
        store, "support-1", run_id=run_id, path="", sha256="a", base_sha="b", template_sha="t", tokenizer_sha="k"
    )
    register(store, run_id)
    assert store.runs.find(run_id).status == "complete"
    assert store.aliases.all() == {"candidate": "support-1"}


def test_either_all_of_it_is_written_or_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound):
        register(store, "nothing")
    run_id = add_run(store)

    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("chatbot.store.registration.write_status", fail)
        register(store, run_id)
    assert store.model_versions.list() == []
    assert store.aliases.all() == {}
    assert store.runs.find(run_id).status == "planned"


def test_a_complete_run_stays_complete_and_a_failed_one_keeps_why(store: Store) -> None:
    run_id = add_run(store)
    store.runs.change_status(run_id, "failed", reason="The disk is full.")
    run = store.runs.find(run_id)
    assert (run.status, run.failure, run.config["rank"]) == ("failed", "The disk is full.", 16)
    store.runs.change_status(run_id, "running")
    assert store.runs.find(run_id).failure == ""
    assert dict(store.runs.find(run_id).config) == {"rank": 16}
    register(store, run_id)
    store.runs.change_status(run_id, "stopped")
    assert store.runs.find(run_id).status == "complete"
