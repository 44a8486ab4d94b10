"""Taking a model in: one at a time, whole or not at all.

The folder is filled beside its place under a hidden name, inspected, hashed, given its manifest and renamed. A lock
that the kernel frees when its holder dies makes a second process wait; the next holder puts back the old
model that a killed one had moved aside, and clears away the rest.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from chatbot.errors import InvalidInput, ModelError, ModelRefused
from chatbot.files import hash_file, make_private_folder, new_folder, restore_folders, write_file
from chatbot.models.adapters import read_adapter_config, read_adapter_weights
from chatbot.models.inspection import inspect_folder
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.manifest import ADAPTER_FILES, MANIFEST, FileRecord, Manifest, check_name
from chatbot.models.progress import Reporter

LOCK = ".lock"
DOWNLOADS = ".downloads"
_KEEP_DOWNLOADS = 7 * 24 * 3600  # seconds that an interrupted download can be taken up again


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a filled folder came from."""

    source: str
    revision: str = ""
    licence: str = ""
    generation: dict[str, bool | int | float] = field(default_factory=dict)
    """What generation_config.json shall say besides."""
    answers: Literal["chat", "text"] = "chat"
    """As in the manifest."""


@contextmanager
def lock_library(library: ModelLibrary, reporter: Reporter) -> Iterator[None]:
    """Only one process at a time changes the library; others wait, and say so."""
    make_private_folder(library.folder)
    lock = FileLock(library.folder / LOCK, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        reporter.say("Another process is fetching a model; waiting for it to end.")
        lock.acquire()
    try:
        with explain_disk(library.folder):
            restore_folders(library.folder)
            _clear_leftovers(library.folder)
        yield
    finally:
        lock.release()


def install_model(library: ModelLibrary, name: str, fill: Callable[[Path], Origin], reporter: Reporter) -> ModelFolder:
    """Calls `fill` with an empty folder and makes a model of what it holds then. The caller holds the lock.

    A model of that name is replaced when the new one is whole and safe on the disk, and stays if anything goes wrong.
    Raises ModelError.
    """
    with explain_disk(library.folder), new_folder(library.folder / name, replace=True) as folder:
        origin = fill(folder)
        _merge_generation(folder, origin)
        manifest = _describe(folder, name, origin, reporter)
        write_file(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return library.find(name)


def install_adapter(
    library: ModelLibrary,
    name: str,
    folder: Path,
    *,
    base: ModelFolder,
    source: str,
    created: str = "",
    answers: Literal["chat", "text"] = "chat",
) -> ModelFolder:
    """Takes in the adapter that peft saved in `folder`, trained on `base`. The caller holds the lock.

    `base` is the model as it was when the training began: if it has changed since, the adapter is refused. `source`,
    `created` and `answers` are as in `write_adapter`. Raises InvalidInput if the name is taken, ModelDamaged,
    ModelRefused, ModelNotFound, ModelError.
    """
    check_name(name)
    if (library.folder / name).exists():
        raise InvalidInput(f"There is a model {name} already.", hint="Choose another name, or remove it first.")

    def check(place: Path, manifest: Manifest) -> None:
        library.check_base(name, place, manifest)

    with explain_disk(library.folder):
        write_adapter(
            library.folder / name, folder, base=base, source=source, created=created, answers=answers, check=check
        )
    return library.find(name)


def write_adapter(
    target: Path,
    folder: Path,
    *,
    base: ModelFolder,
    source: str,
    created: str = "",
    answers: Literal["chat", "text"] = "chat",
    check: Callable[[Path, Manifest], None] = lambda _, __: None,
) -> Manifest:
    """Makes the folder `target` of the adapter that peft saved in `folder`, whole or not at all; nothing but its two
    files is copied. Anywhere on the disk: `install_adapter` does it in the library.

    `source` is such as run:<id>; `created` is now unless it is given. `answers` is chat whatever
    the base does, since teaching it that is what most adapters are for. `check` sees all but the name before it counts.
    Raises ModelDamaged, ModelRefused, OSError; FileExistsError if `target` is there.
    """
    if base.base is not None:
        raise ModelRefused(f"{base.name} is an adapter itself, and cannot be the base of {target.name}.")
    with new_folder(target) as place:
        for file in sorted(ADAPTER_FILES):
            shutil.copyfile(folder / file, place / file)
        config = read_adapter_config(place)
        weights = read_adapter_weights(place, config)
        own = {
            "name": target.name,
            "kind": "adapter",
            "source": source,
            "revision": "",
            "answers": answers,
            "base": base.name,
            "base_sha256": base.sha256,
            "tokenizer_sha256": next(
                (file.sha256 for file in base.manifest.files if file.path == "tokenizer.json"), ""
            ),
            "parameters": sum(part.down.numel() + part.up.numel() for part in weights.values()),
            "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
            "files": tuple(_record(place / file) for file in sorted(ADAPTER_FILES)),
        }
        manifest = Manifest(**base.manifest.model_dump(exclude={"seal", *own}) | own)
        write_file(place / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
        check(place, manifest)
    return manifest


def check_space(folder: Path, needed: int) -> None:
    """Raises ModelError if the disk of `folder` has not `needed` bytes left."""
    free = shutil.disk_usage(make_private_folder(folder)).free
    if free < needed:
        raise ModelError(
            f"The model needs {needed / 1e6:,.0f} MB, but {folder} has {free / 1e6:,.0f} MB left.",
            hint="Make room, or set CHATBOT_HOME to a folder on another disk.",
        )


@contextmanager
def explain_disk(folder: Path) -> Iterator[None]:
    """Turns the disk's refusals into ModelError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(
                f"The disk of {folder} is full.", hint="Make room, or set CHATBOT_HOME to a folder on another disk."
            ) from None
        raise ModelError(f"{error.filename or folder} cannot be used: {error.strerror or error}.") from None


def _clear_leftovers(folder: Path) -> None:
    for path in folder.iterdir():
        if not path.name.startswith(".") or path.is_symlink() or not path.is_dir():
            continue
        if path.name != DOWNLOADS:
            shutil.rmtree(path, ignore_errors=True)
            continue
        for download in path.iterdir():
            if time.time() - download.stat().st_mtime > _KEEP_DOWNLOADS:
                shutil.rmtree(download, ignore_errors=True)


def _merge_generation(folder: Path, origin: Origin) -> None:
    if not origin.generation:
        return
    path = folder / "generation_config.json"
    settings = json.loads(path.read_bytes()) if path.exists() else {}
    write_file(path, json.dumps(settings | origin.generation, indent=2) + "\n")


def _describe(folder: Path, name: str, origin: Origin, reporter: Reporter) -> Manifest:
    found = inspect_folder(folder)
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    total = sum(path.stat().st_size for path in paths)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        reporter.update(done)

    reporter.begin("Checking", total)
    try:
        files = tuple(_record(path, advance) for path in paths)
    finally:
        reporter.end()
    return Manifest(
        name=name,
        source=origin.source,
        revision=origin.revision,
        licence=origin.licence,
        architecture=found.architecture,
        dtype=found.dtype,
        parameters=found.parameters,
        context=found.context,
        template_sha256=found.template_sha256,
        answers=origin.answers,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
    )


def _record(path: Path, on_bytes: Callable[[int], None] | None = None) -> FileRecord:
    return FileRecord(path=path.name, size=path.stat().st_size, sha256=hash_file(path, on_bytes))
