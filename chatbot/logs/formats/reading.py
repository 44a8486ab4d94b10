"""Conversations out of whatever file, folder or ZIP they came in.

What a file is, its records tell by their looks; its name is never asked. Each record is looked at by itself, so a file
may be mixed, and a record that is bad costs no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatbot.errors import InvalidInput
from chatbot.logs.formats import alpaca, chatgpt, chitchat, claude, oasst, openai_messages, own, preference, sharegpt
from chatbot.logs.formats.format import Format
from chatbot.logs.formats.json_records import BrokenRecord, Record, read_records
from chatbot.logs.formats.layout import Layout, find_layout
from chatbot.logs.formats.source import Limits, OnBytes, OpenedFile, PassedOver, open_files
from chatbot.store.archive_records import ArchivedConversation
from chatbot.text import printable_line

# The more a form asks of a record, the earlier it stands: a rated reply is one of OpenAI's conversations, too.
FORMATS: tuple[Format, ...] = (
    own.FORMAT,
    chatgpt.FORMAT,
    claude.FORMAT,
    oasst.FORMAT,
    chitchat.FORMAT,
    preference.PAIRS,
    preference.LABELS,
    openai_messages.FORMAT,
    sharegpt.FORMAT,
    alpaca.FORMAT,
)
_PATIENCE = 100  # records of no known form at the beginning of a file, after which it is none of ours
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Recognised:
    """`file` holds records of this format; said before the first of them. Both may be shown."""

    file: str
    format: str


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """One record that did not become a conversation. All may be shown.

    `place` is its line or number, empty if the file broke there; `key` is the record's, as far as one was found.
    """

    file: str
    place: str
    key: str
    reason: str


Event = ArchivedConversation | SkippedRecord | Recognised | PassedOver


def read_conversations(path: Path, *, on_bytes: OnBytes | None = None, limits: Limits | None = None) -> Iterator[Event]:
    """What is in `path`, in order, with memory for one record. `on_bytes` hears how much each step read of the disk.

    Raises InvalidInput if `path` cannot be read or nothing in it has a known form.
    """
    known = False
    reasons: list[str] = []
    for found in open_files(path, limits or Limits(), on_bytes):
        for event in (found,) if isinstance(found, PassedOver) else _FileReader(found, limits or Limits()).read():
            known = known or isinstance(event, Recognised)
            if not known and isinstance(event, PassedOver | SkippedRecord) and len(reasons) < 3:
                reasons.append(f"{event.file} {event.reason}.")
            yield event
    if not known:
        forms = ", ".join(format_.title for format_ in FORMATS)
        shown = printable_line(str(path))
        raise InvalidInput(
            " ".join([f"No conversations of a known form are in {shown}.", *reasons]), hint=f"Looked for: {forms}."
        )


@dataclass
class _FileReader:
    """One file; knows which formats it has met."""

    file: OpenedFile
    limits: Limits
    _seen: list[Format] = field(default_factory=list)
    _archive: dict[str, Any] = field(default_factory=dict)
    """What our own export says of itself."""

    def read(self) -> Iterator[Event]:
        head, stream, name = self.file.head, self.file.stream, self.file.name
        layout = None
        reason = _describe_bytes(head)
        try:
            if not reason:
                stream.read(len(_BOM) if head.startswith(_BOM) else 0)
                layout = find_layout(head.removeprefix(_BOM), _is_record, own.is_archive)
                reason = "" if layout else "is of no known form"
            if layout:
                yield from self._read_records(layout)
            elif self.file.only or head.lstrip()[:1] in {b"[", b"{"} or head.startswith(_UTF_16):
                yield PassedOver(name, reason)  # pictures and pages beside the conversations are not worth a word
        except (InvalidInput, OSError) as error:
            text = error.message if isinstance(error, InvalidInput) else f"cannot be read: {error.strerror}"
            yield SkippedRecord(name, "", "", printable_line(text))

    def _read_records(self, layout: Layout) -> Iterator[Event]:
        """The events of one file, except that nothing is said of records before the first that is of a known form."""
        waiting: list[SkippedRecord] = []
        for record in read_records(self.file.stream, layout, self.limits):
            if layout == "lists" and record.name:
                yield from self._read_about(record)
                continue
            for event in self._read_record(record):
                if self._seen:
                    yield from waiting if isinstance(event, Recognised) else ()
                    waiting = [] if isinstance(event, Recognised) else waiting
                    yield event
                elif isinstance(event, SkippedRecord):
                    waiting.append(event)
            if len(waiting) == _PATIENCE:
                break
        if not self._seen:
            what = f"{waiting[0].place}: {waiting[0].reason}" if waiting else "nothing is in it"
            yield PassedOver(self.file.name, f"is of no known form ({what})")

    def _read_record(self, record: Record | BrokenRecord) -> Iterator[Event]:
        if isinstance(record, BrokenRecord):
            yield self._skip(record, record.name, record.reason)
            return
        found = next((format_ for format_ in (*self._seen, *FORMATS) if format_.matches(record.value)), None)
        if found is None:
            yield self._skip(record, record.name, "is of no known form")
            return
        if found not in self._seen:
            self._seen.append(found)
            self._seen.sort(key=FORMATS.index)
            yield Recognised(self.file.name, found.title)
        key = found.key(record.value, record.name)
        try:
            yield found.convert(record.value, key)
        except InvalidInput as error:
            yield self._skip(record, key, error.message)

    def _read_about(self, record: Record | BrokenRecord) -> Iterator[Event]:
        """What stands beside the lists of conversations: in our own export its format and version."""
        if isinstance(record, Record) and record.name in {"format", "version"}:
            self._archive[record.name] = record.value
            if own.is_archive(self._archive):
                own.check_version(self._archive["version"])
                if own.FORMAT not in self._seen:
                    self._seen.append(own.FORMAT)
                    yield Recognised(self.file.name, own.FORMAT.title)

    def _skip(self, record: Record | BrokenRecord, key: str, reason: str) -> SkippedRecord:
        return SkippedRecord(self.file.name, record.place, printable_line(key, 200), printable_line(reason))


def _is_record(value: Any) -> bool:
    return any(format_.matches(value) for format_ in FORMATS)


def _describe_bytes(head: bytes) -> str:
    """Why this is no text that can be read, empty if it can be."""
    if not head.strip():
        return "is empty"
    if head.startswith(_UTF_16) or b"\0" in head[:4]:
        return "is UTF-16 or no text at all; only UTF-8 is read (iconv -f UTF-16 -t UTF-8 turns one into the other)"
    return ""
