"""The versions of a corpus: how they are found, numbered, locked and deleted.

A corpus shares names and numbers with the datasets, of which it is the kind `text`: one trail leads from all that a
model has learnt to where it came from.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from chatbot.admin.corpus.folder import MANIFEST, CorpusFolder
from chatbot.admin.datasets.request import check_name, parse_title
from chatbot.config import Home
from chatbot.errors import DatasetDamaged, LearningError, NotFound
from chatbot.files import make_private_folder, restore_folders
from chatbot.store.database import Store
from chatbot.store.datasets import DatasetVersion

KIND = "text"
_LOCK = ".lock"
_WAIT = 5  # seconds; whoever builds holds the lock for as long as it takes


@contextmanager
def lock_corpus(parent: Path, wait: float = _WAIT) -> Iterator[None]:
    """Only one process at a time writes below a corpus' folder, which is home.corpora/NAME. Not to be taken twice.
    Raises LearningError."""
    try:
        make_private_folder(parent)
        lock = FileLock(parent / _LOCK, mode=0o600)
        lock.acquire(timeout=wait)
    except Timeout:
        raise LearningError(
            f"Another process is writing the corpus {parent.name}.", hint="Try again when it has ended."
        ) from None
    except OSError as error:
        raise LearningError(
            f"{parent} cannot be written: {error.strerror}.", hint="Check its permissions and the space on its disk."
        ) from None
    try:
        yield
    finally:
        lock.release()


def sweep(parent: Path) -> None:
    """Deletes what killed builds have left, for whoever holds the lock. Raises OSError."""
    restore_folders(parent)
    for path in parent.glob(".*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def list_corpora(store: Store, name: str | None = None) -> list[DatasetVersion]:
    """All versions, or those of one corpus, the oldest first."""
    return [one for one in store.datasets.versions(check_name(name) if name else None) if one.kind == KIND]


def find_corpus(store: Store, title: str) -> DatasetVersion:
    """The version NAME/NUMBER, or the newest of NAME. Raises NotFound, InvalidInput."""
    name, number = parse_title(title)
    found = [one for one in list_corpora(store, name) if number in (None, one.number)]
    if not found:
        which = f"corpus {name}" if number is None else f"version {number} of the corpus {name}"
        raise NotFound(f"There is no {which}.", hint="`chatbot admin corpus list` shows those that there are.")
    return found[-1]


def open_corpus(store: Store, home: Home, title: str) -> tuple[DatasetVersion, CorpusFolder]:
    """The version NAME/NUMBER, or the newest of NAME; sizes are checked, hashes are not (`verify`). Raises NotFound,
    InvalidInput, DatasetDamaged."""
    version = find_corpus(store, title)
    folder = CorpusFolder.open(version_folder(home, version))
    if folder.manifest.sha256 != version.sha256:
        raise DatasetDamaged(
            f"{folder.path} is not what the database knows as {version.title}.", hint="Build the corpus anew."
        )
    return version, folder


def find_whole(home: Home, version: DatasetVersion) -> CorpusFolder | None:
    """The folder of a version, if its files are as they were frozen."""
    try:
        folder = CorpusFolder.open(version_folder(home, version))
        folder.verify()
    except DatasetDamaged:
        return None
    return folder if folder.manifest.sha256 == version.sha256 else None


def version_folder(home: Home, version: DatasetVersion) -> Path:
    return home.corpora / version.name / str(version.number)


def next_number(store: Store, home: Home, name: str) -> int:
    """Above all numbers that the rows or the disk know."""
    return max([store.datasets.next_number(name), *(number + 1 for number in list_numbers(home.corpora / name))])


def list_numbers(parent: Path) -> list[int]:
    """The versions that have a folder, also those without rows: a build was killed between the two."""
    try:
        names = [path.name for path in parent.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(one) for one in names if one.isascii() and one.isdecimal() and len(one) < 10)


def list_parents(home: Home) -> list[Path]:
    """The folder of every corpus on this disk. Raises LearningError if it cannot be read."""
    try:
        return sorted(path for path in home.corpora.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LearningError(f"{home.corpora} cannot be read: {error.strerror}.") from None


def list_folders(parent: Path) -> list[Path]:
    """The folder of every version of a corpus."""
    folders = [parent / str(number) for number in list_numbers(parent)]
    return [path for path in folders if (path / MANIFEST).is_file()]


def delete_version(store: Store, home: Home, version: DatasetVersion, *, force: bool = False) -> None:
    """Deletes the files, whole or damaged, and what was made of them. Raises InvalidInput if a run used it and that is
    not passed over by `force`, LearningError if the folder cannot be deleted."""
    path = version_folder(home, version)
    with lock_corpus(path.parent):
        store.datasets.delete(version.id, force=force)
        try:
            # Renamed first: a removal that is interrupted leaves no half of a version under its number.
            if path.is_dir():
                grave = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.removed."))
                path.rename(grave / path.name)
                shutil.rmtree(grave)
        except OSError as error:
            raise LearningError(f"{path} cannot be deleted: {error.strerror}.", hint="Delete it by hand.") from None
