"""The trail in both directions: which messages trained an adapter, and which adapters learnt from a message."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatbot.errors import NotFound
from chatbot.store.database import Store
from tests.store.sample import Cycle, answer, say


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


def test_what_learnt_from_a_message_is_named_with_what_was_trained_further(store: Store) -> None:
    reply = answer(store, say(store, "q"), "a")
    other = answer(store, say(store, "q"), "a")
    cycle = Cycle(store)
    taught = cycle.make_dataset("taught", [(reply.conversation_id, [reply.id]), (None, [reply.id, other.id])])
    apart = cycle.make_dataset("apart", [(other.conversation_id, [other.id])])
    cycle.train("first", {taught: "train"})
    cycle.train("second", {apart: "train"}, parent="first")
    cycle.train("third", {apart: "train"}, parent="second")
    cycle.train("resumed", {apart: "train"}, resumed_from="run of third")
    cycle.train("validated", {taught: "validation"})
    cycle.train("untouched", {apart: "train"})
    cycle.promote("third", "better")
    descent = store.lineage.of_messages([reply.id])
    assert [(one.name, one.number, one.kind, one.items) for one in descent.datasets] == [("taught", 1, "sft", 2)]
    assert {one.name for one in descent.models} == {"first", "second", "third", "resumed", "validated"}
    assert {one.name: one.aliases for one in descent.models if one.aliases} == {"third": ("champion",)}
    assert store.lineage.of_conversation(reply.conversation_id) == descent
    assert {one.name for one in store.lineage.of_messages([other.id]).datasets} == {"taught", "apart"}
    assert store.lineage.of_messages([]).models == ()


def test_a_dataset_still_names_a_conversation_whose_rows_are_gone(store: Store) -> None:
    cycle = Cycle(store)
    cycle.train("adapter", {cycle.make_dataset("d", [("gone", ["gone too"])]): "train"})
    assert [one.name for one in store.lineage.of_conversation("gone").models] == ["adapter"]


def test_where_a_model_version_comes_from(store: Store) -> None:
    taught = answer(store, say(store, "q"), "a")
    held_out = answer(store, say(store, "q"), "a")
    cycle = Cycle(store)
    train = cycle.make_dataset("train", [(taught.conversation_id, [taught.parent_id or "", taught.id])])
    test = cycle.make_dataset("test", [(held_out.conversation_id, [held_out.id])], split="test")
    watch = cycle.make_dataset("watch", [(held_out.conversation_id, [held_out.id])])
    cycle.train("first", {train: "train"})
    cycle.train("second", {train: "train", test: "train", watch: "validation"}, parent="first")
    cycle.promote("first", "the only one")
    cycle.promote("second", "fewer refusals", instead_of="first")
    answer(store, say(store, "q"), "a")
    origin = store.lineage.of_model("second")
    assert (origin.base_model, origin.run_id, origin.sha256) == ("base", "run of second", "s")
    assert origin.parent is not None
    assert origin.parent.name == "first"
    assert origin.messages == (taught.parent_id, taught.id)
    assert [(one.name, one.items) for one in origin.datasets] == [("test", 1), ("train", 1), ("watch", 1)]
    assert [(one.alias, one.reason, one.author, one.arrived) for one in origin.promotions] == [
        ("champion", "fewer refusals", "me", True)
    ]
    assert origin.model.aliases == ("champion",)
    left = store.lineage.of_model("first").promotions
    assert [(one.reason, one.arrived) for one in left] == [("the only one", True), ("fewer refusals", False)]
    (base,) = store.lineage.find_model("m")
    found = store.lineage.of_model(base)
    assert (found.replies, found.run_id, found.parent, found.datasets, found.messages) == (3, None, None, (), ())
    with pytest.raises(NotFound, match="nothing"):
        store.lineage.of_model("nothing")


def test_model_versions_are_found_by_name_and_number(store: Store) -> None:
    ids = [
        store.model_versions.find_or_add_base(name, sha256=sha, template_sha="", path="")
        for name, sha in (("m", "1"), ("m", "2"), ("org/m", "1"), ("m/2", "1"))
    ]
    assert store.lineage.find_model("m") == [ids[1], ids[0]]
    assert store.lineage.find_model("m/1") == [ids[0]]
    assert store.lineage.find_model("org/m") == [ids[2]]
    assert set(store.lineage.find_model("m/2")) == {ids[1], ids[3]}
    for wrong in ("m/3", "m/99999999999999999999", "m/²", "", "/1"):
        assert store.lineage.find_model(wrong) == []
