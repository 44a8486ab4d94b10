"""One line to be written below a reply: its tags, a comment, or the filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical
from textual.content import Content
from textual.message import Message as Event
from textual.widgets import Input, Static

from chatbot.text import printable_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult
    from textual.suggester import Suggester


class ReviewForm(Vertical):
    """The line, what it is for, and what there is to choose from."""

    class Submitted(Event):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(id="form")
        self.display = False

    def compose(self) -> ComposeResult:
        yield Static(id="form-label", markup=False)
        yield Input(id="form-input", compact=True)
        yield Static(id="form-known", markup=False)

    @property
    def input(self) -> Input:
        return self.query_one(Input)

    def open(
        self,
        label: str,
        value: str,
        *,
        example: str = "",
        known: Sequence[str] = (),
        suggester: Suggester | None = None,
    ) -> None:
        self.query_one("#form-label", Static).update(Content.styled(label, "bold"))
        self.input.value = printable_line(value)
        self.input.placeholder = example
        self.input.cursor_position = len(self.input.value)
        self.input.suggester = suggester
        self.tell(printable_line(" · ".join(known), 200))
        self.display = True

    def tell(self, text: str, *, wrong: bool = False) -> None:
        """What there is to choose from, or what is wrong."""
        line = self.query_one("#form-known", Static)
        line.update(Content.styled(text, "$text-error" if wrong else "$muted"))
        line.display = bool(text)

    def close(self) -> None:
        self.display = False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Submitted(event.value))
