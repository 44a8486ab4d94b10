"""A dataset version on disk: manifest.json and one JSONL file for each split.

Frozen: the manifest, written last, holds the sha256 of each file, and reading checks them, because a model trained on
bytes that nobody knows can be believed by nobody. Training and evaluation read this folder and never the database, so
that a run can be repeated on another machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from chatbot.admin.datasets.items import SPLITS, Item, Kind, LabelItem, PreferenceItem, SftItem, Split
from chatbot.errors import DatasetDamaged
from chatbot.files import hash_file, new_folder, write_file
from chatbot.models.manifest import Sha256
from chatbot.text import printable_line

MANIFEST = "manifest.json"
TAUGHT = "taught"  # the groups of DatasetManifest.taught, among its counts
_MOST_MANIFEST = 16 << 20  # bytes


class SplitFile(BaseModel):
    """One split as the manifest names it."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(ge=0)
    size: int = Field(ge=0)
    sha256: Sha256


class DatasetManifest(BaseModel):
    """What manifest.json says."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str
    number: int = Field(ge=1)
    kind: Kind
    model: str
    """The base model whose template and tokenizer the lengths were measured with."""
    template_sha256: Sha256
    tokenizer_sha256: Sha256
    recipe: dict[str, Any]
    """How it was asked for: filters, files, caps, shares, seed, length policy."""
    counts: dict[str, Any]
    """What went in, what was left out and why, languages, lengths."""
    created: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$")
    files: dict[Split, SplitFile]

    @property
    def taught(self) -> frozenset[str]:
        """The groups that it holds out, and that versions made before it on this machine train on: models may know
        them, so they tell nothing."""
        told = self.counts.get(TAUGHT)
        return frozenset(one for one in told if isinstance(one, str)) if isinstance(told, list) else frozenset()

    @property
    def sha256(self) -> str:
        """Identifies what is in it, whatever its name and date."""
        lines = [f"{self.files[split].sha256}  {split}\n" for split in SPLITS]
        lines += [f"{self.kind} {self.template_sha256} {self.tokenizer_sha256}\n"]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


class DatasetFolder:
    """A version on disk. `path` is its folder."""

    def __init__(self, path: Path, manifest: DatasetManifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def title(self) -> str:
        return f"{self.manifest.name} {self.manifest.number}"

    @classmethod
    def open(cls, path: Path) -> DatasetFolder:
        """Reads the manifest and hashes every file. Raises DatasetDamaged naming the file at fault."""
        manifest = read_manifest(path)
        for split, record in manifest.files.items():
            file = path / f"{split}.jsonl"
            try:
                digest = hash_file(file)
            except OSError as error:
                raise DatasetDamaged(f"{file} cannot be read: {error.strerror}.") from None
            if digest != record.sha256:
                raise DatasetDamaged(
                    f"{file} differs from its manifest.", hint="Build the dataset anew, or import it anew."
                )
        return cls(path, manifest)

    def read(self, split: Split) -> Iterator[SftItem | PreferenceItem | LabelItem]:
        """The items of a split in their order. Raises DatasetDamaged naming the file and line."""
        adapter: TypeAdapter[Item] = TypeAdapter(Item)
        path = self.path / f"{split}.jsonl"
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        yield adapter.validate_json(line)
                    except ValidationError as error:
                        reason = printable_line(error.errors()[0]["msg"], 200)
                        raise DatasetDamaged(f"{path}, line {number}: {reason}.") from None
        except OSError as error:
            raise DatasetDamaged(f"{path} cannot be read: {error.strerror}.") from None


def read_manifest(folder: Path) -> DatasetManifest:
    """Raises DatasetDamaged."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MOST_MANIFEST:
            raise DatasetDamaged(f"{path} is too large for a manifest.")
        manifest = DatasetManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetDamaged(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise DatasetDamaged(printable_line(f"{path} is damaged: {error.errors()[0]['msg']}.", 300)) from None
    if set(manifest.files) != set(SPLITS):
        raise DatasetDamaged(f"{path} is damaged: it does not name the three splits.")
    return manifest


def write_folder(
    path: Path,
    items: Mapping[Split, Iterable[SftItem | PreferenceItem | LabelItem]],
    *,
    replace: bool = False,
    **about: Any,
) -> DatasetFolder:
    """Makes the folder `path` whole or not at all; `about` are the manifest's other fields. An old one is replaced only
    if that is asked for. Raises OSError."""
    with new_folder(path, replace=replace) as folder:
        files = {split: _write_split(folder / f"{split}.jsonl", items.get(split, ())) for split in SPLITS}
        manifest = DatasetManifest(files=files, **about)
        write_file(folder / MANIFEST, manifest.model_dump_json(indent=2))
    return DatasetFolder(path, manifest)


def describe_split(items: Iterable[SftItem | PreferenceItem | LabelItem]) -> SplitFile:
    """The split as the manifest would name it, without writing it."""
    digest, rows, size = hashlib.sha256(), 0, 0
    for item in items:
        line = _write_line(item)
        digest.update(line)
        rows, size = rows + 1, size + len(line)
    return SplitFile(rows=rows, size=size, sha256=digest.hexdigest())


def _write_line(item: SftItem | PreferenceItem | LabelItem) -> bytes:
    return item.model_dump_json().encode() + b"\n"


def _write_split(path: Path, items: Iterable[SftItem | PreferenceItem | LabelItem]) -> SplitFile:
    digest, rows, size = hashlib.sha256(), 0, 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for item in items:
            line = _write_line(item)
            file.write(line)
            digest.update(line)
            rows, size = rows + 1, size + len(line)
        file.flush()
        os.fsync(file.fileno())
    return SplitFile(rows=rows, size=size, sha256=digest.hexdigest())
