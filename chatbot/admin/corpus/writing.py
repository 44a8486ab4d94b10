"""The rows of a version, written to their splits as they come.

If a split stays empty although there are two units, the unit nearest to it is moved there afterwards: training can
neither begin without the one nor stop in time without the other. Only small corpora need it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from chatbot.admin.corpus.drafts import count_in
from chatbot.admin.corpus.folder import SPLITS, Document, RowWriter, Split, SplitFile, locate, read_rows
from chatbot.admin.corpus.holding import Holding

_MOVED = "moved.jsonl.zst"


class Rows:
    """Takes the rows of one version."""

    def __init__(self, folder: Path, holding: Holding) -> None:
        self._folder, self._holding = folder, holding
        self._before: dict[Split, tuple[int, int]] = {}
        self._writers: dict[Split, RowWriter] = {}
        self._sources: Counter[str] = Counter()
        self._source_characters: Counter[str] = Counter()
        self._licences: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._characters: Counter[str] = Counter()
        self._items: Counter[str] = Counter()
        self._last = 0
        self.conversations: set[str] = set()

    @contextmanager
    def opened(self) -> Iterator[None]:
        with ExitStack() as stack:
            for split in SPLITS:
                self._writers[split] = stack.enter_context(RowWriter(locate(self._folder, split)))
            yield

    def place(self, key: str) -> Split:
        return self._holding.place(key)

    def add(
        self, split: Split, document: Document, origin: str, key: str, place: tuple[int, int], *, pinned: bool = False
    ) -> None:
        """`key` is the unit's; `place` the number of the document in the corpus and of the part in the document. What
        is `pinned` stays in its split even if the other is empty. Raises OSError."""
        number, part = place
        writer = self._writers[split]
        continues = self._before.get(split) == (number, part - 1)
        if pinned:
            self._holding.note_pinned(split)
        else:
            self._holding.note(split, key, writer.rows)
        writer.write(replace(document, continues=continues))
        self._before[split] = place
        self._characters[split] += len(document.text)
        self._items[split] += bool(document.conversation)
        if number != self._last:
            count_in(self._sources, origin)
            count_in(self._licences, document.licence)
            count_in(self._languages, document.language or "unknown")
            self._last = number
        count_in(self._source_characters, origin, len(document.text))
        if document.conversation:
            self.conversations.add(document.conversation)

    def close(self, *, mend: bool) -> dict[Split, SplitFile]:
        """What the files became; with `mend` no split is left empty if that can be helped. Raises OSError."""
        files = {split: self._writers[split].close() for split in SPLITS}
        for split, other in (SPLITS, SPLITS[::-1]):
            rows = self._holding.choose_moved(split) if mend and not files[other].rows else frozenset()
            if rows:
                return self._move(split, other, rows)
        return files

    def describe(self, files: Mapping[Split, SplitFile]) -> dict[str, Any]:
        """For the manifest's counts. `items` are the rows that came from the log, which stand in the database, too."""
        return {
            "rows": {split: files[split].rows for split in SPLITS},
            "characters": {split: self._characters[split] for split in SPLITS},
            "bytes": {split: files[split].text_bytes for split in SPLITS},
            "items": {split: self._items[split] for split in SPLITS},
            "documents": sum(self._sources.values()),
            "conversations": len(self.conversations),
            "languages": dict(self._languages.most_common()),
            "licences": dict(self._licences.most_common()),
            "sources": {
                name: {"documents": self._sources[name], "characters": self._source_characters[name]}
                for name in sorted(self._sources)
            },
        }

    def _move(self, split: Split, other: Split, rows: frozenset[int]) -> dict[Split, SplitFile]:
        """Writes `split` anew without `rows`, which go to the empty `other`."""
        whole = self._folder / _MOVED
        locate(self._folder, split).rename(whole)
        locate(self._folder, other).unlink()
        self._characters.clear()
        self._items.clear()
        with self.opened():
            last: dict[Split, int] = {}
            for number, document in enumerate(read_rows(whole)):
                to = other if number in rows else split
                follows = document.continues and last.get(to) == number - 1
                self._writers[to].write(replace(document, continues=follows))
                self._characters[to] += len(document.text)
                self._items[to] += bool(document.conversation)
                last[to] = number
            files = {one: self._writers[one].close() for one in SPLITS}
        whole.unlink()
        return files
