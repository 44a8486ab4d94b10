"""Every key and every command, from the table that makes them work."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatbot.terminal.actions import ACTIONS, show_keys, show_letter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult
    from textual.binding import BindingType

_MORE = (
    (
        "Editing",
        "Up and Down at the edges of the prompt bring back what was said. A large paste is folded and sent in full.",
    ),
    (
        "On a selected message",
        "The single keys work while a message is selected; in the prompt they are letters.",
    ),
    (
        "In a duel",
        "← or 1, → or 2: that one is better · 0 neither · s stops both · Esc leaves it open. A duel is one turn.",
    ),
    ("In the list", "Enter opens · r rename · p pin · a archive · d delete · z undo · v archived · Tab moves on."),
    ("Mouse", "Drag to select text, Ctrl+C copies it. A click selects a message."),
    ("Remapping", 'In config.toml, under [terminal.keys]: name = "ctrl+g,f5". The names stand behind the keys.'),
)


_THREE_COLUMNS = 97  # cells


class HelpScreen(ModalScreen[None]):
    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [("escape,f1,q", "dismiss", "Leave")]

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="help"):
            yield Static()

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        text = self.query_one(Static)
        text.update(Content("\n").join(self._describe(text.content_size.width)))

    def _describe(self, width: int) -> list[Content]:
        lines: list[Content] = []
        group = ""
        for action in ACTIONS:
            if action.group != group:
                group = action.group
                lines += [Content(""), Content.styled(group, "bold $text-primary")] if lines else [
                    Content.styled(group, "bold $text-primary")
                ]  # fmt: skip
            keys = show_keys(self._keys[action.name])
            slash = f"/{action.slash} {action.argument}".strip() if action.slash else ""
            letter = show_letter(action.letter) if action.letter not in self._keys[action.name].split(",") else ""
            ways = " · ".join(filter(None, [keys, letter, slash]))
            if width >= _THREE_COLUMNS:
                lines.append(
                    Content.assemble(
                        f"  {action.title:<41} ", (f"{ways:<34} ", "$text-primary"), (action.name, "$muted")
                    )
                )
            else:  # one under the other, or the rows would wrap in their midst
                lines.append(Content(f"  {action.title}"))
                lines.append(Content.assemble(("    " + ways, "$text-primary"), (f"  {action.name}", "$muted")))
        for title, text in _MORE:
            lines += [Content(""), Content.styled(title, "bold $text-primary"), Content(f"  {text}")]
        return lines
