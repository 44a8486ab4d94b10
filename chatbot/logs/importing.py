"""Importing: files of other programs into the store, in batches, each on the disk before the next is read.

A cancel loses nothing that was reported; importing the same files again adds only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chatbot.dialogue.titles import make_title
from chatbot.logs.formats.reading import Recognised, SkippedRecord, read_conversations
from chatbot.logs.formats.source import PassedOver
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
    skipped: list[SkippedRecord] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    """Whole files."""
    recognised: list[Recognised] = field(default_factory=list)


Event = Recognised | SkippedRecord | PassedOver


def import_logs(
    store: Store,
    paths: Sequence[Path],
    *,
    persona: str = "default",
    on_bytes: Callable[[int], None] | None = None,
    on_event: Callable[[Event], object] | None = None,
    report: ImportReport | None = None,
) -> ImportReport:
    """Adds what is in `paths`. `on_event` hears of formats and of what is skipped as it is met; `report`, if given, is
    the one that grows, for a caller who cancels. Raises StoreError, InvalidInput for a path of nothing known."""
    report = report or ImportReport()
    for path in paths:
        batch: list[ArchivedConversation] = []
        for found in read_conversations(path, on_bytes=on_bytes):
            if isinstance(found, ArchivedConversation):
                batch.append(_complete(found, persona))
                if len(batch) >= _BATCH_CONVERSATIONS or sum(len(one.messages) for one in batch) >= _BATCH_MESSAGES:
                    _add(store, batch, path, report)
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
        _add(store, batch, path, report)
    return report


def _add(store: Store, batch: Sequence[ArchivedConversation], path: Path, report: ImportReport) -> None:
    if batch:
        added = store.archive.add(batch, source=path.name)
        report.conversations += added.conversations
        report.messages += added.messages
        report.known += added.known


def _complete(conversation: ArchivedConversation, persona: str) -> ArchivedConversation:
    """With the title and persona that a conversation of ours has."""
    first = next((one.content for one in conversation.messages if one.role == "user"), conversation.messages[0].content)
    title = " ".join(conversation.title.split())[:200] or make_title(first) or "…"
    return replace(conversation, title=title, persona=conversation.persona or persona)
