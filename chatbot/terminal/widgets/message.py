"""One message of the transcript: one widget, whatever is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.css.styles import RulesMap
from textual.geometry import Region
from textual.message import Message as Event
from textual.widget import Widget

from chatbot.terminal.markdown import MarkdownText
from chatbot.terminal.prose import Block, Prose
from chatbot.text import printable, printable_line

if TYPE_CHECKING:
    from textual import events
    from textual.selection import Selection

    from chatbot.store.records import Message
    from chatbot.store.reply_states import Judgement

_DECIDED = {"approve": "approved", "reject": "rejected", "redact": "redacted"}
_USER_BAR = Content.styled("┃ ", "$primary")
_SHORT = 60  # characters of a comment or of all tags that stand under a reply
_LONG = 20_000  # characters of a user's message that are shown; the rest is kept and sent


class MessageView(Widget):
    """Shows a message; a reply that is being written grows."""

    DEFAULT_CSS = """
    MessageView { height: auto; padding: 0 2; margin: 0 0 1 0; }
    MessageView.-selected { background: $surface; }
    """

    class Clicked(Event):
        def __init__(self, view: MessageView) -> None:
            super().__init__()
            self.view = view

    def __init__(self, message: Message, judgement: Judgement | None = None) -> None:
        super().__init__(classes=f"-{message.role}")
        self.message = message
        self.judgement = judgement
        """What was said of a reply beside its rating, once that is known."""
        self.waiting = ""
        self.auto_links = False  # or each strip of each frame is searched for links
        self._text = printable(message.content)
        self._taken = len(message.content)
        self._markdown = MarkdownText()
        self._prose = Prose()
        self._build()

    @property
    def is_reply(self) -> bool:
        return self.message.role == "assistant"

    def set_message(self, message: Message) -> None:
        """Shows `message` in place of what was there."""
        self.message = message
        self._text = printable(message.content)
        self._taken = len(message.content)
        self._redraw()

    def judge(self, judgement: Judgement) -> None:
        """Shows the tags and the comment of a reply."""
        if judgement != self.judgement:
            self.judgement = judgement
            self._redraw()

    def grow(self, content: str) -> None:
        """The whole reply as it now stands, as the model wrote it; only what is new is worked on."""
        if len(content) > self._taken:
            self._text += printable(content[self._taken :])
            self._taken = len(content)
            self._redraw()

    def measure(self, width: int) -> int:
        """The rows that it will take, its margin included, before it is laid out."""
        return self._prose.get_height(RulesMap(), width) + 1

    def wait(self, reason: str) -> None:
        """What to show while the reply has no text yet."""
        if reason != self.waiting:
            self.waiting = reason
            if not self._text:
                self._redraw()

    def render(self) -> Prose:
        return self._prose

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract(self._prose.show_text(self.content_size.width)), "\n"

    def notify_style_update(self) -> None:
        self._prose.forget_colours()
        super().notify_style_update()

    def on_click(self, _: events.Click) -> None:
        self.post_message(self.Clicked(self))

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        self._prose.forget_colours()
        self.refresh()

    def _redraw(self) -> None:
        """Draws what changed: the last rows, unless there are more of them than before."""
        size, old = self.content_size, self._prose.blocks
        height = self._prose.get_height(RulesMap(), size.width)
        self._build()
        blocks = self._prose.blocks
        if not size.width or size.height != height or self._prose.get_height(RulesMap(), size.width) != height:
            self.refresh(layout=True)
            return
        same = next((n for n, (one, other) in enumerate(zip(blocks, old, strict=False)) if one is not other), len(old))
        first = sum(len(block.rows(size.width)) for block in blocks[:same])
        self.refresh(Region(0, first, self.size.width, height - first))

    def _build(self) -> None:
        blocks = self._build_reply() if self.is_reply else self._build_prompt()
        self._prose.blocks = blocks + [Block(note, gap=1 if number == 0 and blocks else 0)
                                       for number, note in enumerate(self._notes())]  # fmt: skip

    def _build_prompt(self) -> list[Block]:
        shown = self._text if len(self._text) <= _LONG else self._text[:_LONG]
        blocks = [Block(Content(shown.rstrip("\n")), _USER_BAR, _USER_BAR)]
        if hidden := len(self._text) - len(shown):
            note = Content.styled(f"… {hidden:,} more characters, sent in full", "$muted")
            blocks.append(Block(note, _USER_BAR, _USER_BAR))
        return blocks

    def _build_reply(self) -> list[Block]:
        if self._text:
            return self._markdown.set(self._text)
        return [Block(Content.styled(self.waiting or "…", "$muted"))] if self.message.status == "streaming" else []

    def _notes(self) -> list[Content]:
        message = self.message
        notes = []
        if self.is_reply and (note := describe_end(message)):
            notes.append(Content.styled(note, "$text-error" if message.status == "failed" else "$muted"))
        marks = [Content.styled(f"‹{message.sibling}/{message.siblings}›", "$muted")] if message.siblings > 1 else []
        if self.is_reply:
            marks += describe_judgement(message, self.judgement)
        if marks:
            notes.append(Content.styled(" · ", "$muted").join(marks))
        return notes


def describe_judgement(message: Message, judgement: Judgement | None) -> list[Content]:
    """What people said of a reply, and who wrote it if that was a person."""
    marks = []
    author = message.generation.get("author") if "corrects" in message.generation else None
    if author is not None:
        marks.append(Content.styled(f"✎ corrected by {printable_line(str(author), 40)}", "$text-primary"))
    if message.rating > 0 and author is None:  # who corrects means it
        marks.append(Content.styled("▲ rated up", "$text-success"))
    elif message.rating < 0:
        marks.append(Content.styled("▼ rated down", "$text-warning"))
    if message.decision in _DECIDED:
        marks.append(Content.styled(_DECIDED[message.decision], "$muted"))
    if judgement is not None and judgement.tags:
        marks.append(Content.styled(printable_line(", ".join(judgement.tags), _SHORT), "$muted"))
    if judgement is not None and judgement.comment:
        marks.append(Content.styled(f"“{printable_line(judgement.comment, _SHORT)}”", "$muted"))
    return marks


def describe_end(message: Message) -> str:
    """Why a reply ended other than by itself; empty if it is complete or still growing."""
    match message.status:
        case "failed":
            return f"✗ {printable_line(message.finish_reason, 300) or 'It failed.'}"
        case "stopped":
            return "■ stopped"
        case "interrupted":
            return "■ interrupted"
        case _:
            return "■ cut off at the length limit" if message.finish_reason == "length" else ""
