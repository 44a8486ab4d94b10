"""A model stays stale until it is trained anew, and so does what was trained further from it."""

from __future__ import annotations

from chatbot.store.database import Store
from chatbot.store.datasets import DatasetItem
from chatbot.store.runs import RunInput
from tests.store.sample import add_adapter_version


def add_dataset(store: Store, *, rows: int, written: int) -> str:
    """A version whose files hold `written` items and whose rows hold `rows`."""
    items = [DatasetItem("train", f"g{row}", f"c{row}", "", (f"m{row}",)) for row in range(rows)]
    counts = {"items": {"train": written, "validation": 0, "test": 0}}
    return store.datasets.add_version(
        "talks", "sft", 1, sha256="before", recipe={}, template_sha="t", tokenizer_sha="k", counts=counts, items=items
    )


def train(store: Store, name: str, *, dataset: str = "", sha: str = "before", parent: str | None = None) -> str:
    """The id of the model version that a run made."""
    run = store.runs.add(
        "sft",
        base_model="base",
        parent_version_id=parent,
        config={"dataset": {"sha256": sha}} if dataset else {},
        seed=0,
        versions={},
        device="cpu",
        inputs=[RunInput(dataset, "train")] if dataset else [],
    )
    return add_adapter_version(
        store, name, run_id=run, path="", sha256="a", base_sha="b", template_sha="t", tokenizer_sha="k"
    )


def test_only_what_learnt_before_the_forgetting_is_stale() -> None:
    with Store.in_memory() as store:
        dataset = add_dataset(store, rows=2, written=2)
        parent = train(store, "one", dataset=dataset)
        child = train(store, "two", parent=parent)
        other = train(store, "three")
        assert store.lineage.stale() == {}
        counts = {"items": {"train": 2, "validation": 0, "test": 0}, "struck": 1}
        store.datasets.replace_content(dataset, sha256="after", counts=counts)
        anew = train(store, "four", dataset=dataset, sha="after")
        assert store.lineage.stale() == {parent: ("talks/1",), child: ("talks/1",)}
        assert store.lineage.of_model(child).forgotten == ("talks/1",)
        assert not store.lineage.of_model(anew).forgotten
        assert not store.lineage.of_model(other).forgotten


def test_rows_that_are_gone_from_unwritten_files_make_stale_too() -> None:
    with Store.in_memory() as store:
        dataset = add_dataset(store, rows=2, written=3)
        model = train(store, "one", dataset=dataset)
        assert store.lineage.stale() == {model: ("talks/1",)}
