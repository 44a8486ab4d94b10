"""Two small questions: one of a list, and a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType


class Choose(ModalScreen[str]):
    """Asks for one of `choices`, pairs of a value and what is shown for it; empty if it was left."""

    CSS_PATH = "choose.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss('')", "Leave")]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]], current: str = "") -> None:
        super().__init__()
        self._question = question
        self._choices = choices
        self._current = current

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(printable_line(self._question)), classes="question")
            options = [
                Option(Content(("● " if value == self._current else "  ") + printable_line(shown, 120)))
                for value, shown in self._choices
            ]
            yield OptionList(*options, markup=False, compact=True)

    def on_mount(self) -> None:
        values = [value for value, _ in self._choices]
        self.query_one(OptionList).highlighted = values.index(self._current) if self._current in values else 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index][0])


class AskText(ModalScreen[str]):
    """Asks for a line of text; empty if it was left."""

    CSS_PATH = "choose.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss('')", "Leave")]

    def __init__(self, question: str, value: str = "") -> None:
        super().__init__()
        self._question = question
        self._value = value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._question), classes="question")
            yield Input(printable_line(self._value), compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(printable_line(event.value))
