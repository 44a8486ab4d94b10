"""A corpus version on disk: manifest.json, and one zstd file of JSON lines for each split.

Frozen like a dataset's version, and read from the front to the back without ever being in memory. Packing is done by
one thread at one level, so that the same documents are the same bytes. What is made of it (`tokens/`) is no part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatbot.errors import DatasetDamaged
from chatbot.files import hash_file
from chatbot.models.manifest import Sha256
from chatbot.text import printable_line

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)
MANIFEST = "manifest.json"
_MOST_MANIFEST = 16 << 20  # bytes
_MOST_LINE = 64 << 20  # bytes; a part of a document has fewer characters than a hundredth of it
_LEVEL = 3
_HINT = "Build the corpus anew."


@dataclass(frozen=True, slots=True)
class Document:
    """A document, or a part of one that is long: its source then ends in #1, #2 and so on."""

    text: str
    source: str
    licence: str = ""
    language: str = ""
    conversation: str = ""
    """The conversation of the log that it came from, if it did, and `messages` those of it."""
    messages: tuple[str, ...] = ()
    continues: bool = False
    """It goes on where the row before it ended: no document ends between the two."""


class SplitFile(BaseModel):
    """One split as the manifest names it."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(ge=0)
    text_bytes: int = Field(ge=0)
    """Bytes of the documents' texts in UTF-8."""
    size: int = Field(ge=0)
    sha256: Sha256


class CorpusManifest(BaseModel):
    """What manifest.json says."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str
    number: int = Field(ge=1)
    recipe: dict[str, Any]
    counts: dict[str, Any]
    """What came in, what each step dropped, languages, licences, sources."""
    created: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$")
    files: dict[Split, SplitFile]

    @property
    def sha256(self) -> str:
        """Identifies what is in it, whatever its name and date."""
        lines = [f"{self.files[split].sha256}  {split}\n" for split in SPLITS]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


class CorpusFolder:
    """A version on disk. `path` is its folder."""

    def __init__(self, path: Path, manifest: CorpusManifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def title(self) -> str:
        return f"{self.manifest.name}/{self.manifest.number}"

    @classmethod
    def open(cls, path: Path) -> CorpusFolder:
        """Reads the manifest and checks the files' sizes, which is quick. Raises DatasetDamaged."""
        manifest = read_manifest(path)
        for split, record in manifest.files.items():
            file = locate(path, split)
            try:
                size = file.stat().st_size
            except OSError as error:
                raise DatasetDamaged(f"{file} cannot be read: {error.strerror}.", hint=_HINT) from None
            if size != record.size:
                raise DatasetDamaged(f"{file} differs from its manifest.", hint=_HINT)
        return cls(path, manifest)

    def verify(self) -> None:
        """Hashes the files. Raises DatasetDamaged naming the one at fault."""
        for split, record in self.manifest.files.items():
            file = locate(self.path, split)
            try:
                digest = hash_file(file)
            except OSError as error:
                raise DatasetDamaged(f"{file} cannot be read: {error.strerror}.", hint=_HINT) from None
            if digest != record.sha256:
                raise DatasetDamaged(f"{file} differs from its manifest.", hint=_HINT)

    def read(self, split: Split) -> Iterator[Document]:
        """The documents of a split in their order. Raises DatasetDamaged naming the file and line."""
        path = locate(self.path, split)
        count = 0
        for count, document in enumerate(read_rows(path), 1):  # noqa: B007  # told after the last
            yield document
        if count != self.manifest.files[split].rows:  # the end of a packed file may be missing without a word
            raise DatasetDamaged(f"{path} ends after line {count}, which is not its last.", hint=_HINT)


class RowWriter:
    """Writes a split's file; `close` tells what it became."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self.rows = self.text_bytes = 0
        self._digest = hashlib.sha256()
        self._size = 0
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._packer: Any = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, document: Document) -> int:
        """The bytes of its text. Raises OSError."""
        size = len(document.text.encode())
        row = {"text": document.text, "source": document.source, "licence": document.licence}
        row |= {"language": document.language, "conversation": document.conversation}
        more = {"continues": True} if document.continues else {}
        line = json.dumps(row | {"messages": list(document.messages)} | more, ensure_ascii=False)
        self._put(self._packer.compress(line.encode() + b"\n"))
        self.rows += 1
        self.text_bytes += size
        return size

    def close(self) -> SplitFile:
        """Raises OSError."""
        self._put(self._packer.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return SplitFile(rows=self.rows, text_bytes=self.text_bytes, size=self._size, sha256=self._digest.hexdigest())

    def _put(self, data: bytes) -> None:
        if data:
            self._file.write(data)
            self._digest.update(data)
            self._size += len(data)


def locate(folder: Path, split: Split) -> Path:
    return folder / f"{split}.jsonl.zst"


def read_rows(path: Path) -> Iterator[Document]:
    """Raises DatasetDamaged naming the file and line."""
    import zstandard

    number = 0
    try:
        with path.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            for line in _each_line(stream):
                yield _parse(json.loads(line))
                number += 1
    except (OSError, zstandard.ZstdError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DatasetDamaged(
            printable_line(f"{path}, after line {number}: {reason or type(error).__name__}.", 300), hint=_HINT
        ) from None


def _each_line(stream: Any) -> Iterator[bytes]:
    """The lines of a stream, none longer than may be. Raises ValueError."""
    rest = b""
    while block := stream.read(1 << 18):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _MOST_LINE:
            raise ValueError("a line is too long")
        yield from lines
    if rest:
        raise ValueError("its last line has no end")


def _parse(row: Mapping[str, Any]) -> Document:
    texts = {name: row[name] for name in ("text", "source", "licence", "language", "conversation")}
    messages = row["messages"]
    if not all(isinstance(value, str) for value in (*texts.values(), *messages)) or not isinstance(messages, list):
        raise ValueError("a field is no text")
    return Document(**texts, messages=tuple(messages), continues=row.get("continues") is True)


def read_manifest(folder: Path) -> CorpusManifest:
    """Raises DatasetDamaged."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _MOST_MANIFEST:
            raise DatasetDamaged(f"{path} is too large for a manifest.", hint=_HINT)
        manifest = CorpusManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetDamaged(f"{path} cannot be read: {error.strerror}.", hint=_HINT) from None
    except ValidationError as error:
        raise DatasetDamaged(
            printable_line(f"{path} is damaged: {error.errors()[0]['msg']}.", 300), hint=_HINT
        ) from None
    if set(manifest.files) != set(SPLITS):
        raise DatasetDamaged(f"{path} is damaged: it does not name the two splits.", hint=_HINT)
    return manifest
