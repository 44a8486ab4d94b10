"""A version as one file, to hand to another machine: a ZIP with the manifest and the three splits, nothing else.

The same version always makes the same bytes. What comes back is hostile: no name in the archive becomes a path, only
the four that are known are read, unpacking is bounded, and nothing is kept unless every hash in the manifest is right,
every line is an item of the manifest's kind, and no group stands in two splits.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from chatbot.admin.datasets.folder import MANIFEST, TAUGHT, DatasetFolder, DatasetManifest, write_folder
from chatbot.admin.datasets.freezing import (
    check_unchanged,
    find_whole,
    lock_datasets,
    next_number,
    register,
    settle,
)
from chatbot.admin.datasets.items import SPLITS, Item, Split, hash_content
from chatbot.admin.datasets.remembering import find_known
from chatbot.admin.datasets.request import check_name
from chatbot.config import Home
from chatbot.errors import DatasetDamaged, InvalidInput, LearningError
from chatbot.files import sync_folder
from chatbot.logs.formats.source import Limits, OpenedFile, open_files
from chatbot.store.database import Store
from chatbot.store.tables import ID_LENGTH

_MEMBERS = (MANIFEST, *(f"{split}.jsonl" for split in SPLITS))
_LIMITS = Limits(members=16, total=16 << 30)
_LONGEST_NAME = 200  # characters of a source or a group
_BLOCK = 1 << 20
_HERE = ("held_elsewhere", TAUGHT, "replaces")  # counts that are about one machine


def export_version(folder: DatasetFolder, path: Path, *, replace: bool = False) -> None:
    """Writes the archive, whole or not at all, readable by its owner only. Raises InvalidInput if `path` exists and is
    not to be replaced, is no file or cannot be written, DatasetDamaged."""
    DatasetFolder.open(folder.path)  # the hashes, of every byte that goes out
    try:
        if (path.exists() or path.is_symlink()) and not path.is_file():  # a device, say, would be gone
            raise InvalidInput(f"{path} is no file.", hint="Name a file to write.")
        if path.exists() and not replace:
            raise InvalidInput(f"{path} exists already.", hint="Choose another name, or give --force.")
        with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=".dataset.", delete=False) as file:
            try:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                    for name in _MEMBERS:
                        _add_member(archive, folder.path / name, name)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        sync_folder(path.absolute().parent)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.", hint="Choose another place.") from None


def import_version(store: Store, home: Home, path: Path, *, name: str = "") -> tuple[DatasetFolder, bool]:
    """The version in an archive under the next number of its dataset (or of `name`), and whether it is new here: one
    with the same content is not taken twice. Raises InvalidInput, DatasetDamaged, StoreError."""
    with _unpack(home, path) as unpacked:
        try:
            folder = DatasetFolder.open(unpacked)
            items = _check_items(folder)
        except DatasetDamaged as error:
            # Its folder is gone in a moment: the archive is what a person can look at.
            message = error.message.replace(str(unpacked), str(path))
            raise DatasetDamaged(message, hint="Export it anew.") from None
        name = check_name(name or folder.manifest.name)
        known = store.datasets.versions(name)
        if known and known[-1].kind != folder.manifest.kind:
            raise InvalidInput(
                f"The dataset {name} is of the kind {known[-1].kind}, not {folder.manifest.kind}.", hint="Give --name."
            )
        for version in known:
            if version.sha256 == folder.manifest.sha256 and (same := find_whole(home, version)) is not None:
                return same, False

        def take(seen: int) -> DatasetFolder:
            leaks = _find_leaks(store, home, items)
            with lock_datasets(home):
                check_unchanged(store, seen)
                return _take(store, home, path, folder.manifest, items, name, leaks)

        return settle(store, take), True


def _find_leaks(store: Store, home: Home, items: Mapping[Split, Sequence[Item]]) -> dict[str, int | list[str]]:
    """What its train part would teach of what is held out here, and which groups that it holds out were taught here."""
    held = find_known(store, home, items["train"], SPLITS[1:])
    own = [item for split in SPLITS[1:] for item in items[split]]
    known = find_known(store, home, own, SPLITS[:1])
    taught = sorted({item.group for item in own if hash_content(item) in known})
    leaks: dict[str, int | list[str]] = {"held_elsewhere": len(held), TAUGHT: taught}
    return {name: value for name, value in leaks.items() if value}


def _take(
    store: Store,
    home: Home,
    path: Path,
    manifest: DatasetManifest,
    items: Mapping[Split, Sequence[Item]],
    name: str,
    leaks: Mapping[str, int | list[str]],
) -> DatasetFolder:
    """Writes folder and rows. Its `leaks` are told, not mended: a version stays the one that it was."""
    number = next_number(store, home, name)
    about = manifest.model_dump(exclude={"files", "name", "number"})
    about["counts"] = {key: value for key, value in manifest.counts.items() if key not in _HERE}
    about["counts"] |= leaks
    try:
        taken = write_folder(home.datasets / name / str(number), items, name=name, number=number, **about)
    except OSError as error:
        raise LearningError(f"{home.datasets / name} cannot be written: {error.strerror}.") from None
    try:
        if taken.manifest.sha256 != manifest.sha256:
            raise DatasetDamaged(f"{path} is not written as this program writes datasets.", hint="Export it anew.")
        register(store, taken, items, imported=True)
    except BaseException:
        shutil.rmtree(taken.path, ignore_errors=True)
        raise
    return taken


def _add_member(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    about = zipfile.ZipInfo(name)  # 1980, so that the same content makes the same bytes
    about.compress_type = zipfile.ZIP_DEFLATED
    about.external_attr = 0o600 << 16
    with path.open("rb") as file, archive.open(about, "w", force_zip64=True) as member:
        shutil.copyfileobj(file, member, _BLOCK)


@contextmanager
def _unpack(home: Home, path: Path) -> Iterator[Path]:
    """A folder with the four files of the archive. Raises InvalidInput, DatasetDamaged."""
    seen: set[str] = set()
    home.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.data, prefix=".dataset.") as folder:
        for found in open_files(path, _LIMITS):
            if not isinstance(found, OpenedFile):
                raise DatasetDamaged(f"{path} cannot be taken: {found.file} {found.reason}.")
            if found.only or found.name not in _MEMBERS or found.name in seen:
                raise InvalidInput(f"{path} is no exported dataset: it holds {found.name}.")
            seen.add(found.name)
            with (Path(folder) / found.name).open("xb") as file:
                try:
                    shutil.copyfileobj(found.stream, file, _BLOCK)
                except InvalidInput as error:
                    raise DatasetDamaged(f"{path}: {found.name} {error.message}.") from None
        if seen != set(_MEMBERS):
            raise InvalidInput(f"{path} is no exported dataset: it lacks {', '.join(sorted(set(_MEMBERS) - seen))}.")
        yield Path(folder)


def _check_items(folder: DatasetFolder) -> dict[Split, Sequence[Item]]:
    """The items, if they are what the manifest says. Raises DatasetDamaged."""
    splits: dict[str, Split] = {}
    names: set[str] = set()
    items: dict[Split, Sequence[Item]] = {}
    for split in SPLITS:
        items[split] = own = list(folder.read(split))
        if len(own) != folder.manifest.files[split].rows:
            raise DatasetDamaged(f"{folder.path / split}.jsonl has other rows than its manifest says.")
        for item in own:
            fault = _find_fault(folder, item)
            if item.id in names:
                fault = "two items have one id"
            elif splits.setdefault(item.group, split) != split:
                fault = "one group stands in two splits"
            names.add(item.id)
            if fault:
                raise DatasetDamaged(f"{folder.path / split}.jsonl: {fault}.")
    return items


def _find_fault(folder: DatasetFolder, item: Item) -> str:
    if item.kind != folder.manifest.kind:
        return f"an item is of the kind {item.kind}"
    if max(map(len, (item.id, item.conversation, *item.messages_from))) > ID_LENGTH:
        return "an identifier is too long"
    if max(len(item.source), len(item.group)) > _LONGEST_NAME:
        return "the name of a source or group is too long"
    learnt = [turn.role for turn in item.turns if turn.learn]
    if any(role != "assistant" for role in learnt):
        return "an item learns what is no reply"
    if item.kind == "sft" and not learnt:
        return "an item has nothing to learn"
    if item.kind != "sft" and (learnt or not item.turns or item.turns[-1].role != "user"):
        return "replies are compared or labelled below what is no prompt"
    return ""
