"""The quiet lines between the transcript and the prompt: what waits, what failed, what a slash could mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from chatbot.errors import ChatbotError
from chatbot.terminal.actions import ACTIONS, show_keys
from chatbot.text import printable_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chatbot.terminal.actions import Action

_MOST_SHOWN = 6


class Notice(Static):
    """One message about the conversation on screen: an error with its hint, or a state with what can be done."""

    def __init__(self) -> None:
        super().__init__(id="notice", markup=False)
        self.display = False

    def show_error(self, error: ChatbotError) -> None:
        hint = f"\n  {printable_line(error.hint, 400)}" if error.hint else ""
        self._show(Content.assemble(("✗ " + printable_line(error.message, 600), "$text-error"), hint))

    def show_note(self, text: str) -> None:
        """`text` is ours; what is foreign in it went through printable_line."""
        self._show(Content.styled(text, "$muted"))

    def hide(self) -> None:
        self.display = False

    def _show(self, content: Content) -> None:
        self.update(content)
        self.display = True


class Queue(Static):
    """The prompts that wait for the reply to end."""

    def __init__(self) -> None:
        super().__init__(id="queue", markup=False)
        self.display = False

    def show(self, prompts: Sequence[str], keys: str) -> None:
        lines = [f"⏎ next: {printable_line(prompt, 160)}" for prompt in prompts[:3]]
        if len(prompts) > 3:
            lines.append(f"  and {len(prompts) - 3} more")
        if lines:
            lines[-1] += f"   ({keys} takes it back)" if keys else ""
        self.update(Content("\n".join(lines)))
        self.display = bool(prompts)


class Completions(Static):
    """The slash commands that begin with what is written."""

    def __init__(self) -> None:
        super().__init__(id="completions", markup=False)
        self.display = False
        self.matches: list[Action] = []
        self._index = 0

    @property
    def chosen(self) -> Action | None:
        return self.matches[self._index] if self.matches else None

    def show(self, typed: str, keys: Mapping[str, str]) -> None:
        """Offers what completes `typed`, which begins with a slash; hides itself when nothing does."""
        self._typed, self._keys = typed, keys
        self.matches = [action for action in ACTIONS if action.slash and action.slash.startswith(typed[1:])]
        self._index = 0
        self._draw()

    def catch_up(self, typed: str) -> None:
        """Offers what completes `typed` if something else was offered so far: a key can overtake the last letters."""
        if self.matches and typed != self._typed:
            self.show(typed, self._keys)

    def hide(self) -> None:
        self.matches = []
        self.display = False

    def step(self, step: int) -> None:
        if self.matches:
            self._index = (self._index + step) % len(self.matches)
            self._draw()

    def _draw(self) -> None:
        first = max(0, min(self._index - _MOST_SHOWN // 2, len(self.matches) - _MOST_SHOWN))
        lines = []
        for number, action in enumerate(self.matches[first : first + _MOST_SHOWN], first):
            name = f"/{action.slash} {action.argument}".strip()
            line = Content.assemble(
                ("› " if number == self._index else "  ", "$primary"),
                f"{name:<20}",
                (f"{show_keys(self._keys[action.name].split(',')[0]):<8}", "$muted"),
                (action.title, "$muted"),
            )
            lines.append(line.stylize("bold", 2, 22) if number == self._index else line)
        self.update(Content("\n").join(lines))
        self.display = bool(lines)
