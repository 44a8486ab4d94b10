"""Importing: files of other programs into the store, in batches, each on the disk before the next is read.

A cancel loses nothing that was reported; importing the same files again adds only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chatbot.dialogue.sampling import read_sampling
from chatbot.dialogue.titles import make_title
from chatbot.logs.formats.reading import Recognised, SkippedRecord, read_conversations
from chatbot.logs.formats.source import PassedOver
from chatbot.store.archive_batch import Grown
from chatbot.store.archive_records import ArchivedConversation
from chatbot.store.database import Store

_BATCH_CONVERSATIONS = 200
_BATCH_MESSAGES = 2000


@dataclass(slots=True)
class ImportReport:
    """What an import did so far; it grows as the import goes on."""

    conversations: int = 0
    messages: int = 0
    known: int = 0
    """Conversations that were there already."""
    grown: list[Grown] = field(default_factory=list)
    """Those of them that have more messages now: they stay as they were taken."""
    skipped: list[SkippedRecord] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    """Whole files."""
    recognised: list[Recognised] = field(default_factory=list)
    planned: set[str] = field(default_factory=set)
    """Of a dry run: the names of what would be there by now."""


Event = Recognised | SkippedRecord | PassedOver


def import_logs(
    store: Store,
    paths: Sequence[Path],
    *,
    persona: str = "default",
    dry_run: bool = False,
    on_bytes: Callable[[int], None] | None = None,
    on_event: Callable[[Event], object] | None = None,
    report: ImportReport | None = None,
) -> ImportReport:
    """Adds what is in `paths`, or only counts it for a `dry_run`. `on_event` hears of formats and of what is skipped as
    it is met; `report`, if given, is the one that grows, for a caller who cancels. Raises StoreError, InvalidInput for
    a path of nothing known."""
    report = report or ImportReport()
    for path in paths:
        batch: list[ArchivedConversation] = []
        for found in read_conversations(path, on_bytes=on_bytes):
            if isinstance(found, ArchivedConversation):
                batch.append(_complete(found, persona))
                if len(batch) >= _BATCH_CONVERSATIONS or sum(len(one.messages) for one in batch) >= _BATCH_MESSAGES:
                    _add(store, batch, path, report, dry_run)
                    batch = []
                continue
            if isinstance(found, SkippedRecord):
                report.skipped.append(found)
            elif isinstance(found, PassedOver):
                report.passed_over.append(found)
            else:
                report.recognised.append(found)
            if on_event:
                on_event(found)
        _add(store, batch, path, report, dry_run)
    return report


def _add(store: Store, batch: Sequence[ArchivedConversation], path: Path, report: ImportReport, dry_run: bool) -> None:
    if batch:
        archive = store.archive
        added = archive.rehearse(batch, report.planned) if dry_run else archive.add(batch, source=path.name)
        report.conversations += added.conversations
        report.messages += added.messages
        report.known += added.known
        report.grown += added.grown


def _complete(conversation: ArchivedConversation, persona: str) -> ArchivedConversation:
    """With the title and persona that a conversation of ours has, and the sampling as far as it is one."""
    first = next((one.content for one in conversation.messages if one.role == "user"), conversation.messages[0].content)
    own = bool(conversation.id) and bool(conversation.title.strip())  # exported here: it comes back as it was
    title = conversation.title if own else " ".join(conversation.title.split())[:200] or make_title(first) or "…"
    sampling = read_sampling(conversation.sampling)
    return replace(conversation, title=title, persona=conversation.persona or persona, sampling=sampling)
