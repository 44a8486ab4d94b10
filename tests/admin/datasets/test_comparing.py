"""What lies between two versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatbot.admin.datasets.comparing import diff, find_opening
from chatbot.admin.datasets.folder import DatasetFolder, write_folder
from chatbot.admin.datasets.items import SftItem, Turn

ABOUT: dict[str, Any] = {
    "name": "talks",
    "kind": "sft",
    "model": "tiny",
    "template_sha256": "0" * 64,
    "tokenizer_sha256": "0" * 64,
    "recipe": {},
    "counts": {},
    "created": "2026-01-01T00:00:00+00:00",
}


def item(asked: str, answered: str, *messages: str) -> SftItem:
    turns = (Turn(role="user", content=asked), Turn(role="assistant", content=answered, learn=True))
    return SftItem(id=f"{asked}{answered}"[:16], source="chat", group=asked, messages_from=messages, turns=turns)


def write(path: Path, number: int, **splits: list[SftItem]) -> DatasetFolder:
    return write_folder(path / str(number), splits, number=number, **ABOUT)  # type: ignore[arg-type]


def test_every_item_is_told_once(tmp_path: Path) -> None:
    stays, moves, goes, comes = item("a", "1"), item("b", "2"), item("c", "3"), item("d", "4")
    old, new = item("Name?", "Ada"), item("name", "Bo")
    before = write(tmp_path, 1, train=[stays, goes, old], validation=[moves])
    found = diff(before, write(tmp_path, 2, train=[new, moves, stays], test=[comes]))
    assert found.same == 1
    assert [(one.split, one.item) for one in found.added] == [("test", comes)]
    assert [(one.split, one.item) for one in found.removed] == [("train", goes)]
    assert [(one.item, other.item) for one, other in found.changed] == [(old, new)]
    assert [(one.split, other.split) for one, other in found.moved] == [("validation", "train")]
    assert find_opening(comes) == "d"


def test_items_of_the_same_messages_are_one_that_was_changed(tmp_path: Path) -> None:
    before = write(tmp_path, 1, train=[item("my mail is x@y.z", "ok", "m1", "m2"), item("same", "1", "m5")])
    after = write(tmp_path, 2, train=[item("my mail is [e-mail]", "ok", "m1", "m2"), item("same", "2", "m6")])
    found = diff(before, after)
    assert [one.item.messages_from for one, _ in found.changed] == [("m1", "m2")]
    assert (len(found.added), len(found.removed)) == (1, 1)


def test_a_version_and_itself_have_no_difference(tmp_path: Path) -> None:
    folder = write(tmp_path, 1, train=[item("a", "1"), item("b", "2")])
    assert diff(folder, folder).is_empty
