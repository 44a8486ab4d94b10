"""Freezing: a version gets its number, its folder and its rows; and how it is found and deleted again.

Whoever writes, deletes or moves folders holds one lock: a number is given once, and nobody takes the moment between two
renames for damage. What goes where is decided before, by what other versions hold out, and takes too long for a lock;
so whoever freezes says how many versions there were when they looked, and begins again if there are more by then.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from chatbot.admin.datasets.folder import (
    MANIFEST,
    DatasetFolder,
    DatasetManifest,
    describe_split,
    read_manifest,
    write_folder,
)
from chatbot.admin.datasets.items import SPLITS, Item, Split, hash_content
from chatbot.admin.datasets.request import parse_title
from chatbot.config import Home
from chatbot.errors import DatasetDamaged, InvalidInput, LearningError
from chatbot.files import make_private_folder, restore_folders
from chatbot.store.database import Store
from chatbot.store.datasets import DatasetItem, DatasetVersion

_LOCK = ".lock"
_WAIT = 120  # seconds
_TRIES = 8
_T = TypeVar("_T")


class DatasetsChanged(LearningError):
    """A version was added by somebody else, and what was to be frozen does not know it."""


def settle(store: Store, make: Callable[[int], _T]) -> _T:
    """What `make` makes of the number of versions that there were when it began; from the beginning each time that it
    raises DatasetsChanged. Raises that too, if there is no end of it."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(DatasetsChanged):
            return make(store.datasets.count_versions())
    return make(store.datasets.count_versions())


def check_unchanged(store: Store, seen: int) -> None:
    """For whoever holds the lock. Raises DatasetsChanged if there are more versions than were `seen`."""
    if store.datasets.count_versions() != seen:
        raise DatasetsChanged(
            "Other datasets are being built, one after the other.", hint="Try again when they are done."
        )


@contextmanager
def lock_datasets(home: Home) -> Iterator[None]:
    """Only one process at a time changes folders of datasets; others wait. Not to be taken twice. Raises
    LearningError."""
    try:
        make_private_folder(home.datasets)
        lock = FileLock(home.datasets / _LOCK, mode=0o600)
        lock.acquire(timeout=_WAIT)
    except Timeout:
        raise LearningError("Another process is writing datasets.", hint="Try again when it has ended.") from None
    except OSError as error:
        raise LearningError(f"{home.datasets} cannot be written: {error.strerror}.") from None
    try:
        yield
    finally:
        lock.release()


def freeze(
    store: Store, home: Home, items: Mapping[Split, Sequence[Item]], *, seen: int | None = None, **about: Any
) -> DatasetFolder:
    """A version with these items under the next number; the newest one if it holds the same and its files are whole.
    `about` are the manifest's other fields but `number` and `files`. Raises InvalidInput if the dataset is of another
    kind, LearningError if the folder cannot be written, StoreError, and DatasetsChanged if there are more versions than
    were `seen` when the items were split."""
    with lock_datasets(home):
        if seen is not None:
            check_unchanged(store, seen)
        return _freeze(store, home, items, about)


def _freeze(store: Store, home: Home, items: Mapping[Split, Sequence[Item]], about: dict[str, Any]) -> DatasetFolder:
    name = str(about["name"])
    known = store.datasets.versions(name)
    if known and known[-1].kind != about["kind"]:
        raise InvalidInput(
            f"The dataset {name} is of the kind {known[-1].kind}, not {about['kind']}.", hint="Choose another name."
        )
    files = {split: describe_split(items.get(split, ())) for split in SPLITS}
    new = DatasetManifest(files=files, number=1, **about)
    if known and known[-1].sha256 == new.sha256:
        if (same := find_whole(home, known[-1])) is not None:
            return same
        about["counts"] = {**about["counts"], "replaces": known[-1].number}
    number = next_number(store, home, name)
    try:
        folder = write_folder(home.datasets / name / str(number), items, number=number, **about)
    except OSError as error:
        raise LearningError(f"{home.datasets / name} cannot be written: {error.strerror}.") from None
    try:
        register(store, folder, items)
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return folder


