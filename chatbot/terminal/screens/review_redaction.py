"""Redacting from the review: what would be masked, each finding in its place, and nothing before it is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatbot.terminal.prose import Block, Prose
from chatbot.terminal.screens.review_writing import Writing
from chatbot.terminal.widgets.review_lines import Hints
from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from chatbot.config import Settings
    from chatbot.logs.redacting import RedactionPreview
    from chatbot.logs.redaction import Finding, Kind, Redactor
    from chatbot.logs.reviewing import ReviewItem
    from chatbot.store.database import Store
    from chatbot.terminal.screens.review_walk import ReviewWalk

_AROUND = 28  # characters shown before and after a finding
_LONGEST = 60
_NAMES: Mapping[Kind, tuple[str, str]] = {
    "email": ("e-mail address", "e-mail addresses"),
    "phone": ("phone number", "phone numbers"),
    "iban": ("bank account", "bank accounts"),
    "card": ("card number", "card numbers"),
    "ip": ("IP address", "IP addresses"),
    "secret": ("secret", "secrets"),
    "name": ("name", "names"),
}
_MOST_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Change:
    """One finding: where it stands, and one line of it with what takes its place."""

    where: str
    before: str
    found: str
    mask: str
    after: str


class RedactionScreen(ModalScreen[bool]):
    """Shows a preview; True if it is to be done."""

    CSS_PATH = "review.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "dismiss(True)", "Mask"),
        ("escape,q", "dismiss(False)", "Leave"),
    ]

    def __init__(self, summary: str, changes: list[Change], backups: int) -> None:
        super().__init__()
        self._summary = summary
        self._changes = changes
        self._backups = backups

    def compose(self) -> ComposeResult:
        with Vertical(classes="redaction"):
            with VerticalScroll():
                yield Static(Content.styled(f"Mask {self._summary}?", "bold"))
                yield Static(Content.styled(_describe_extent(self._backups), "$muted"), classes="extent")
                yield Static(Prose(self._describe()))
            yield Hints([("Enter", "mask them for good"), ("Esc", "leave everything as it is")])

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _describe(self) -> Iterator[Block]:
        where = ""
        for change in self._changes[:_MOST_SHOWN]:
            if change.where != where:
                yield Block(Content.styled(change.where, "$text-primary"), gap=1 if where else 0)
                where = change.where
            line = Content.assemble(
                (change.before, "$muted"),
                (change.found, "$text-error strike"),
                " ",
                (change.mask, "bold $text-success"),
                (change.after, "$muted"),
            )
            yield Block(line, Content("  "), Content("    "))
        if (more := len(self._changes) - _MOST_SHOWN) > 0:
            yield Block(Content.styled(f"  … and {more:,} more", "$muted"))


def _describe_extent(backups: int) -> str:
    text = "The whole conversation was searched: every branch, title, system prompt, draft, comments and tags."
    if backups:
        text += f" The {'backup keeps' if backups == 1 else f'{backups} backups keep'} the old text."
    return text


class Redacting(Writing):
    """What has to do with personal data."""

    _redactor: Redactor | None = None

    def action_redact(self) -> None:
        self.attempt_about_item(self._redact)

    async def _redact(self, walk: ReviewWalk, item: ReviewItem) -> None:
        self.notice.show_note("Looking for personal data…")
        try:
            if self._redactor is None:
                self._redactor = await self.call(_make_redactor, self.settings)
            preview, changes, backups = await self.call(_look, walk.store, self._redactor, item)
        finally:
            self.notice.hide()
        if preview.is_empty:
            self.tell("Nothing to mask was found in this conversation.")
            return
        if not await self.app.push_screen_wait(RedactionScreen(describe_counts(preview.counts), changes, backups)):
            return
        self.redacted = True  # also if it fails midway: rewriting the index once too often harms nobody
        await self.call(_mask, walk, preview, item)
        walk.note_steps()
        self.drafts.pop(item.reply.id, None)
        await self.show_item(await self.call(walk.open))
        await self.show_progress()
        self.tell(f"Masked {describe_counts(preview.counts)}.")


def describe_counts(counts: Mapping[Kind, int]) -> str:
    """Such as “2 e-mail addresses, 1 card number”."""
    return ", ".join(f"{count:,} {_NAMES[kind][count != 1]}" for kind, count in counts.items())


def _make_redactor(settings: Settings) -> Redactor:
    from chatbot.logs.redaction import Redactor, read_names

    names = settings.review.names
    return Redactor(read_names(Path(names).expanduser()) if names else ())


def _look(store: Store, redactor: Redactor, item: ReviewItem) -> tuple[RedactionPreview, list[Change], int]:
    from chatbot.logs.redacting import preview_redaction

    preview = preview_redaction(store, redactor, item.conversation.id)
    return preview, list(list_changes(preview, redactor.find, item.reply.id)), len(store.redactions.backups())


def _mask(walk: ReviewWalk, preview: RedactionPreview, item: ReviewItem) -> None:
    from chatbot.logs.redacting import apply_redaction

    apply_redaction(walk.store, preview, author=walk.reviewer.author)
    walk.reviewer.note_redaction(item.reply.id)
    walk.forget_titles(item.conversation.id)


def list_changes(
    preview: RedactionPreview, find: Callable[[str], Iterable[Finding]], reply_id: str
) -> Iterator[Change]:
    """Every finding of a preview with what stands around it, safe to show."""
    texts = [(where.capitalize(), text.old, find(text.old)) for where, text in preview.list_beside()]
    for message, found in preview.messages:
        where = "Prompt" if message.role == "user" else "This reply" if message.id == reply_id else "Reply"
        texts.append((f"{where}, {message.created.astimezone():%d %b %H:%M}", message.content, found))
    for where, text, findings in texts:
        for finding in findings:
            yield _describe_change(where, text, finding)


def _describe_change(where: str, text: str, finding: Finding) -> Change:
    from chatbot.logs.findings import PLACEHOLDERS

    before, after = text[max(0, finding.start - _AROUND) : finding.start], text[finding.end : finding.end + _AROUND]
    return Change(
        where,
        ("…" if finding.start > _AROUND else "") + printable_line(before) + (" " if before[-1:].isspace() else ""),
        printable_line(finding.text, _LONGEST),
        PLACEHOLDERS[finding.kind],
        (" " if after[:1].isspace() else "")
        + printable_line(after)
        + ("…" if len(text) > finding.end + _AROUND else ""),
    )
