"""Whole-file and whole-folder writes.

A reader sees the old file or the new one, never half of one, even if the machine stops in between: write beside the
target, fsync, rename, fsync the folder. Everything is private to its owner (0600, folders 0700), because what people
say to a chatbot is nobody else's business.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_REPLACED = ".old."


def make_private_folder(folder: Path) -> Path:
    """`folder`, made if missing; it and the parents that are made for it are open to their owner only (0700).

    What is there already keeps its permissions: they are its owner's choice. Raises OSError.
    """
    missing = []
    for path in (folder, *folder.parents):
        if path.exists():
            break
        missing.append(path)
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)  # `mkdir(parents=True)` would leave the parents to the umask
    folder.mkdir(mode=0o700, exist_ok=True)  # raises if `folder` is a file
    return folder


def write_file(path: Path, content: bytes | str) -> None:
    """Replaces `path` by `content` in one step. Raises OSError; the old file is then still whole."""
    data = content.encode() if isinstance(content, str) else content
    make_private_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def new_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty folder to fill; it becomes `target` only if the block ends without an exception.

    The folder is filled beside `target`, on the same file system, so that the rename is one step. An existing `target`
    is an error (FileExistsError) unless `replace` is true; then it stays in its place until the new folder is safe on
    the disk, and is missing only between two renames. What a kill there leaves is for `restore_folders`.
    """
    make_private_folder(target.parent)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield folder
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o600)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            else:
                sync_folder(path)
        sync_folder(folder)
        if not target.exists():
            folder.rename(target)
        elif replace:
            _swap(folder, target)
        else:
            raise FileExistsError(f"{target} exists")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sync_folder(target.parent)


def _swap(folder: Path, target: Path) -> None:
    """`folder` takes the place of `target`, which is deleted."""
    grave = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}{_REPLACED}"))
    old = grave / target.name
    try:
        target.rename(old)
        try:
            folder.rename(target)
        except BaseException:
            if not target.exists():
                old.rename(target)
            raise
        sync_folder(target.parent)
    finally:
        if target.exists():
            shutil.rmtree(grave, ignore_errors=True)


def restore_folders(parent: Path) -> None:
    """Puts back each folder in `parent` that a killed `new_folder` had moved away, if nothing has taken its place."""
    for grave in parent.glob(f".*{_REPLACED}*"):
        name = grave.name[1:].rpartition(_REPLACED)[0]
        if name and not (parent / name).exists() and (grave / name).is_dir() and not (grave / name).is_symlink():
            (grave / name).rename(parent / name)
    sync_folder(parent)


def sync_folder(folder: Path) -> None:
    """Makes a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """The sha256 of a file as hex; `on_bytes` hears how many bytes each step read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            if on_bytes:
                on_bytes(len(block))
    return digest.hexdigest()


def package_folder(name: str) -> Path:
    """The folder `data` or `migrations`: beside the package in a checkout, inside it in an installed wheel.

    `importlib.resources` does not find it in an editable install, so both places are tried. Raises FileNotFoundError
    that names them.
    """
    package = Path(__file__).resolve().parent
    places = [package.parent / name, package / name]
    # A stranger's `data` may lie beside the package in site-packages: only a checkout has the project file too.
    if (package.parent / "pyproject.toml").is_file() and places[0].is_dir():
        return places[0]
    if places[1].is_dir():
        return places[1]
    raise FileNotFoundError(f"the folder '{name}' is in neither {places[0]} nor {places[1]}")
