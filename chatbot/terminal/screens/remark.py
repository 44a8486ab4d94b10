"""A small form for what is said of a reply beside its rating: tags and a comment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

USUAL_TAGS = ("wrong", "incomplete", "unclear", "too long", "off topic", "tone", "format", "unsafe")
"""Offered before anyone has tags of their own."""


class Remark(ModalScreen[tuple[list[str], str] | None]):
    """Asks for tags and a comment; None if it was left. A text that was not touched comes back as it was."""

    CSS_PATH: ClassVar[list[str | PurePath]] = ["choose.tcss", "remark.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Leave")]

    def __init__(self, tags: Sequence[str], comment: str, known: Sequence[str]) -> None:
        super().__init__()
        self._tags = list(tags)
        self._comment = comment
        self._known = list(known)
        self._shown = (join_tags(tags), printable_line(comment))

    def compose(self) -> ComposeResult:
        tags, comment = self._shown
        # A tag of two words is not parted at the end of a row.
        offered = " · ".join(
            printable_line(tag, 40).replace(" ", "\u00a0") for tag in self._known if tag not in self._tags
        )
        with Vertical(classes="dialog"):
            yield Static(Content("What is there to say of this reply?"), classes="question")
            yield Static(Content("Tags, with commas between them"), classes="label")
            yield Input(tags, id="tags", compact=True, select_on_focus=False, suggester=TagSuggester(self._known))
            yield Static(Content(offered), classes="known")
            yield Static(Content("Comment"), classes="label")
            yield Input(comment, id="comment", compact=True, select_on_focus=False)
            yield Static(Content("Enter keeps both · Tab goes to the other · Esc leaves"), classes="keys")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        tags, comment = self.query_one("#tags", Input).value, self.query_one("#comment", Input).value
        self.dismiss(
            (
                self._tags if tags == self._shown[0] else split_tags(tags),
                self._comment if comment == self._shown[1] else comment.strip(),
            )
        )


class TagSuggester(Suggester):
    """Completes the tag that is being written."""

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._known = [printable_line(tag) for tag in known]

    async def get_suggestion(self, value: str) -> str | None:
        begun = value.rpartition(",")[2].lstrip()
        found = next((tag for tag in self._known if begun and tag != begun and tag.startswith(begun)), None)
        return value + found[len(begun) :] if found else None


def join_tags(tags: Sequence[str]) -> str:
    """As `split_tags` reads them; a comma at the end keeps a tag of two words in one piece."""
    joined = ", ".join(map(printable_line, tags))
    return f"{joined}," if len(tags) == 1 and " " in joined else joined


def split_tags(text: str) -> list[str]:
    """Tags with commas between them, or with spaces if there is no comma."""
    parts = text.split(",") if "," in text else re.split(r"\s+", text)
    return [part.strip() for part in parts if part.strip()]