def register(
    store: Store, folder: DatasetFolder, items: Mapping[Split, Sequence[Item]], *, imported: bool = False
) -> str:
    """Writes the rows of a folder; returns the version's identifier."""
    manifest = folder.manifest
    return store.datasets.add_version(
        manifest.name,
        manifest.kind,
        manifest.number,
        sha256=manifest.sha256,
        recipe=manifest.recipe,
        template_sha=manifest.template_sha256,
        tokenizer_sha=manifest.tokenizer_sha256,
        counts=manifest.counts,
        imported=imported,
        items=(
            DatasetItem(split, item.group, hash_content(item), item.conversation, item.messages_from)
            for split in SPLITS
            for item in items.get(split, ())
        ),
    )


def open_version(store: Store, home: Home, title: str) -> tuple[DatasetVersion, DatasetFolder]:
    """The version NAME/NUMBER, or the newest of NAME, its files as they were frozen. Raises NotFound, InvalidInput,
    DatasetDamaged."""
    version = store.datasets.find(*parse_title(title))
    folder = DatasetFolder.open(version_folder(home, version))
    if folder.manifest.sha256 != version.sha256:
        raise DatasetDamaged(
            f"{folder.path} is not what the database knows as {version.title}.",
            hint="Build it anew, or import it anew.",
        )
    return version, folder


def find_whole(home: Home, version: DatasetVersion) -> DatasetFolder | None:
    """The folder of a version, if its files are as they were frozen."""
    try:
        folder = DatasetFolder.open(version_folder(home, version))
    except DatasetDamaged:
        return None
    return folder if folder.manifest.sha256 == version.sha256 else None


def next_number(store: Store, home: Home, name: str) -> int:
    """Above all numbers that the rows or the disk know."""
    return max([store.datasets.next_number(name), *(number + 1 for number in list_numbers(home, name))])


def delete_version(store: Store, home: Home, version: DatasetVersion, *, force: bool = False) -> None:
    """Deletes the files, whole or damaged; the rows go on knowing what was held out. Raises InvalidInput if a run used
    it and that is not passed over by `force`, LearningError if the folder cannot be deleted."""
    path = version_folder(home, version)
    with lock_datasets(home):
        store.datasets.delete(version.id, force=force)
        try:
            # Renamed first: a removal that is interrupted leaves no half of a version under its number.
            if path.is_dir():
                grave = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.removed."))
                path.rename(grave / path.name)
                shutil.rmtree(grave)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise LearningError(f"{path} cannot be deleted: {error.strerror}.", hint="Delete it by hand.") from None


def version_folder(home: Home, version: DatasetVersion) -> Path:
    return home.datasets / version.name / str(version.number)


def list_folders(home: Home) -> Iterator[tuple[str, int, Path]]:
    """Name, number and folder of every version on this disk, for whoever holds the lock. Those that a kill had moved
    away while they were written anew are put back first. Raises LearningError if the disk refuses."""
    try:
        parents = sorted(path for path in home.datasets.iterdir() if path.is_dir() and not path.name.startswith("."))
        for parent in parents:
            restore_folders(parent)
            for number in list_numbers(home, parent.name):
                if (parent / str(number) / MANIFEST).is_file():
                    yield parent.name, number, parent / str(number)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LearningError(f"{home.datasets} cannot be read: {error.strerror}.") from None


def list_items(home: Home, splits: Sequence[Split]) -> list[tuple[Split, Item]]:
    """What the versions on this disk have in `splits`, each content once. Damaged files are passed over: the rows still
    know what they held. Raises LearningError."""
    if not home.datasets.is_dir():
        return []
    found: dict[tuple[Split, str], Item] = {}
    with lock_datasets(home):
        for _, _, path in list_folders(home):
            for split in splits:
                with contextlib.suppress(DatasetDamaged):
                    for item in DatasetFolder(path, read_manifest(path)).read(split):
                        found.setdefault((split, hash_content(item)), item)
    return [(split, item) for (split, _), item in found.items()]


def list_numbers(home: Home, name: str) -> list[int]:
    """The versions of a dataset that have a folder, also those without rows: a build was killed between the two."""
    try:
        names = [path.name for path in (home.datasets / name).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(one) for one in names if one.isascii() and one.isdecimal() and len(one) < 10)
