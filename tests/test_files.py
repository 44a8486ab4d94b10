from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from chatbot.files import hash_file, make_private_folder, new_folder, package_folder, restore_folders, write_file


def test_a_written_file_is_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_file(path, "one")
    write_file(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_file(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "new \ud800")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_file(tmp_path / "folder", "a folder cannot be replaced by a file")
    assert path.read_text() == "old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file.txt", "folder"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "model") as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "model") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").write_text("all")
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / "sub" / "weights").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError), new_folder(tmp_path / "model"):
        pass


def test_a_folder_is_replaced_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("old")
    synced: list[tuple[str, str]] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}")
        synced.append((place.readlink().name if place.exists() else "", (target / "weights").read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    with new_folder(target, replace=True) as folder:
        (folder / "weights").write_text("new")
    assert [text for _, text in synced[:2]] == ["old", "old"]  # the file, its folder; only then the renames
    assert {text for _, text in synced[2:]} == {"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert target.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("old")
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if to == target and not (self / "weights").read_text() == "old":
            raise OSError("no")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no"), new_folder(target, replace=True) as folder:
        (folder / "weights").write_text("new")
    assert (target / "weights").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_kill_left_is_put_back(tmp_path: Path) -> None:
    for name in ("lost", "kept", "odd.old.name"):
        grave = tmp_path / f".{name}.old.abcdefgh" / name
        grave.mkdir(parents=True)
        (grave / "weights").write_text("old")
    (tmp_path / "kept").mkdir()
    (tmp_path / ".gone.old.abcdefgh").mkdir()
    restore_folders(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "kept",
        "lost",
        "odd.old.name",
    ]
    assert (tmp_path / "lost" / "weights").read_text() == "old"
    assert not list((tmp_path / "kept").iterdir())


def test_made_parents_are_private_and_others_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there").chmod(0o755)
    make_private_folder(tmp_path / "there" / "one" / "two")
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "there", *sorted((tmp_path / "there").rglob("*")))]
    assert modes == [0o755, 0o700, 0o700]
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(OSError):
            make_private_folder(path)


def test_hash_counts_bytes(tmp_path: Path) -> None:
    content = b"x" * (3 << 20) + b"y"
    (tmp_path / "f").write_bytes(content)
    steps: list[int] = []
    assert hash_file(tmp_path / "f", steps.append) == hashlib.sha256(content).hexdigest()
    assert sum(steps) == len(content)


def test_package_folders_are_found() -> None:
    assert (package_folder("migrations") / "env.py").is_file()
    assert (package_folder("data") / "catalogue.toml").is_file()
    with pytest.raises(FileNotFoundError, match=r"neither .*nowhere nor .*nowhere"):
        package_folder("nowhere")
