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


def make_private_folder(folder: Path) -> Path:
    """`folder`, made with its parents if missing and readable by its owner only."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
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
def new_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; it becomes `target` only if the block ends without an exception.

    The folder is filled beside `target`, on the same file system, so that the rename is one step. An existing `target`
    is an error (FileExistsError): deciding what to do with it is the caller's business.
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
        if target.exists():
            raise FileExistsError(f"{target} exists")
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sync_folder(target.parent)


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
