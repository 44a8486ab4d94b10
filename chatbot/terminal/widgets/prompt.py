"""The prompt: it grows with its text, folds large pastes, remembers what was said before.

What is in it is always fit to be shown: a paste with control characters is folded like a large one, so that it is sent
as it was and never drawn.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.text import Text
from textual.binding import Binding
from textual.content import Content
from textual.message import Message as Event
from textual.widgets import TextArea

from chatbot.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual import events

FOLD_LINES = 12
FOLD_CHARACTERS = 1500
_CHIP = re.compile(r"\[pasted \d+ (?:lines?|characters) #(\d+)\]")

# Textual runs a binding only after the key went through every widget above, and letters typed meanwhile overtake it.
_EDITING = {
    key: binding.action
    for binding in TextArea.BINDINGS
    if isinstance(binding, Binding) and binding.action != "copy"  # with nothing selected, others have a use for its key
    for key in binding.key.split(",")
}


def show_line(line: str) -> str:
    """A line of a text area made safe to show, one sign for one, or the cursor would stand in the wrong column."""
    if line == printable(line):
        return line
    return "".join(shown if len(shown := printable(sign)) == 1 and shown != "\n" else "\ufffd" for sign in line)


class Prompt(TextArea):
    """A text area of one to ten lines. `full_text` is what is meant; `text` is what is shown."""

    DEFAULT_CSS = """
    Prompt {
        height: auto; min-height: 1; max-height: 10; padding: 0 1; border: none; background: $background;
        scrollbar-size-vertical: 1;
        &:focus { border: none; }
        & .text-area--cursor-line { background: transparent; }
        & .text-area--placeholder { color: $muted; }
    }
    """

    class Submitted(Event):
        """Enter: `text`, which has left the prompt, is to be sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Edited(Event):
        """The text has changed."""

    class CompletionKey(Event):
        """A key for the open list of completions: up, down, tab or enter."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__(
            id="prompt",
            soft_wrap=True,
            compact=True,
            highlight_cursor_line=False,
            placeholder=Content("Write a message"),
        )
        self._send_keys = frozenset(keys["send"].split(","))
        self._newline_keys = frozenset(keys["newline"].split(","))
        self._pastes: dict[int, str] = {}
        self.past: list[str] = []
        self._place = 0  # how far back in `past`, 0 for the prompt being written
        self._unsent = ""
        self.completing = False

    @property
    def full_text(self) -> str:
        """The text with every folded paste in full."""
        return _CHIP.sub(lambda chip: self._pastes.get(int(chip[1]), chip[0]), self.text)

    def load(self, text: str) -> None:
        """Replaces the text, the cursor at its end; what should not be shown is folded."""
        self._pastes.clear()
        self.load_text(self._fold(text))
        self.move_cursor(self.document.end)

    def insert_foreign(self, text: str) -> None:
        """Inserts pasted text at the cursor, folded if need be."""
        self.insert(self._fold(text))

    def unfold(self) -> bool:
        """Puts folded pastes in full where they stand. False if there is none that can be shown."""
        shown = _CHIP.sub(lambda chip: printable(self._pastes.get(int(chip[1]), chip[0])), self.text)
        if shown == self.text:
            return False
        self.replace(shown, (0, 0), self.document.end)
        self.move_cursor(self.document.end)
        return True

    def set_past(self, prompts: Sequence[str]) -> None:
        """What was said before, newest first."""
        self.past = list(prompts)
        self._place = 0

    def _fold(self, text: str) -> str:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.count("\n") + 1
        if lines <= FOLD_LINES and len(text) <= FOLD_CHARACTERS and text == printable(text):
            return text
        number = len(self._pastes) + 1
        self._pastes[number] = text
        return f"[pasted {lines} lines #{number}]" if lines > 1 else f"[pasted {len(text)} characters #{number}]"

    def get_line(self, line_index: int) -> Text:
        line = show_line(self.document.get_line(line_index))
        text = Text(line, end="", no_wrap=True)
        for chip in _CHIP.finditer(line):
            if int(chip[1]) in self._pastes:
                text.stylize("italic underline", *chip.span())
        return text

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        start, end = self.selection
        if start != end:
            self.delete(start, end)
        self.insert_foreign(event.text)

    async def _on_key(self, event: events.Key) -> None:
        # `completing` comes a moment late; who types fast is past the command's name by now.
        if self.completing and re.fullmatch(r"/\S*", self.text) and event.key in {"up", "down", "tab", "enter"}:
            self._take(event)
            self.post_message(self.CompletionKey(event.key))
        elif event.key in self._send_keys:
            self._take(event)
            self.submit()
        elif event.key in self._newline_keys:
            self._take(event)
            self.insert("\n")
        elif event.key == "enter":
            self._take(event)  # it was remapped away from sending and from new lines
        elif (
            (event.key == "backspace" and self._delete_chip())
            or (event.key == "up" and self.cursor_at_first_line and self._recall(1))
            or (event.key == "down" and self.cursor_at_last_line and self._recall(-1))
        ):
            self._take(event)
        elif action := _EDITING.get(event.key):
            self._take(event)
            await self.run_action(action)
        else:
            await super()._on_key(event)

    def submit(self) -> None:
        """Hands the text over at once, so that what is typed next is not part of it."""
        text = self.full_text
        if text.strip():
            self.clear_all()
        self.post_message(self.Submitted(text))

    @staticmethod
    def _take(event: events.Key) -> None:
        event.stop()
        event.prevent_default()

    def _delete_chip(self) -> bool:
        """Backspace behind a chip takes the whole of it."""
        row, column = self.cursor_location
        if self.selection.start != self.selection.end:
            return False
        for chip in _CHIP.finditer(self.document.get_line(row)):
            if chip.end() == column and int(chip[1]) in self._pastes:
                self.delete((row, chip.start()), (row, column))
                return True
        return False

    def _recall(self, step: int) -> bool:
        place = self._place + step
        if not 0 <= place <= len(self.past):
            return False
        if self._place == 0:
            self._unsent = self.full_text
        self._place = place
        self.load(self.past[place - 1] if place else self._unsent)
        if step > 0:
            self.move_cursor((0, 0))
        return True

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())

    def clear_all(self) -> None:
        """Empties the prompt after its text went away."""
        self.load("")
        self._place = 0
