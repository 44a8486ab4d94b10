"""Which held-out rows are looked at: of all groups, from all over each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chatbot.admin.datasets.folder import DatasetFolder, write_folder
from chatbot.admin.datasets.items import Item, SftItem
from chatbot.admin.training.choosing import choose_looks
from chatbot.admin.training.data import read_data
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import describe_dataset, small


def make_items(base: ModelFolder, groups: Sequence[int]) -> list[Item]:
    """So many items of each group, the groups one after the other."""
    items, _ = describe_dataset(base, "sft", sum(groups))
    names = [str(group) for group, size in enumerate(groups) for _ in range(size)]
    return [item.model_copy(update={"group": name}) for item, name in zip(items["train"], names, strict=True)]


def count(items: Sequence[Item]) -> list[int]:
    return sorted(Counter(item.group for item in items).values())


def test_a_long_conversation_does_not_fill_a_look(base: ModelFolder) -> None:
    items = make_items(base, [40, 2, 3, 5])
    chosen = choose_looks(items, 12)
    assert count(chosen) == [2, 3, 3, 4]
    places = [int(item.id) for item in chosen]
    assert places == sorted(places)
    long = [place for place in places if place < 40]
    assert max(long) - min(long) >= 20, "from all over it"
    assert choose_looks(items, 50) == items
    assert choose_looks(items, 12) == chosen


def test_of_more_groups_than_rows_those_from_all_over_are_looked_at(base: ModelFolder) -> None:
    chosen = choose_looks(make_items(base, [2] * 30), 6)
    assert count(chosen) == [1] * 6
    groups = sorted(int(item.group) for item in chosen)
    assert groups[-1] >= 20
    assert len(choose_looks(make_items(base, [3, 3, 3, 3]), 5)) == 5


def test_a_run_looks_at_them(base: ModelFolder, tmp_path: Path) -> None:
    items, about = describe_dataset(base, "sft", 2)
    held_out = make_items(base, [20, 1])
    write_folder(tmp_path / "dataset", {**items, "validation": held_out}, number=1, **about)
    config = small(held_out_rows=2, batch_tokens=16)
    template = base.load_template()
    looked_at = read_data(config, DatasetFolder.open(tmp_path / "dataset"), template).held_out["input_ids"]
    last = held_out[-1]
    assert isinstance(last, SftItem)
    asked = template.tokenizer.encode(last.turns[1].content, add_special_tokens=False).ids
    assert len(looked_at) == 2
    assert any(asked == row[at : at + len(asked)] for row in looked_at for at in range(len(row)))
