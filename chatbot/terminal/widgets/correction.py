"""A reply opened for correction where it stands in the transcript.

The text is the reply's own, whatever is in it; what a terminal would obey is shown as a sign for each character, as in
the prompt, and stays in the text until someone deletes it. Line ends become all of one kind, as in any editor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.message import Message as Event
from textual.strip import Strip
from textual.widgets import TextArea

from chatbot.terminal.widgets.prompt import show_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual import events
    from textual.geometry import Region

    from chatbot.store.records import Message


class CorrectionEditor(TextArea):
    """As high as its text, up to the height of the transcript."""

    DEFAULT_CSS = """
    CorrectionEditor {
        height: auto; min-height: 1; max-height: 100%; margin: 0 0 1 0; padding: 0 1 0 1;
        border: none; border-left: outer $primary; background: $surface; scrollbar-size-vertical: 1;
        &:focus { border: none; border-left: outer $primary; }
        & .text-area--cursor-line { background: transparent; }
    }
    """

    class Kept(Event):
        """The text as it should have been."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, message: Message, keys: Mapping[str, str]) -> None:
        super().__init__(message.content, soft_wrap=True, highlight_cursor_line=False)
        self.tab_behavior = "indent"
        self.message = message
        self._keep_keys = frozenset(keys["keep_correction"].split(","))
        self._before = self.text
        self.asked: str | None = None
        """The text that was there when leaving was asked for; asking again leaves it."""

    @property
    def is_changed(self) -> bool:
        return self.text != self._before

    def get_line(self, line_index: int) -> Text:
        return Text(show_line(self.document.get_line(line_index)), end="", no_wrap=True)

    def render_lines(self, crop: Region) -> list[Strip]:
        if not self.is_attached:  # it may be drawn once more after it was removed, and has no styles by then
            return [Strip.blank(crop.width)] * crop.height
        return super().render_lines(crop)

    def keep(self) -> None:
        """Hands the text over, after all that was typed before."""
        self.post_message(self.Kept(self.text))

    async def _on_key(self, event: events.Key) -> None:
        if event.key in self._keep_keys:  # here, where letters typed before it have arrived
            self.keep()
        elif event.key == "ctrl+home":
            self.move_cursor((0, 0))
        elif event.key == "ctrl+end":
            self.move_cursor(self.document.end)
        else:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
