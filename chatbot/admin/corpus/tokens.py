"""A corpus as tokens: shards of numbers that are mapped into memory, so that it may be larger than the memory is.

They are made once for each tokenizer, beside the corpus, and may be deleted at any time. Each document is
<|endoftext|> and then its tokens, as GPT-2's training data was joined: the sign tells that what stands before says
nothing about what follows. Parts of one long document follow each other without it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatbot.admin.corpus.encoding import Encoder
from chatbot.admin.corpus.folder import SPLITS, CorpusFolder, Document, Split
from chatbot.admin.corpus.versions import lock_corpus
from chatbot.errors import InvalidInput, LearningError
from chatbot.files import hash_file, new_folder, write_file
from chatbot.models.manifest import Sha256
from chatbot.text import printable_line

SHARD = 1 << 26  # tokens
_INDEX = "index.json"
_BATCH = 1 << 19  # characters that are encoded at once; the encodings take some fifty times as much memory
_SMALL = 65_536  # tokens that a number of two bytes tells apart
_WAIT = 3600  # seconds that another process may take to do the same
_HINT = "Free some space; what was begun is removed."

OnProgress = Callable[[str, int, int], object]


class _Stream(BaseModel):
    model_config = ConfigDict(frozen=True)

    text_bytes: int = Field(ge=0)
    unknown: int = Field(ge=0)
    shards: tuple[int, ...]
    """Tokens of each shard, in order."""
    sha256: tuple[Sha256, ...]
    """Of each shard."""


class _Index(BaseModel):
    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    corpus_sha256: Sha256
    tokenizer_sha256: Sha256
    vocabulary: int = Field(ge=1)
    dtype: Literal["<u2", "<u4"]
    splits: dict[Split, _Stream]


class TokenStream:
    """The tokens of a split, one after the other."""

    def __init__(self, shards: Iterable[tuple[Path, int]], dtype: str) -> None:
        """`shards` are files and how many tokens each has. Raises OSError, ValueError if one is shorter."""
        self._maps = [np.memmap(path, dtype, "r", shape=(count,)) for path, count in shards]
        self._ends = list(accumulate(len(one) for one in self._maps))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def window(self, start: int, length: int) -> NDArray[np.int64]:
        """`length` tokens from `start` on, across the borders of shards. Raises IndexError if there are not so many."""
        if start < 0 or length < 0 or start + length > len(self):
            raise IndexError(f"tokens {start} to {start + length} of {len(self)}")
        found = np.empty(length, np.int64)
        at = int(np.searchsorted(self._ends, start, "right"))
        done = 0
        while done < length:
            shard = self._maps[at]
            first = start + done - (self._ends[at] - len(shard))
            piece = shard[first : first + length - done]
            found[done : done + len(piece)] = piece
            done, at = done + len(piece), at + 1
        return found


class TokenFolder:
    """A corpus as one tokenizer reads it."""

    def __init__(self, path: Path, index: _Index) -> None:
        self.path = path
        self._index = index

    @property
    def vocabulary(self) -> int:
        """How many tokens the tokenizer has; every number in the shards is below."""
        return self._index.vocabulary

    def text_bytes(self, split: Split) -> int:
        """Bytes of the documents in UTF-8, which a loss in bits per byte is divided by."""
        return self._index.splits[split].text_bytes

    def unknown(self, split: Split) -> int:
        """How many of its tokens stand for a character that the vocabulary lacks: which one it was nobody has to
        predict, although its bytes are counted. 0 of a tokenizer of bytes."""
        return self._index.splits[split].unknown

    def tokens(self, split: Split) -> TokenStream:
        """Raises LearningError if the files have changed."""
        shards = [(_locate(self.path, split, n), count) for n, count in enumerate(self._index.splits[split].shards)]
        try:
            return TokenStream(shards, self._index.dtype)
        except (OSError, ValueError) as error:
            raise LearningError(
                printable_line(f"{self.path} cannot be read: {error}.", 300),
                hint="Delete this folder; it is made again.",
            ) from None


def tokenize(corpus: CorpusFolder, tokenizer: Path, on_progress: OnProgress | None = None) -> TokenFolder:
    """The corpus in the tokens of a tokenizer.json: made now, or found if it was made before.

    Memory is bounded by some batches of text, whatever the corpus' size. A folder that is begun takes its place only
    when it is whole. One whose files have changed is made again, and the name of the step tells which of them has.
    Raises InvalidInput if the file is no tokenizer or has no <|endoftext|>, DatasetDamaged if the corpus is,
    LearningError if the disk is full or another process does the same for an hour.
    """
    try:
        digest = hash_file(tokenizer)
    except OSError as error:
        raise InvalidInput(f"{tokenizer} cannot be read: {error.strerror}.") from None
    path = corpus.path / "tokens" / digest[:16]
    index, _ = _find(path, corpus, digest)
    if index is not None:
        return TokenFolder(path, index)
    encoder = Encoder(tokenizer)
    with lock_corpus(corpus.path.parent, _WAIT):
        index, changed = _find(path, corpus, digest)
        if index is not None:  # made while this one waited
            return TokenFolder(path, index)
        step = f"tokenizing again, since {changed} has changed" if changed else "tokenizing"
        try:
            _remove_begun(path)
            with new_folder(path, replace=True) as folder:
                index = _write(corpus, encoder, digest, folder, partial(on_progress or _ignore, step))
                write_file(folder / _INDEX, index.model_dump_json(indent=2))
        except OSError as error:
            raise LearningError(f"{path} cannot be written: {error.strerror}.", hint=_HINT) from None
    return TokenFolder(path, index)


def _write(
    corpus: CorpusFolder, encoder: Encoder, digest: str, folder: Path, say: Callable[[int, int], object]
) -> _Index:
    dtype: Literal["<u2", "<u4"] = "<u2" if encoder.vocabulary <= _SMALL else "<u4"
    total = sum(file.text_bytes for file in corpus.manifest.files.values())
    done = 0
    splits: dict[Split, _Stream] = {}
    for split in SPLITS:
        writer = _ShardWriter(folder, split)
        unknown = 0
        with writer:
            for batch in _batch(corpus.read(split)):
                for ids in encoder.encode(batch):
                    unknown += 0 if encoder.unknown is None else ids.count(encoder.unknown)
                    writer.write(np.array(ids, dtype))
                done += sum(len(document.text.encode()) for document in batch)
                say(done, total)
        splits[split] = _Stream(
            text_bytes=corpus.manifest.files[split].text_bytes,
            unknown=unknown,
            shards=tuple(writer.counts),
            sha256=tuple(digest.hexdigest() for digest in writer.digests),
        )
    return _Index(
        corpus_sha256=corpus.manifest.sha256,
        tokenizer_sha256=digest,
        vocabulary=encoder.vocabulary,
        dtype=dtype,
        splits=splits,
    )


class _ShardWriter:
    """Appends tokens, beginning a new file whenever one is full."""

    def __init__(self, folder: Path, split: Split) -> None:
        self.counts: list[int] = []
        self.digests: list[hashlib._Hash] = []
        self._folder, self._split = folder, split
        self._file: Any = None

    def __enter__(self) -> _ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, tokens: NDArray[Any]) -> None:
        while len(tokens):
            if self._file is None or self.counts[-1] == SHARD:
                self.__exit__()
                self._file = _locate(self._folder, self._split, len(self.counts)).open("xb")
                self.counts.append(0)
                self.digests.append(hashlib.sha256())
            piece, tokens = np.split(tokens, [SHARD - self.counts[-1]])
            data = piece.tobytes()
            self._file.write(data)
            self.digests[-1].update(data)
            self.counts[-1] += len(piece)


def _batch(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        if batch and size + len(document.text) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += len(document.text)
    if batch:
        yield batch


def _find(path: Path, corpus: CorpusFolder, digest: str) -> tuple[_Index | None, str]:
    """The index of what was made before, if it is of this corpus and whole; else the file that has changed, if it is
    of this corpus. The files are hashed: a number that is another one now would be learnt without a word."""
    try:
        index = _Index.model_validate_json((path / _INDEX).read_bytes())
    except (OSError, ValidationError):
        return None, ""
    if (index.corpus_sha256, index.tokenizer_sha256) != (corpus.manifest.sha256, digest):
        return None, ""
    for split in SPLITS:
        stream = index.splits.get(split)
        if stream is None or len(stream.sha256) != len(stream.shards):
            return None, _INDEX
        for number, (count, expected) in enumerate(zip(stream.shards, stream.sha256, strict=True)):
            shard = _locate(path, split, number)
            try:
                whole = shard.stat().st_size == count * np.dtype(index.dtype).itemsize and hash_file(shard) == expected
            except OSError:
                whole = False
            if not whole:
                return None, shard.name
    return index, ""


def _remove_begun(path: Path) -> None:
    """What a kill left of earlier attempts, for whoever holds the lock."""
    for begun in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(begun, ignore_errors=True)


def _locate(folder: Path, split: Split, number: int) -> Path:
    return folder / f"{split}-{number:05}.bin"


def _ignore(_step: str, _done: int, _total: int) -> None:
    """Nobody asked for progress."""
