"""The keys of the review, and what the queue is for, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatbot.terminal.prose import Block, Prose
from chatbot.terminal.screens.review_keys import REVIEW_KEYS

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

_ABOUT = (
    (
        "What the queue is for",
        "The model learns from replies that somebody approved, and from no others. The queue holds what waits for "
        "that decision, worst first: rated down, cut off, interrupted, repetitive, low in probability, flagged, then "
        "unrated and rated up. The line at the top says how many approved replies the next training wants.",
    ),
    (
        "The filter",
        "In the words of the command line's options: rating:up|down|none · state:waiting|approved|rejected|redacted · "
        "status:complete|stopped|failed|interrupted · model:NAME · persona:NAME · tag:TAG · since:7d · "
        "until:2026-11-01 · conversation:ID. "
        'Other words are searched for; "quotation marks" keep words together.',
    ),
    (
        "Writing",
        "Ctrl+S keeps a correction, Enter keeps a line, Esc leaves either. A correction that was left comes back.",
    ),
    ("Reading", "Up, Down, PgUp, PgDn, Space, Home and End scroll. A click in the list opens a reply."),
)


class ReviewHelp(ModalScreen[None]):
    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [("escape,f1,q,question_mark", "dismiss", "Leave")]

    def __init__(self, *, over_chat: bool) -> None:
        super().__init__()
        self._over_chat = over_chat

    def compose(self) -> ComposeResult:
        entries = [entry for entry in REVIEW_KEYS if self._over_chat or entry.name != "open_chat"]
        blocks = [Block(Content.styled("Keys", "bold $text-primary"))]
        blocks += [
            Block(Content(one.title), Content.styled(f"  {one.shown:<3} ", "bold $text-primary"), Content(" " * 6))
            for one in entries
        ]
        for title, text in _ABOUT:
            blocks += [Block(Content.styled(title, "bold $text-primary"), gap=1), Block(Content(text))]
        with VerticalScroll(classes="help"):
            yield Static(Prose(blocks))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()
