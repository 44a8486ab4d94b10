"""Gathering: the drafts of all that was asked for, with texts filled in and redacted, and what that came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.examining import EXAMINED, Examination
from chatbot.admin.datasets.files import FileReport, Filling, read_file
from chatbot.admin.datasets.log import read_log
from chatbot.admin.datasets.replay import find_replay_file
from chatbot.admin.datasets.request import BuildRequest
from chatbot.admin.datasets.talks import Talk, draft_items
from chatbot.admin.evaluation.suites import list_suite_prompts
from chatbot.logs.redaction import Redactor
from chatbot.store.database import Store

_NAME = 80  # characters of a file's name in a source


@dataclass
class Gathering:
    """Drafts in a steady order: the log's, oldest first, then the files'."""

    store: Store
    request: BuildRequest
    left_out: Counter[str] = field(default_factory=Counter)
    """Replies that were not taken, by reason."""
    contradicted: Counter[str] = field(default_factory=Counter)
    """Replies that were approved and spoken against, by what was said."""
    redacted: Counter[str] = field(default_factory=Counter)
    files: dict[str, FileReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._filling = Filling(self.request.fill)
        self._redactor = Redactor(self.request.names) if self.request.redact else None
        self._examination = Examination(list_suite_prompts())
        self._conversations = 0

    def read(self, on_draft: Callable[[], object]) -> list[Draft]:
        """Raises InvalidInput for a file that cannot be read, StoreError."""
        drafts = []
        for draft in self._read_all():
            drafts.append(self._redact(draft))
            on_draft()
        return list(self._spare(draft for draft in drafts if self._still_differs(draft)))

    def read_replay(self) -> list[Draft]:
        """The general rows that there are."""
        path = find_replay_file(self.request.replay_file)
        rows = self._read_file(path, f"replay:{path.stem[:_NAME]}", Counter())
        return list(self._spare(self._redact(draft) for draft in rows))

    def describe(self) -> dict[str, Any]:
        """For the manifest's counts."""
        told: dict[str, Any] = {"read": {"conversations": self._conversations}}
        if self.files:
            told["read"]["files"] = {
                name: {"format": ", ".join(one.formats), "records": one.conversations, "skipped": dict(one.skipped)}
                for name, one in self.files.items()
            }
        if self.contradicted:
            told["contradicted"] = dict(self.contradicted.most_common())
        if self._filling.words:
            told["filled"] = {name: self._filling.filled[name] for name in self._filling.words}
        if self._filling.open:
            told["unfilled"] = dict(self._filling.open.most_common(20))
        if self._redactor is not None:
            told["redacted"] = dict(self.redacted)
        return told

    def _read_all(self) -> Iterator[Draft]:
        asked = self.request
        if asked.log is not None:
            for talk in read_log(self.store, asked.log, unreviewed=asked.unreviewed):
                self._conversations += 1
                yield from self._draft(talk, self.left_out)
        for path in asked.files:
            yield from self._read_file(path, f"file:{path.name[:_NAME]}", self.left_out)

    def _read_file(self, path: Path, source: str, left_out: Counter[str]) -> Iterator[Draft]:
        report = self.files.setdefault(path.name, FileReport())
        talks = read_file(path, source=source, system=self.request.system, mend=self._filling.fill, report=report)
        for talk in talks:
            yield from self._draft(talk, left_out)

    def _draft(self, talk: Talk, left_out: Counter[str]) -> Iterator[Draft]:
        self.contradicted.update(said.contradiction for said in talk.said if said.contradiction and said.asked)
        yield from draft_items(talk, self.request.kind, left_out)

    def _spare(self, drafts: Iterable[Draft]) -> Iterator[Draft]:
        for draft in drafts:
            left, count = self._examination.spare(draft)
            self.left_out[EXAMINED] += count
            if left is not None:
                yield left

    def _redact(self, draft: Draft) -> Draft:
        if self._redactor is None:
            return draft
        redactor = self._redactor

        def mask(text: str) -> str:
            redacted = redactor.redact(text)
            self.redacted.update(redacted.counts)
            return redacted.text

        return draft.change(mask)

    def _still_differs(self, draft: Draft) -> bool:
        same = draft.kind == "preference" and draft.answers[0] == draft.answers[1]
        self.left_out["the two replies do not differ"] += same
        return not same
