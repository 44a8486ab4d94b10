"""Rows of dataset versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.database import Store
from chatbot.store.datasets import DatasetItem
from tests.store.sample import Cycle


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def add(store: Store, name: str, number: int, *items: DatasetItem, kind: str = "sft", **more: Any) -> str:
    about: dict[str, Any] = {
        "sha256": f"sha of {name} {number}",
        "recipe": {"seed": number},
        "template_sha": "t",
        "tokenizer_sha": "k",
        "counts": {"items": len(items)},
    }
    return store.datasets.add_version(name, kind, number, items=items, **about | more)


def test_a_version_is_read_as_it_was_added(store: Store) -> None:
    items = (
        DatasetItem("train", "g1", "c1", "conversation", ("m2", "m1", "m2")),
        DatasetItem("test", "g2", "c2"),
    )
    version_id = add(store, "talks", 1, *items)
    version = store.datasets.find("talks")
    assert (version.id, version.title, version.kind, version.sha256) == (version_id, "talks/1", "sft", "sha of talks 1")
    assert (version.recipe, version.counts) == ({"seed": 1}, {"items": 2})
    assert store.datasets.items(version_id) == [
        DatasetItem("train", "g1", "c1", "conversation", ("m1", "m2")),
        DatasetItem("test", "g2", "c2"),
    ]
    assert store.datasets.count_items(version_id) == 2


def test_the_newest_version_is_found_without_a_number(store: Store) -> None:
    for name, number in (("b", 1), ("a", 1), ("a", 10), ("a", 2)):
        add(store, name, number)
    assert [one.title for one in store.datasets.versions()] == ["a/1", "a/2", "a/10", "b/1"]
    assert [one.title for one in store.datasets.versions("a")] == ["a/1", "a/2", "a/10"]
    assert (store.datasets.find("a").number, store.datasets.find("a", 2).number) == (10, 2)
    for name, wanted in (("a", 3), ("c", None)):
        with pytest.raises(NotFound):
            store.datasets.find(name, wanted)


def test_thousands_of_items_go_in_one_transaction(store: Store) -> None:
    items = [DatasetItem("train", f"g{n}", f"c{n}", "x", (f"m{n}", f"n{n}")) for n in range(1234)]
    version_id = add(store, "talks", 1, *items)
    assert store.datasets.items(version_id) == items

    def fail() -> Iterator[DatasetItem]:
        yield from items
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.datasets.add_version(
            "other", "sft", 1, sha256="", recipe={}, template_sha="", tokenizer_sha="", counts={}, items=fail()
        )
    assert [one.title for one in store.datasets.versions()] == ["talks/1"]


def test_a_number_is_given_once_and_a_dataset_has_one_kind(store: Store) -> None:
    add(store, "talks", 1)
    with pytest.raises(InvalidInput, match="has a version 1"):
        add(store, "talks", 1)
    with pytest.raises(InvalidInput, match="of the kind sft"):
        add(store, "talks", 2, kind="label")


def test_earlier_splits_are_found_by_group_content_and_conversation(store: Store) -> None:
    add(store, "a", 1, DatasetItem("train", "g1", "c1", "v1"), DatasetItem("test", "g2", "c2", "v2"))
    add(store, "b", 1, DatasetItem("validation", "g1", "c3", "v1"), DatasetItem("train", "g4", "c4"))
    found = store.datasets.find_splits({"g1", "c2", "v2", "c4", "nothing"})
    assert found == {"g1": {"train", "validation"}, "c2": {"test"}, "v2": {"test"}, "c4": {"train"}}


def test_a_version_is_deleted_and_what_a_run_used_only_by_force(store: Store) -> None:
    first, second = add(store, "a", 1, DatasetItem("train", "g", "c", "v", ("m",))), add(store, "a", 2)
    Cycle(store).train("adapter", {second: "train"})
    assert len(store.datasets.runs(second)) == 1
    with pytest.raises(InvalidInput, match="A run used"):
        store.datasets.delete(second)
    store.datasets.delete(first)
    assert store.lineage.of_messages(["m"]).datasets == ()
    assert [one.title for one in store.datasets.versions()] == ["a/2"]
    with pytest.raises(NotFound):
        store.datasets.delete(first)
    assert store.datasets.models(second) == ["adapter"]
    store.datasets.delete(second, force=True)
    assert (store.datasets.versions(), store.datasets.next_number("a")) == ([], 3)
    assert len(store.datasets.runs(second)) == 1


def test_what_was_held_out_is_known_when_its_version_is_deleted(store: Store) -> None:
    first = add(store, "a", 1, DatasetItem("test", "g", "c", "v", ("m",)))
    store.datasets.delete(first)
    assert store.datasets.find_splits({"g", "c", "v"}) == {key: {"test"} for key in "gcv"}
    with pytest.raises(InvalidInput, match="version 1 already"):
        add(store, "a", 1)
    add(store, "a", 2, kind="label")  # whatever it was, nothing of it is left
    with pytest.raises(InvalidInput, match="of the kind label"):
        add(store, "a", 3)


def test_a_version_cannot_come_as_one_that_was_deleted(store: Store) -> None:
    add(store, "a", 1, counts={"deleted": "2026-01-01", "items": 1})
    assert store.datasets.find("a").counts == {"items": 1}


def test_rewritten_files_are_noted(store: Store) -> None:
    version_id = add(store, "a", 1)
    store.datasets.replace_content(version_id, sha256="new", counts={"struck": 1})
    version = store.datasets.find("a")
    assert (version.sha256, version.counts) == ("new", {"struck": 1})
