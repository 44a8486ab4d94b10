"""Promotion and rollback are one transaction each, with a journal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatbot.errors import InvalidInput, NotFound, PromotionRefused
from chatbot.store.database import Store
from tests.store.sample import add_adapter_version


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as store:
        yield store


def add_adapter(store: Store, name: str) -> str:
    return add_adapter_version(
        store,
        name,
        run_id=None,
        path=f"/models/{name}",
        sha256="a" * 64,
        base_sha="b",
        template_sha="t",
        tokenizer_sha="k",
    )


def add_base(store: Store) -> str:
    return store.model_versions.find_or_add_base("base", sha256="b", template_sha="t", path="/models/base")


def test_a_promotion_moves_all_aliases_and_says_why(store: Store) -> None:
    base, adapter = add_base(store), add_adapter(store, "one")
    store.aliases.nominate(adapter, author="ada", reason="trained")
    assert store.model_versions.champion() is None
    store.aliases.promote(adapter, over=base, author="ada", reason="better")
    assert store.model_versions.champion() == "one"
    assert store.aliases.all() == {"champion": "one", "previous": "base"}
    journal = store.aliases.journal()
    assert [(one.alias, one.left, one.reached) for one in journal] == [
        ("candidate", "one", ""),
        ("champion", "", "one"),
        ("previous", "", "base"),
        ("candidate", "", "one"),
    ]
    assert {one.reason for one in journal} == {"trained", "better"}


def test_a_second_rollback_undoes_the_first(store: Store) -> None:
    base, one, two = add_base(store), add_adapter(store, "one"), add_adapter(store, "two")
    with pytest.raises(NotFound):
        store.aliases.roll_back(to=base, author="ada", reason="")
    store.aliases.promote(one, over=base, author="ada", reason="")
    store.aliases.promote(two, over=one, author="ada", reason="")
    store.aliases.roll_back(to=one, author="ada", reason="rude")
    assert store.aliases.all() == {"champion": "one", "previous": "two"}
    store.aliases.roll_back(to=two, author="ada", reason="")
    assert store.aliases.all() == {"champion": "two", "previous": "one"}


def test_what_was_decided_about_another_champion_changes_nothing(store: Store) -> None:
    base, one, two = add_base(store), add_adapter(store, "one"), add_adapter(store, "two")
    store.aliases.promote(one, over=base, author="ada", reason="")
    before = store.aliases.journal()
    with pytest.raises(PromotionRefused, match="meanwhile"):
        store.aliases.promote(two, over=base, author="bob", reason="")
    with pytest.raises(PromotionRefused, match="meanwhile"):
        store.aliases.roll_back(to=two, author="bob", reason="")
    assert store.aliases.journal() == before
    assert store.aliases.all() == {"champion": "one", "previous": "base"}


def test_a_name_never_gets_other_weights(store: Store) -> None:
    add_adapter(store, "one")
    with pytest.raises(InvalidInput):
        add_adapter(store, "one")
    assert store.model_versions.find("one").kind == "adapter"
    with pytest.raises(NotFound):
        store.model_versions.find("two")
