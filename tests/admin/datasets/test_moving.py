"""A version as one file; and files that pretend to be one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets import moving, remembering
from chatbot.admin.datasets.building import build
from chatbot.admin.datasets.folder import DatasetFolder, read_manifest
from chatbot.admin.datasets.items import SPLITS
from chatbot.admin.datasets.moving import export_version, import_version
from chatbot.admin.datasets.request import BuildRequest
from chatbot.admin.evaluation.holding import hold
from chatbot.cli.admin.datasets.counts import describe_counts
from chatbot.config import Home
from chatbot.errors import ChatbotError, DatasetDamaged, InvalidInput
from chatbot.files import hash_file
from chatbot.models.library import ModelFolder
from chatbot.models.template import ChatTemplate
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from tests.admin.datasets.conftest import Build
from tests.admin.datasets.samples import talk

MEMBERS = ("manifest.json", "train.jsonl", "validation.jsonl", "test.jsonl")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[tuple[Store, Home]]:
    """Another machine."""
    root = tmp_path / "other"
    with Store.in_memory() as opened:
        yield opened, Home(config=root, data=root, state=root, runtime=root)


@pytest.fixture
def archive(make: Build, file: Path, store: Store, tmp_path: Path) -> Path:
    talk(store, "hi there, you", "hello", decisions="+")
    path = tmp_path / "talks.zip"
    export_version(make(files=(file,), log=LogFilter()), path)
    return path


def list_left(home: Home) -> list[str]:
    return sorted(str(path.relative_to(home.data)) for path in home.data.rglob("*")) if home.data.exists() else []


def test_a_version_comes_back_on_another_machine_with_its_rows(
    archive: Path, other: tuple[Store, Home], store: Store, home: Home
) -> None:
    folder, is_new = import_version(*other, archive)
    assert is_new
    here = store.datasets.find("talks")
    there = other[0].datasets.find("talks")
    assert (there.sha256, there.number, there.recipe) == (here.sha256, 1, here.recipe)
    assert other[0].datasets.items(there.id) == store.datasets.items(here.id)
    for name in MEMBERS:
        assert (folder.path / name).read_bytes() == (home.datasets / "talks" / "1" / name).read_bytes()
    assert import_version(*other, archive)[1] is False
    assert import_version(*other, archive, name="theirs")[0].path == other[1].datasets / "theirs" / "1"


def test_the_same_version_makes_the_same_bytes(archive: Path, home: Home, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    export_version(DatasetFolder.open(home.datasets / "talks" / "1"), again)
    assert hash_file(again) == hash_file(archive)
    assert again.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInput, match="exists already"):
        export_version(DatasetFolder.open(home.datasets / "talks" / "1"), again)


def test_a_damaged_version_does_not_go_out(archive: Path, home: Home, tmp_path: Path) -> None:
    folder = DatasetFolder.open(home.datasets / "talks" / "1")
    (folder.path / "test.jsonl").write_bytes(b"")
    with pytest.raises(DatasetDamaged):
        export_version(folder, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_where_nothing_can_be_written_the_place_is_named_and_nothing_is_lost(archive: Path, home: Home) -> None:
    folder = DatasetFolder.open(home.datasets / "talks" / "1")
    pipe = archive.parent / "pipe"
    os.mkfifo(pipe)
    for path in (
        archive.parent / "nowhere" / "x.zip",
        archive / "x.zip",
        archive.parent / ("x" * 300),
        archive.parent,
        pipe,
    ):
        with pytest.raises(InvalidInput, match=f"^{re.escape(str(path))} ") as refused:
            export_version(folder, path, replace=True)
        assert ".dataset." not in str(refused.value)
    assert pipe.is_fifo()


def rewrite(archive: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The archive with other members."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
    return archive


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "train.jsonl/../../evil", "a\\..\\evil", "\x1b[2Jevil", "more"]
)
def test_a_member_of_another_name_is_refused_and_nothing_is_written(
    archive: Path, other: tuple[Store, Home], name: str
) -> None:
    rewrite(archive, lambda members: members.update({name: b"evil"}))
    with pytest.raises(InvalidInput, match="no exported dataset") as refused:
        import_version(*other, archive)
    assert "\x1b" not in str(refused.value)
    assert list_left(other[1]) == []
    assert not list(archive.parent.rglob("evil*"))


@pytest.mark.parametrize("name", MEMBERS[1:])
def test_a_changed_or_missing_member_is_named(archive: Path, other: tuple[Store, Home], name: str) -> None:
    original = archive.read_bytes()
    rewrite(archive, lambda members: members.update({name: members[name][:-2] + b" \n"}))
    with pytest.raises(DatasetDamaged, match=name):
        import_version(*other, archive)
    archive.write_bytes(original)
    rewrite(archive, lambda members: members.pop(name))
    with pytest.raises(InvalidInput, match=f"lacks {name}"):
        import_version(*other, archive)
    assert list_left(other[1]) == []


def test_a_bomb_is_not_unpacked(archive: Path, other: tuple[Store, Home]) -> None:
    rewrite(archive, lambda members: members.update({"train.jsonl": b"\0" * (80 << 20)}))
    with pytest.raises(DatasetDamaged, match="decompression bomb"):
        import_version(*other, archive)
    assert list_left(other[1]) == []


def test_truncated_archives_and_flipped_bits_are_refused(archive: Path, other: tuple[Store, Home]) -> None:
    whole = archive.read_bytes()
    step = len(whole) // 23
    spoiled = [whole[:end] for end in range(0, len(whole), step)]
    spoiled += [whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :] for at in range(3, len(whole), step)]
    for data in spoiled:
        archive.write_bytes(data)
        try:
            folder, _ = import_version(*other, archive)
        except ChatbotError:
            continue
        # Not every bit of a ZIP means something; what was taken is then what was sent.
        assert folder.manifest.sha256 == DatasetFolder.open(folder.path).manifest.sha256
        shutil.rmtree(other[1].data)
        other[0].datasets.delete(other[0].datasets.find("talks").id)
    assert list_left(other[1]) == []
    assert other[0].datasets.versions() == []


def forge(archive: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    """Changes the items of train, with a manifest that fits them."""

    def spoil(members: dict[str, bytes]) -> None:
        rows = [json.loads(line) for line in members["train.jsonl"].splitlines()]
        change(rows)
        data = b"".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for row in rows)
        manifest = json.loads(members["manifest.json"])
        manifest["files"]["train"] = {
            "rows": len(rows),
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        members |= {"train.jsonl": data, "manifest.json": json.dumps(manifest).encode()}

    rewrite(archive, spoil)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows, held: rows[0].update(group=held),
        lambda rows, held: rows[0].update(id=rows[1]["id"]),
        lambda rows, held: rows[0].update(id="x" * 40),
        lambda rows, held: rows[0].update(conversation="x" * 40),
        lambda rows, held: rows[0].update(kind="label"),
        lambda rows, held: rows[0].update(extra=1),
        lambda rows, held: rows[0]["turns"][1].update(learn=True),
        lambda rows, held: rows[0]["turns"][-1].update(learn=False),
        lambda rows, held: rows[0]["turns"][0].update(role="tool"),
        lambda rows, held: rows.append({}),
    ],
)
def test_items_that_break_the_rules_are_refused_though_the_hashes_fit(
    archive: Path, other: tuple[Store, Home], change: Callable[..., object]
) -> None:
    with zipfile.ZipFile(archive) as members:
        held = json.loads(members.read("test.jsonl").splitlines()[0])["group"]
    forge(archive, lambda rows: change(rows, held))
    with pytest.raises(DatasetDamaged):
        import_version(*other, archive)
    assert list_left(other[1]) == []


def test_a_forged_archive_that_keeps_the_rules_is_taken(archive: Path, other: tuple[Store, Home]) -> None:
    forge(archive, lambda rows: rows.pop())
    assert import_version(*other, archive)[1]


@pytest.mark.parametrize("created", ["", "yesterday", "\x1b[2J2026-01", "2026-01-01T00:00:00+00:00\n\x1b[2J"])
def test_the_manifests_date_is_a_date(archive: Path, other: tuple[Store, Home], created: str) -> None:
    def date(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        members["manifest.json"] = json.dumps(manifest | {"created": created}).encode()

    rewrite(archive, date)
    with pytest.raises(DatasetDamaged):
        import_version(*other, archive)


def test_an_archive_that_trains_on_what_is_held_out_here_is_taken_and_told(
    archive: Path, other: tuple[Store, Home], store: Store, home: Home, tmp_path: Path
) -> None:
    folder, _ = import_version(store, home, archive, name="same")
    assert "held_elsewhere" not in folder.manifest.counts
    held = next(DatasetFolder.open(home.datasets / "talks" / "1").read("test"))

    def teach(rows: list[dict[str, object]]) -> None:
        rows[0] |= {"turns": held.model_dump()["turns"], "group": "g", "conversation": ""}

    forge(archive, teach)
    with zipfile.ZipFile(archive) as members:
        kept = {name: members.read(name) for name in members.namelist()}
    manifest = json.loads(kept["manifest.json"])
    manifest["files"]["test"] = {"rows": 0, "size": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    rewrite(
        archive, lambda members: members.update({"test.jsonl": b"", "manifest.json": json.dumps(manifest).encode()})
    )
    folder, is_new = import_version(store, home, archive, name="theirs")
    assert (is_new, folder.manifest.counts["held_elsewhere"]) == (True, 1)


def test_what_an_archive_holds_out_and_versions_here_train_on_is_told_and_not_asked(
    archive: Path, other: tuple[Store, Home], base: ModelFolder, file: Path, template: ChatTemplate
) -> None:
    """The other machine, which has another hash of them, trained on all that this one holds out."""
    changed = [{**row, "instruction": row["instruction"].upper()} for row in json.loads(file.read_text())]
    file.write_text(json.dumps(changed))
    request = BuildRequest("mine", "sft", files=(file,), validation=0.0, test=0.0)
    build(*other, template, base, request)
    folder, _ = import_version(*other, archive)
    items = [item for split in SPLITS[1:] for item in folder.read(split)]
    taught = {item.group for item in items if item.source != "chat"}
    assert len(taught) > 2
    assert folder.manifest.taught == taught
    assert other[0].datasets.find("talks").counts["taught"] == sorted(taught)
    assert "held out are trained on by other versions here" in "".join(describe_counts(folder.manifest.counts))
    held = hold(folder, template, window=512, most=300, fewest=8)
    assert {item.group for item in held.items} == {item.group for item in items} - taught


def test_what_is_about_another_machine_is_not_believed(archive: Path, other: tuple[Store, Home]) -> None:
    def spoil(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        manifest["counts"] |= {"taught": ["x"], "held_elsewhere": 7, "imported": False, "deleted": "now"}
        members["manifest.json"] = json.dumps(manifest).encode()

    rewrite(archive, spoil)
    folder, _ = import_version(*other, archive)
    assert not folder.manifest.counts.keys() & {"taught", "held_elsewhere"}
    assert other[0].datasets.find("talks").imported


def test_a_version_that_is_frozen_while_an_archive_is_checked_counts_too(
    archive: Path, other: tuple[Store, Home], base: ModelFolder, file: Path, template: ChatTemplate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    find = remembering.find_known

    def find_and_build(*arguments: Any) -> frozenset[str]:
        found = find(*arguments)
        if arguments[-1] == ("train",) and not other[0].datasets.versions("mine"):
            build(*other, template, base, BuildRequest("mine", "sft", files=(file,), validation=0.0, test=0.0))
        return found

    monkeypatch.setattr(moving, "find_known", find_and_build)
    assert import_version(*other, archive)[0].manifest.taught


def test_an_archive_mends_nothing_but_comes_anew_if_the_version_here_is_damaged(
    archive: Path, store: Store, home: Home
) -> None:
    (home.datasets / "talks" / "1" / "train.jsonl").unlink()
    folder, is_new = import_version(store, home, archive)
    assert (is_new, folder.manifest.number) == (True, 2)


@pytest.mark.parametrize("name", ["../x", "", "a/b", "\x1b"])
def test_the_manifests_name_cannot_lead_elsewhere(archive: Path, other: tuple[Store, Home], name: str) -> None:
    def rename(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        members["manifest.json"] = json.dumps(manifest | {"name": name}).encode()

    rewrite(archive, rename)
    with pytest.raises(InvalidInput):
        import_version(*other, archive)
    assert list_left(other[1]) == []
    assert import_version(*other, archive, name="good")[1]
    assert read_manifest(other[1].datasets / "good" / "1").name == "good"


def test_what_is_no_archive_is_refused(tmp_path: Path, other: tuple[Store, Home], file: Path) -> None:
    for path in (file, tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidInput):
            import_version(*other, path)
