"""Building a corpus version: list the files, read, cut, clean, filter, compare, place, write, freeze.

One document after the other goes through all of it and out, so memory does not grow with the corpus; what has to be
remembered of each stands in a temporary file. The same files asked for in the same way give the same bytes, and a build
that would change nothing makes no new version. A build that is killed leaves what the next one sweeps away.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from chatbot.admin.corpus.conversations import Conversations
from chatbot.admin.corpus.cutting import PART, SECTION, SMALL_SECTION
from chatbot.admin.corpus.drafts import Draft, Intake
from chatbot.admin.corpus.duplicates import Duplicates
from chatbot.admin.corpus.folder import (
    MANIFEST,
    SPLITS,
    CorpusFolder,
    CorpusManifest,
    Document,
    Split,
    SplitFile,
)
from chatbot.admin.corpus.holding import Holding, choose_unit, count_needed, hash_unit
from chatbot.admin.corpus.licences import UNKNOWN
from chatbot.admin.corpus.reading import Reader
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.admin.corpus.sifting import Part, Sieve
from chatbot.admin.corpus.sources import SourceFile, list_sources
from chatbot.admin.corpus.tokens import OnProgress
from chatbot.admin.corpus.unpacking import open_bytes
from chatbot.admin.corpus.versions import KIND, find_whole, list_corpora, lock_corpus, next_number, sweep
from chatbot.admin.corpus.writing import Rows
from chatbot.config import Home
from chatbot.errors import InvalidInput, LearningError, NotFound
from chatbot.files import new_folder, write_file
from chatbot.store.database import Store
from chatbot.store.datasets import DatasetItem

_HINT = "Free some space or check the permissions; nothing was changed."
_NOTHING = "Give other files, or filter less: --no-quality, --keep-duplicates, a lower --min-characters."


class _Unchanged(Exception):
    """Leaves the folder that is being written."""

    def __init__(self, same: CorpusFolder) -> None:
        super().__init__()
        self.same = same


def build(store: Store, home: Home, request: CorpusRequest, on_progress: OnProgress | None = None) -> CorpusFolder:
    """The new version, or the newest one if it has the same content already. `on_progress` hears how many bytes of the
    files are read.

    Raises InvalidInput for a file that was named and cannot be read, LearningError if nothing is left to learn, the
    disk is full or another process builds the same corpus, StoreError.
    """
    others = [one for one in store.datasets.versions(request.name) if one.kind != KIND]
    if others:
        raise InvalidInput(f"{request.name} is the name of a dataset.", hint="Choose another name.")
    parent = home.corpora / request.name
    with lock_corpus(parent):
        try:
            sweep(parent)
            path = parent / str(next_number(store, home, request.name))
            with new_folder(path) as folder, tempfile.TemporaryDirectory(dir=parent, prefix=".work.") as work:
                builder = _Builder(store, request, folder, Path(work), on_progress or _ignore)
                files, counts = builder.run()
                manifest = CorpusManifest(
                    name=request.name,
                    number=int(path.name),
                    recipe=request.recipe | {"unit": builder.unit},
                    counts=counts,
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    files=files,
                )
                if (same := _find_same(store, home, manifest)) is not None:
                    raise _Unchanged(same)
                write_file(folder / MANIFEST, manifest.model_dump_json(indent=2))
        except _Unchanged as unchanged:
            return unchanged.same
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise LearningError(f"{parent} cannot be written: {reason}.", hint=_HINT) from None
        made = CorpusFolder(path, manifest)
        try:
            _register(store, made)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
    return made


class _Builder:
    def __init__(self, store: Store, request: CorpusRequest, folder: Path, work: Path, say: OnProgress) -> None:
        self._store, self._request, self._say = store, request, say
        self._folder, self._work = folder, work
        self._intake = Intake()
        self._log = Conversations(store, redact=request.redact, names=request.names) if request.from_logs else None
        self._done = self._total = 0
        self.unit: Literal["document", "section"] = "document"
        self._section = SECTION

    def run(self) -> tuple[dict[Split, SplitFile], dict[str, Any]]:
        request = self._request
        sources = list_sources(request.paths, self._intake)
        self._total = sum(source.size for source in sources)
        self._say("reading", 0, self._total)
        if request.unit == "auto":
            held = 0.0 if request.split_at else request.holdout
            self.unit = choose_unit(self._count(sources, count_needed(held)), held) if held else "document"
        else:
            self.unit = request.unit
        if self._total < 20 * SECTION:
            self._section = SMALL_SECTION
        compare = not (request.raw or request.keep_duplicates)
        duplicates = Duplicates(self._work / "seen.db", request.near) if compare else None
        sieve = Sieve(request, duplicates)
        rows = Rows(self._folder, Holding(request.holdout))
        try:
            with rows.opened():
                earlier = self._find_earlier()
                for number, draft in enumerate(self._read(sources), 1):
                    self._add(rows, sieve, draft, number, earlier)
                self._say("writing", 0, 0)
                files = rows.close(mend=bool(request.holdout) and not request.split_at)
        finally:
            if duplicates is not None:
                duplicates.close()
        counts = self._count_all(rows, sieve, files)
        if not any(file.rows for file in files.values()):
            raise LearningError(f"Nothing is left to learn: {_tell_dropped(counts)}.", hint=_NOTHING)
        return files, counts

    def _add(self, rows: Rows, sieve: Sieve, draft: Draft, number: int, earlier: dict[str, set[str]]) -> None:
        """Sifts a document and writes what is left of it."""
        self._intake.documents += 1
        whole_key = ""
        splits = earlier.get(draft.conversation, set()) if draft.conversation else set()
        for split, part in self._list_parts(sieve, draft):
            if part.number == 1:
                whole_key = hash_unit(draft.conversation or part.text)
            key = hash_unit(part.text) if self.unit == "section" and not draft.conversation else whole_key
            if part.dropped:
                continue
            to: Split = split or rows.place(key)
            if splits:  # what a dataset has held out, or learnt, is so here
                to = "train" if splits == {"train"} else "validation"
            document = Document(
                part.text,
                draft.source if part.only else f"{draft.source}#{part.number}",
                draft.licence or UNKNOWN,
                part.language,
                draft.conversation,
                draft.messages,
            )
            rows.add(to, document, draft.origin or draft.source, key, (number, part.number), pinned=bool(splits))

    def _list_parts(self, sieve: Sieve, draft: Draft) -> Iterator[tuple[Split | None, Part]]:
        """The parts, with their split where the place in the document decides."""
        # A conversation stays whole, with all of its branches.
        size = PART if self.unit == "document" or draft.conversation else self._section
        if not self._request.split_at:
            yield from ((None, part) for part in sieve.sift(draft.read(), size, draft.language))
            return
        place = int(sum(map(len, draft.read())) * self._request.split_at)
        for split, pieces in (
            (SPLITS[0], _take(draft.read(), 0, place)),
            (SPLITS[1], _take(draft.read(), place, None)),
        ):
            yield from ((split, part) for part in sieve.sift(pieces, size, draft.language))

    def _read(self, sources: list[SourceFile]) -> Iterator[Draft]:
        if self._log is not None:
            yield from self._log.read()
        reader = Reader(self._request, self._intake, self._advance)
        yield from chain.from_iterable(map(reader.read, sources))

    def _advance(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        self._say("reading", self._done, self._total)

    def _count(self, sources: list[SourceFile], enough: int) -> int:
        """How many documents there are, about, and no more than are enough."""
        found = self._log.count() if self._log is not None else 0
        for source in sources:
            if found >= enough:
                break
            found += _count_lines(source, enough - found) if source.kind in {".jsonl", ".ndjson"} else 1
        return found

    def _find_earlier(self) -> dict[str, set[str]]:
        """The splits in which datasets have the conversations of the log."""
        if self._log is None:
            return {}
        from chatbot.store.filters import LogFilter

        return self._store.datasets.find_splits(set(self._store.logs.each_id(LogFilter())))

    def _count_all(self, rows: Rows, sieve: Sieve, files: dict[Split, SplitFile]) -> dict[str, Any]:
        counts: dict[str, Any] = {"read": self._intake.describe() | {"bytes": self._total}, "unit": self.unit}
        counts["few_documents"] = self._request.unit == "auto" and self.unit == "section"
        counts["dropped"] = sieve.describe()
        if sieve.gutenberg:
            counts["gutenberg"] = sieve.gutenberg
        if self._log is not None:
            counts["left_out"] = {name: count for name, count in sorted(self._log.left_out.items()) if count}
            counts["redacted"] = dict(sorted(self._log.redacted.items()))
        return counts | rows.describe(files)


def _take(pieces: Iterator[str], start: int, end: int | None) -> Iterator[str]:
    """The characters from `start` to `end` of what the pieces make together."""
    at = 0
    for piece in pieces:
        yield piece[max(start - at, 0) : None if end is None else max(end - at, 0)]
        at += len(piece)


def _count_lines(source: SourceFile, most: int) -> int:
    try:
        with open_bytes(source.path) as file:
            return sum(1 for _ in islice(iter(lambda: file.readline(1 << 20), b""), most))
    except InvalidInput:
        return 0


def _find_same(store: Store, home: Home, manifest: CorpusManifest) -> CorpusFolder | None:
    known = list_corpora(store, manifest.name)
    return find_whole(home, known[-1]) if known and known[-1].sha256 == manifest.sha256 else None


def _register(store: Store, folder: CorpusFolder) -> None:
    """Writes the rows. Raises LearningError if a conversation was forgotten since it was read, StoreError."""
    items = []
    if folder.manifest.counts["conversations"]:
        items = [
            DatasetItem(split, one.conversation, hash_unit(one.text), one.conversation, one.messages)
            for split in SPLITS
            for one in folder.read(split)
            if one.conversation
        ]
    for conversation in {item.conversation for item in items}:
        try:
            store.conversations.get(conversation)
        except NotFound:
            raise LearningError("A conversation was forgotten while it was read.", hint="Build again.") from None
    store.datasets.add_version(
        folder.manifest.name,
        KIND,
        folder.manifest.number,
        sha256=folder.manifest.sha256,
        recipe=folder.manifest.recipe,
        template_sha="",
        tokenizer_sha="",
        counts=folder.manifest.counts,
        items=items,
    )


def _tell_dropped(counts: dict[str, Any]) -> str:
    told = [f"{name} {one['parts']:,}" for name, one in counts["dropped"].items()]
    told += [f"{name} {count:,}" for name, count in counts["read"].get("passed_over", {}).items()]
    told += [f"{name} {count:,}" for name, count in counts.get("left_out", {}).items()]
    return ", ".join(told) or "there is no file"


def _ignore(_step: str, _done: int, _total: int) -> None:
    """Nobody asked for progress."""
