"""The queue as a list: two rows a reply, its conversation and why it is here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.message import Message as Event
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from chatbot.text import printable_line

_MARKS = {"approved": ("✓", "$success"), "rejected": ("✗", "$error"), "corrected": ("✎", "$success")}


@dataclass(frozen=True, slots=True)
class ListedReply:
    """What a line shows. `done` is approved, rejected, corrected or empty."""

    message_id: str
    title: str
    why: str
    done: str = ""


class ReviewList(OptionList):
    """It is handed what it shows; a choice, and the wish for more, are events."""

    class Chosen(Event):
        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    class NearEnd(Event):
        """The cursor is close to the last line: more are wanted."""

    def __init__(self) -> None:
        super().__init__(id="queue-list", markup=False, compact=True)
        self._shown: list[tuple[ListedReply, bool]] = []

    def show(self, replies: Sequence[ListedReply], place: int) -> None:
        """Lists `replies` and points at one; only lines that changed are made anew."""
        wanted = [(reply, number == place) for number, reply in enumerate(replies)]
        if [reply.message_id for reply, _ in wanted[: len(self._shown)]] == [
            reply.message_id for reply, _ in self._shown
        ]:
            for number, (old, new) in enumerate(zip(self._shown, wanted, strict=False)):
                if old != new:
                    self.replace_option_prompt_at_index(number, _draw(*new))
            self.add_options(Option(_draw(*line), id=line[0].message_id) for line in wanted[len(self._shown) :])
        else:
            self.set_options(Option(_draw(*line), id=line[0].message_id) for line in wanted)
        self._shown = wanted
        self.highlighted = place if place < len(wanted) else None

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(event.option_index))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if self.has_focus and event.option_index >= self.option_count - 3:
            self.post_message(self.NearEnd())


def _draw(reply: ListedReply, current: bool) -> Content:
    mark, colour = _MARKS.get(reply.done, ("▸" if current else " ", "$primary"))
    title = printable_line(reply.title, 200) or "New conversation"
    return Content.assemble(
        (f"{mark} ", colour),
        (title, "bold" if current else "$muted" if reply.done else ""),
        "\n  ",
        (reply.done or reply.why, "$muted"),
    )
