"""The conversations by day, with a filter: what is on the left."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from textual.containers import Vertical
from textual.content import Content
from textual.message import Message as Event
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from chatbot.text import printable_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from chatbot.store.records import Conversation

PAGE = 200


class ConversationList(OptionList):
    """The list itself; keys that mean the highlighted conversation are bound by the screen."""


class Sidebar(Vertical):
    """A filter over a list. It asks for conversations by messages and is handed them by `show`."""

    class Filtered(Event):
        """Other conversations are wanted: by text, or more of the same."""

        def __init__(self, text: str, limit: int) -> None:
            super().__init__()
            self.text = text
            self.limit = limit

    class Chosen(Event):
        def __init__(self, conversation_id: str) -> None:
            super().__init__()
            self.conversation_id = conversation_id

    def __init__(self) -> None:
        super().__init__(id="sidebar")
        self.limit = PAGE
        self.archived = False
        self.conversations: list[Conversation] = []
        self.current: str | None = None

    def compose(self) -> ComposeResult:
        yield Static(Content("Conversations"), id="sidebar-title")
        yield Input(placeholder="filter", id="filter", compact=True)
        yield ConversationList(id="conversations", markup=False, compact=True)

    @property
    def list(self) -> ConversationList:
        return self.query_one(ConversationList)

    @property
    def text(self) -> str:
        return self.query_one(Input).value

    @property
    def has_filter_focus(self) -> bool:
        return self.query_one(Input).has_focus

    def clear_filter(self) -> None:
        """Lists everything again."""
        self.query_one(Input).value = ""

    @property
    def highlighted(self) -> Conversation | None:
        """The conversation under the list's cursor."""
        index = self.list.highlighted
        option = self.list.get_option_at_index(index) if index is not None else None
        return next((one for one in self.conversations if option and one.id == option.id), None)

    def show(self, conversations: Sequence[Conversation], current: str | None) -> None:
        """Lists `conversations`; the cursor stays on the same one, or goes to the open one."""
        self.conversations = list(conversations)
        self.current = current
        kept = self.highlighted_id() or current
        self.query_one("#sidebar-title", Static).update(Content("Archived" if self.archived else "Conversations"))
        options: list[Option | None] = []
        heading = ""
        for conversation in self.conversations:
            group = "Pinned" if conversation.pinned else name_day(conversation.updated, datetime.now(UTC))
            if group != heading:
                heading = group
                options.append(Option(Content.styled(group, "$muted"), disabled=True))
            mark = "▸ " if conversation.id == current else "  "
            title = printable_line(conversation.title, 200) or "New conversation"
            line = Content.assemble((mark, "$primary"), title)
            options.append(Option(line.stylize("bold") if conversation.id == current else line, id=conversation.id))
        if not options:
            empty = "nothing found" if self.text else "nothing archived" if self.archived else "nothing said yet"
            options.append(Option(Content.styled(empty, "$muted"), disabled=True))
        self.list.set_options(options)
        self._highlight(kept)

    def highlighted_id(self) -> str | None:
        index = self.list.highlighted
        if index is None or index >= self.list.option_count:
            return None
        return self.list.get_option_at_index(index).id

    def _highlight(self, conversation_id: str | None) -> None:
        for index in range(self.list.option_count):
            if conversation_id and self.list.get_option_at_index(index).id == conversation_id:
                self.list.highlighted = index
                return

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.limit = PAGE
        self.post_message(self.Filtered(event.value, self.limit))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.list.focus()
        self.list.action_first()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option.id:
            self.post_message(self.Chosen(event.option.id))

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if event.option_index >= self.list.option_count - 3 and len(self.conversations) >= self.limit:
            self.limit += PAGE
            self.post_message(self.Filtered(self.text, self.limit))


def name_day(moment: datetime, now: datetime) -> str:
    """`Today`, `Yesterday`, `Monday` within a week, else the month."""
    day, today = moment.astimezone().date(), now.astimezone().date()
    age = (today - day).days
    if age <= 0:
        return "Today"
    if age == 1:
        return "Yesterday"
    if age < 7:
        return day.strftime("%A")
    if today - timedelta(days=30) <= day:
        return "The last 30 days"
    return _name_month(day, today)


def _name_month(day: date, today: date) -> str:
    return day.strftime("%B") if day.year == today.year else day.strftime("%B %Y")
