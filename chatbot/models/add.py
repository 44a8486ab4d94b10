"""Adding a model that the catalogue does not know: a hub repository, a folder, or a GGUF file."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from chatbot.errors import InvalidInput, ModelRefused
from chatbot.files import hash_file
from chatbot.models.catalogue import HubSource
from chatbot.models.gguf_conversion import convert_gguf
from chatbot.models.inspection import choose_files
from chatbot.models.installation import Origin, check_space, explain_disk, install_model, lock_library
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.manifest import check_name
from chatbot.models.progress import Reporter, SilentReporter, report_step
from chatbot.models.pull import pull_repository
from chatbot.text import printable_line

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_GGUF_GROWTH = 8  # four bits become sixteen or thirty-two
_BLOCK = 4 << 20  # bytes copied at a time


def add_model(
    library: ModelLibrary,
    what: str,
    *,
    name: str = "",
    revision: str = "main",
    force: bool = False,
    reporter: Reporter | None = None,
    endpoint: str | None = None,
) -> ModelFolder:
    """Takes in `what`: a folder, a .gguf file, or the id `org/name` of a hub repository. The original stays as it is.

    `name` is by default the folder's, file's or repository's own, in lower case. Raises InvalidInput if `what` is none
    of these or the name is taken, ModelRefused, ModelDamaged, ModelNotFound, SourceUnreachable, or ModelError.
    """
    reporter = reporter or SilentReporter()
    path = Path(what)
    try:
        exists = bool(what) and path.exists()
    except OSError:  # too long for a path
        exists = False
    is_hub_id = not exists and _HUB_ID.fullmatch(what) is not None
    if not exists and not is_hub_id:
        raise InvalidInput(
            f"{printable_line(what, 120)!r} is no folder, no GGUF file and no hub id.",
            hint="A hub id looks like org/name.",
        )
    name = check_name(name or _suggest_name(what if is_hub_id else path.absolute().name))
    with lock_library(library, reporter), explain_disk(library.folder):
        if (library.folder / name).exists() and not force:
            raise InvalidInput(
                f"There is a model {name} already.", hint="Choose another --name, or replace it with --force."
            )
        if is_hub_id:
            source = HubSource(repository=what, revision=revision)
            return pull_repository(source, name, library, reporter, endpoint=endpoint)
        if path.is_dir():
            return _add_folder(library, path.resolve(), name, reporter)
        if path.suffix.lower() == ".gguf":
            return _add_gguf(library, path.resolve(), name, reporter)
        raise ModelRefused(f"{path} is neither a folder nor a .gguf file.")


def _suggest_name(text: str) -> str:
    stem = re.sub(r"\.gguf$", "", text.rsplit("/", 1)[-1], flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:90]


def _add_folder(library: ModelLibrary, source: Path, name: str, reporter: Reporter) -> ModelFolder:
    sizes: dict[str, int] = {}
    links: list[str] = []
    for entry in source.iterdir():
        mode = entry.lstat().st_mode
        if stat.S_ISREG(mode):
            sizes[entry.name] = entry.lstat().st_size
        elif stat.S_ISLNK(mode):
            links.append(entry.name)
    chosen = choose_files([*sizes, *links], str(source))
    for linked in set(chosen).intersection(links):
        raise ModelRefused(
            f"{source / linked} is a link, which may lead anywhere.",
            hint="Copy the folder with `cp -RL` and add the copy.",
        )
    total = sum(sizes[file] for file in chosen)
    check_space(library.folder, total)

    def fill(folder: Path) -> Origin:
        done = 0
        with report_step(reporter, "Copying", total):
            for file in chosen:
                done = _copy(source / file, folder / file, done, reporter)
        return Origin(f"folder:{source}")

    return install_model(library, name, fill, reporter)


def _add_gguf(library: ModelLibrary, source: Path, name: str, reporter: Reporter) -> ModelFolder:
    size = source.stat().st_size
    with source.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelRefused(f"{source} is no GGUF file.")
    check_space(library.folder, size * _GGUF_GROWTH)

    def fill(folder: Path) -> Origin:
        fields = convert_gguf(source, folder, reporter)
        digest = hash_file(source)
        return Origin(f"gguf:{source}", digest, printable_line(fields.get("general.license", ""), 100))

    return install_model(library, name, fill, reporter)


def _copy(source: Path, target: Path, done: int, reporter: Reporter) -> int:
    """Copies a plain file, and refuses one that has become a link meanwhile. Returns the bytes done so far."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as original, target.open("xb") as copy:
        while block := original.read(_BLOCK):
            copy.write(block)
            done += len(block)
            reporter.update(done)
    return done
