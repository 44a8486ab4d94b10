"""What a version's counts become when documents of conversations leave it.

The characters are those of the rows that stay. Under which source a document of a file was counted its row does not
say; so from the other counts is taken what was struck, of which all is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from chatbot.admin.corpus.drafts import count_out
from chatbot.admin.corpus.folder import SPLITS, Document, Split

_Branch = tuple[str, tuple[str, ...]]
"""A conversation and the messages of one of its branches: such is a document, of one part or several."""


class Tally:
    """Hears of every row; `counts` are the manifest's, of which nothing is believed."""

    def __init__(self, counts: Mapping[str, Any]) -> None:
        self._counts = counts
        self._characters: Counter[Split] = Counter()
        self._kept: set[_Branch] = set()
        self._struck: dict[_Branch, tuple[Document, int]] = {}

    def keep(self, split: Split, document: Document) -> None:
        self._characters[split] += len(document.text)
        if document.conversation:
            self._kept.add((document.conversation, document.messages))

    def strike(self, document: Document) -> None:
        branch = (document.conversation, document.messages)
        first, characters = self._struck.get(branch, (document, 0))
        self._struck[branch] = (first, characters + len(document.text))

    def describe(self) -> dict[str, Any]:
        """The counts with what changed."""
        told = dict(self._counts)
        told["characters"] = {split: self._characters[split] for split in SPLITS}
        read = told.get("sources")
        sources = {name: one for name, one in read.items() if isinstance(one, dict)} if isinstance(read, dict) else {}
        sizes: dict[str, dict[str, int]] = {
            field: {name: one[field] for name, one in sources.items() if isinstance(one.get(field), int)}
            for field in ("documents", "characters")
        }
        for branch, (first, characters) in self._struck.items():
            origin = first.source.partition("#")[0]
            sizes["characters"] = count_out(sizes["characters"], origin, characters)
            if branch in self._kept:  # a part of it stays
                continue
            sizes["documents"] = count_out(sizes["documents"], origin, 1)
            told["licences"] = count_out(told.get("licences"), first.licence, 1)
            told["languages"] = count_out(told.get("languages"), first.language or "unknown", 1)
        told["sources"] = {
            name: {field: sizes[field].get(name, 0) for field in ("documents", "characters")}
            for name in sources
            if any(sizes[field].get(name) for field in sizes)
        }
        told["documents"] = sum(one["documents"] for one in told["sources"].values())
        return told
