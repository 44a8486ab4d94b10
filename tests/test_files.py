from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from chatbot.files import hash_file, new_folder, package_folder, write_file


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
