"""What is forgotten leaves the files of the datasets too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.datasets.forgetting import Struck, forget
from chatbot.admin.datasets.freezing import open_version
from chatbot.admin.datasets.items import SPLITS
from chatbot.config import Home
from chatbot.errors import DatabaseBusy, DatasetDamaged, LearningError
from chatbot.store.database import Store
from chatbot.store.evaluations import Score
from tests.admin.datasets.conftest import Build
from tests.admin.datasets.samples import make_pairs, talk
from tests.store.test_aliases import add_adapter, add_base

SECRET = "zyxomatic"


def fill(store: Store) -> str:
    """Several reviewed conversations; returns the id of the one with the secret."""
    for asked, answered in make_pairs(12):
        talk(store, asked, answered, decisions="+")
    said = talk(store, "a secret", SECRET, "and more of it", f"again {SECRET}", decisions="++")
    return said[0].conversation_id


def strike(store: Store, home: Home, conversation_ids: Sequence[str] = ()) -> list[Struck]:
    done = forget(store, home, conversation_ids)
    if done.failure:
        raise done.failure
    return list(done.struck)


def holds(folder: Path) -> bool:
    return any(SECRET.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_its_items_are_gone_from_every_version_which_stays_whole(make: Build, store: Store, home: Home) -> None:
    secret = fill(store)
    make()
    make(cap=100, system="x", near=0.9)
    talk(store, "a newer question", "a newer answer", decisions="+")
    make()
    assert holds(home.datasets)
    store.erasure.forget([secret])
    assert strike(store, home, [secret]) == [Struck("talks", 1, 1), Struck("talks", 2, 1)]
    assert not holds(home.datasets)
    for number in (1, 2):
        version, folder = open_version(store, home, f"talks/{number}")
        assert folder.manifest.counts["struck"] == version.counts["struck"] == 1
        assert sum(folder.manifest.counts["items"].values()) == store.datasets.count_items(version.id)
    assert strike(store, home, [secret]) == []


def test_what_a_kill_left_in_the_files_goes_the_next_time(make: Build, store: Store, home: Home) -> None:
    secret = fill(store)
    make()
    store.erasure.forget([secret])  # and then the power went
    assert strike(store, home) == [Struck("talks", 1, 1)]
    assert not holds(home.datasets)


def test_a_folder_without_rows_is_struck_too(make: Build, store: Store, home: Home) -> None:
    secret = fill(store)
    make()
    store.datasets.delete(store.datasets.find("talks").id)
    assert strike(store, home, [secret]) == [Struck("talks", 1, 1)]
    DatasetFolder.open(home.datasets / "talks" / "1")
    assert not holds(home.datasets)


def test_versions_without_it_are_left_byte_for_byte(make: Build, store: Store, home: Home, file: Path) -> None:
    secret = fill(store)
    folder = make("facts", files=(file,))
    before = {path: path.stat().st_ino for path in folder.path.iterdir()}
    store.erasure.forget([secret])
    assert strike(store, home, [secret]) == []
    assert {path: path.stat().st_ino for path in folder.path.iterdir()} == before


def test_a_damaged_folder_that_holds_it_is_named_and_costs_no_other(make: Build, store: Store, home: Home) -> None:
    secret = fill(store)
    make("one")
    make("two")
    for path in (home.datasets / "one" / "1").glob("*.jsonl"):
        path.write_bytes(path.read_bytes() + b"{broken\n")
    store.erasure.forget([secret])
    with pytest.raises(LearningError, match=r"one/1.*line") as told:
        strike(store, home, [secret])
    assert "two" not in str(told.value)
    assert not holds(home.datasets / "two")


def test_a_damaged_folder_without_it_is_nobodys_business(make: Build, store: Store, home: Home, file: Path) -> None:
    folder = make("facts", files=(file,))
    (folder.path / "manifest.json").write_text("{")
    assert strike(store, home, ["019a0000-0000-7000-8000-000000000000"]) == []


def test_texts_as_they_stand_in_the_items_go_from_evaluations_too(make: Build, store: Store, home: Home) -> None:
    fill(store)
    said = talk(store, "write to ada@example.org", "I wrote to ada@example.org.", decisions="+")
    items = [item for split in SPLITS for item in make(redact=True).read(split)]
    (masked,) = [item for item in items if item.conversation == said[0].conversation_id]
    asked, answered = (turn.content for turn in masked.turns[1:])
    assert "ada@" not in asked + answered
    kept = Score("replies", "1", "chrF", 1.0, 0.0, None, 2, ((asked, "x", {}), ("y", "z", {"champion": answered})))
    store.evaluations.add(store.evaluations.new_id(), add_adapter(store, "one"), add_base(store), [kept])
    store.erasure.forget([said[0].conversation_id])
    done = forget(store, home, [said[0].conversation_id])
    assert (done.struck, done.failure) == ((Struck("talks", 1, 1),), None)
    assert store.evaluations.forget_texts([asked, answered]) == 0


def test_figures_are_of_what_is_left(make: Build, store: Store, home: Home) -> None:
    secret = fill(store)
    before = make().manifest.counts
    store.erasure.forget([secret])
    strike(store, home, [secret])
    after = DatasetFolder.open(home.datasets / "talks" / "1").manifest.counts
    for name, gone in (("items", 1), ("groups", 1), ("replies", 2)):
        assert sum(before[name].values()) - sum(after[name].values()) == gone
    assert (before["conversations"], after["conversations"], after["sources"]) == (13, 12, {"chat": 12})
    assert not {"tokens", "learnt_tokens"} & set(after)


def test_the_files_do_not_wait_for_the_database_which_follows_the_next_time(
    make: Build, store: Store, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = fill(store)
    make("one")
    make("two")

    def refuse(*_: object, **__: object) -> None:
        raise DatabaseBusy("busy")

    with monkeypatch.context() as patched:
        patched.setattr(store.datasets, "replace_content", refuse)
        patched.setattr(store.evaluations, "forget_texts", refuse)
        done = forget(store, home, [secret])
    assert done.struck == (Struck("one", 1, 1), Struck("two", 1, 1))
    assert isinstance(done.failure, DatabaseBusy)
    assert not holds(home.datasets)
    with pytest.raises(DatasetDamaged):
        open_version(store, home, "one")
    assert strike(store, home) == []
    assert open_version(store, home, "one")[0].counts["struck"] == 1


def test_without_datasets_there_is_nothing_to_do(store: Store, home: Home) -> None:
    assert strike(store, home, ["x"]) == []
