"""Runs and evaluations as rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.database import Store
from chatbot.store.evaluations import GATE, Score
from chatbot.store.runs import RunInput
from tests.store.sample import add_adapter_version
from tests.store.test_aliases import add_adapter, add_base


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as store:
        yield store


def add_run(store: Store) -> str:
    dataset = store.datasets.add_version(
        "support", "sft", 1, sha256="d", recipe={}, template_sha="t", tokenizer_sha="k", counts={}, items=[]
    )
    return store.runs.add(
        "sft",
        base_model="base",
        parent_version_id=None,
        config={"rank": 16},
        seed=7,
        versions={"torch": "2"},
        device="cpu",
        inputs=[RunInput(dataset, "train"), RunInput(dataset, "validation")],
    )


def test_a_run_goes_from_planned_to_its_end(store: Store) -> None:
    run = add_run(store)
    store.runs.change_status(run, "running")
    begun = store.runs.find(run[:20]).started
    store.runs.change_status(run, "stopped")
    store.runs.change_status(run, "running")
    found = store.runs.find(run)
    assert (found.status, found.started, found.ended) == ("running", begun, None)
    store.runs.change_status(run, "complete")
    found = store.runs.find(run)
    assert found.ended is not None
    assert found.datasets == ("support/1",)
    assert store.runs.newest("support") == found
    assert store.runs.newest("other") is None


def test_a_resumed_run_says_its_metrics_again(store: Store) -> None:
    run = add_run(store)
    store.runs.set_metrics(run, [("loss", 1, 2.0), ("loss", 2, 1.5)])
    store.runs.set_metrics(run, [("loss", 2, 1.4), ("loss", 3, 1.3)])
    assert store.runs.metrics(run, "loss") == [(1, 2.0), (2, 1.4), (3, 1.3)]


def test_a_run_is_found_by_its_beginning_or_by_what_it_made(store: Store) -> None:
    first, second = add_run_pair(store)
    add_adapter_version(
        store, "support-1", run_id=first, path="", sha256="a", base_sha="b", template_sha="t", tokenizer_sha="k"
    )
    assert store.runs.find("support-1").id == first
    assert store.runs.find(first).model == "support-1"
    with pytest.raises(InvalidInput, match="several"):
        store.runs.find(first[:8])
    with pytest.raises(NotFound):
        store.runs.find("")
    with pytest.raises(NotFound):
        store.runs.find("%")
    assert [one.id for one in store.runs.list()] == [second, first]


def add_run_pair(store: Store) -> tuple[str, str]:
    first = add_run(store)
    second = store.runs.add(
        "dpo", base_model="base", parent_version_id=None, config={}, seed=1, versions={}, device="cpu", inputs=[]
    )
    return first, second


def test_the_newest_decision_about_two_models_counts(store: Store) -> None:
    base, adapter, other = add_base(store), add_adapter(store, "one"), add_adapter(store, "two")
    assert store.evaluations.decision(adapter, base) is None
    for value, reason in ((-1.0, "forgets"), (1.0, "lower loss")):
        loss = Score("held-out", "v1", "loss", 1.0, 2.0, 0.1, 40, items=(("Hi", "Hello", {"exact": True}),))
        gate = Score(GATE, "1", "verdict", value, 0.0, None, 40, items=(("", reason, {}),))
        store.evaluations.add(store.evaluations.new_id(), adapter, base, [loss, gate])
    decision = store.evaluations.decision(adapter, base)
    assert decision is not None
    assert (decision.value, decision.reasons) == (1.0, ("lower loss",))
    assert store.evaluations.decision(other, base) is None
    assert store.evaluations.decision(adapter, other) is None
    assert store.evaluations.forget_texts(["Hello"]) == 2
