"""What is held out, and how far the split may be believed that chose the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.folder import DatasetFolder, write_folder
from chatbot.admin.datasets.items import Item, SftItem, Split, Turn
from chatbot.admin.evaluation.holding import count_choices, hold, judge_borrowed
from chatbot.admin.evaluation.measuring import Gain
from chatbot.admin.evaluation.records import Measure
from chatbot.admin.evaluation.statistics import Series
from chatbot.files import hash_file
from chatbot.models.library import ModelFolder
from chatbot.store.database import Store
from tests.admin.training.samples import build_tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    return build_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as store:
        yield store


def make_item(number: int, *, source: str = "chat", group: str = "", length: int = 1) -> SftItem:
    turns = (
        Turn(role="user", content=f"Question {number}?"),
        Turn(role="assistant", content="air " * length, learn=True),
    )
    return SftItem(id=str(number), source=source, group=group or str(number), turns=turns)


def make_folder(path: Path, base: ModelFolder, test: Sequence[Item], validation: Sequence[Item]) -> DatasetFolder:
    splits: dict[Split, Sequence[Item]] = {"train": [make_item(999)], "test": test, "validation": validation}
    about: dict[str, Any] = {
        "name": "tiny", "number": 1, "kind": "sft", "model": base.name, "template_sha256": base.template_sha,
        "tokenizer_sha256": hash_file(base.path / "tokenizer.json"), "recipe": {}, "counts": {},
        "created": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return write_folder(path, splits, **about)


def test_validation_is_borrowed_only_where_test_has_too_few_groups(tmp_path: Path, base: ModelFolder) -> None:
    template = base.load_template()
    validation = [make_item(number) for number in range(100, 109)]
    plenty = make_folder(tmp_path / "a", base, [make_item(number) for number in range(8)], validation)
    held = hold(plenty, template, window=512, most=300, fewest=8)
    assert (len(held.items), held.groups, held.borrowed, held.note) == (8, 8, False, "test")
    alike = make_folder(
        tmp_path / "b", base, [make_item(number, group=str(number % 3)) for number in range(30)], validation
    )
    held = hold(alike, template, window=512, most=300, fewest=8)
    assert (len(held.items), held.groups, held.borrowed) == (39, 12, True)
    assert held.tested == {"0", "1", "2"}
    nothing_more = make_folder(tmp_path / "c", base, [make_item(1)], [make_item(2, source="replay:general")])
    held = hold(nothing_more, template, window=512, most=300, fewest=8)
    assert (held.borrowed, len(held.general)) == (False, 1)


def test_one_long_talk_does_not_take_the_place_of_the_others(tmp_path: Path, base: ModelFolder) -> None:
    talk = [make_item(number, group="talk") for number in range(40)]
    others = [make_item(number, source=source) for source in ("chat", "replay:x") for number in range(100, 112)]
    general = [make_item(number, group="talk", source="replay:x") for number in range(200, 240)]
    folder = make_folder(tmp_path / "a", base, [*talk, *general, *others], [])
    held = hold(folder, base.load_template(), window=512, most=20, fewest=8)
    assert (len(held.items), held.groups) == (20, 13)
    assert len({item.group for item in held.general}) == 13
    places = [int(item.id) for item in held.items]
    assert places == sorted(places)


def test_items_longer_than_the_window_are_left_out_and_counted(tmp_path: Path, base: ModelFolder) -> None:
    folder = make_folder(tmp_path / "a", base, [make_item(n, length=1 + 400 * (n == 3)) for n in range(9)], [])
    held = hold(folder, base.load_template(), window=200, most=300, fewest=8)
    assert (len(held.items), held.left_out) == (8, 1)
    assert "1 longer than the model's window" in held.note


def add_run(store: Store, looks: Sequence[float], *, steps: int, parent: str | None = None) -> str:
    """A run of so many steps, with a look before it and then every second step."""
    run = store.runs.add(
        "sft", base_model="tiny", parent_version_id=parent, config={}, seed=1, versions={}, device="cpu", inputs=[]
    )
    store.runs.set_metrics(run, [("loss", step, 1.0) for step in range(1, steps + 1)])
    store.runs.set_metrics(run, [("held-out loss", 2 * number, loss) for number, loss in enumerate(looks)])
    return run


@pytest.mark.parametrize(
    ("looks", "steps", "choices"),
    [
        ([9.0, 3.0, 2.0, 1.0], 6, 1),  # the last is the best
        ([9.0, 3.0, 1.0, 2.0], 6, 3),  # the second was kept
        ([9.0, 3.0, 1.0, 1.0], 6, 3),  # of equals the first is kept
        ([0.5, 3.0, 2.0, 1.0], 6, 1),  # what was before training is never kept
        ([9.0, 3.0, 2.0, 1.0], 7, 3),  # a step came after the last look
        ([9.0, 3.0, 1.0, math.inf], 6, 2),  # no number is never kept
        ([9.0, 3.0], 3, 1),  # one look is no choice
        ([], 6, 1),  # nothing was looked at
        ([9.0, 1.0], 0, 0),  # of the run nothing is recorded
    ],
)
def test_whether_the_weights_were_chosen_follows_from_the_looks(
    store: Store, looks: list[float], steps: int, choices: int
) -> None:
    assert count_choices(store, add_run(store, looks, steps=steps), "") == choices


def test_what_is_not_known_is_not_believed(store: Store) -> None:
    assert count_choices(store, "0" * 36, "") == 0


def test_more_choices_ask_for_a_larger_gain(tmp_path: Path, base: ModelFolder, store: Store) -> None:
    """An identity of ninety rows, of which seventeen are held out and the gain is huge, has enough of it."""
    test, validation = [make_item(number) for number in range(5)], [make_item(number) for number in range(100, 112)]
    held = hold(
        make_folder(tmp_path / "a", base, test, validation), base.load_template(), window=512, most=300, fewest=8
    )
    groups = [item.group for item in held.items]
    chosen, last = add_run(store, [2.4, 1.2, 0.95, 1.0], steps=6), add_run(store, [2.4, 1.2, 0.95], steps=4)

    def make_gain(values: list[float]) -> Gain:
        measure = Measure("held-out", "loss", 0.95, 2.36, len(values), "lower")
        return Gain((measure,), (Series(values, [1.0] * len(values), groups),))

    huge = make_gain([-1.41 + 0.3 * math.sin(7 * number) for number in range(17)])
    borrowed = judge_borrowed(store, chosen, "", held, huge)
    assert borrowed is not None
    assert (borrowed.choices, borrowed.tested) == (3, 5)
    assert borrowed.low > 0
    assert borrowed.gain > 0
    assert borrowed.low < huge.estimate().low
    assert judge_borrowed(store, last, "", held, huge) is None
    small = make_gain([-0.02 + 0.04 * math.sin(7 * number) for number in range(17)])
    assert small.estimate().low > 0
    borrowed = judge_borrowed(store, add_run(store, [2.4, *[1.0] * 20], steps=40), "", held, small)
    assert borrowed is not None
    assert borrowed.low <= 0
    unknown = judge_borrowed(store, add_run(store, [], steps=0), "", held, huge)
    assert unknown is not None
    assert (unknown.choices, unknown.low) == (0, -math.inf)
