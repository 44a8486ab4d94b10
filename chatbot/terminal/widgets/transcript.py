"""The messages on screen: the last ones of the branch, with older ones mounted as the reader scrolls up.

At most `MOST_MOUNTED` messages are widgets at a time, because the layout's cost is their number; the records of what
was read once stay in memory, which is cheap, so scrolling back down needs no database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import VerticalScroll
from textual.message import Message as Event

from chatbot.terminal.widgets.message import MessageView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chatbot.store.records import Message
    from chatbot.store.reply_states import Judgement

MOST_MOUNTED = 120
STEP = 20


class Transcript(VerticalScroll):
    """A window of mounted messages over the list of those that were read."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; padding: 1 1 0 1; scrollbar-size-vertical: 1; }
    """

    class NearTop(Event):
        """The oldest message that was read is close: older ones are wanted."""

    class Moved(Event):
        """The reader scrolled, or something grew below."""

    def __init__(self) -> None:
        super().__init__(id="transcript")
        self.messages: list[Message] = []
        self.judgements: dict[str, Judgement] = {}
        """What is known of people's words about these messages, by their ids."""
        self._first = 0  # index in `messages` of the first mounted one
        self._selected: str | None = None
        self._moving = False

    @property
    def views(self) -> list[MessageView]:
        return [child for child in self.children if isinstance(child, MessageView)]

    @property
    def is_at_end(self) -> bool:
        return self.scroll_y >= self.max_scroll_y - 1 and self._first + len(self.views) >= len(self.messages)

    @property
    def last(self) -> Message | None:
        return self.messages[-1] if self.messages else None

    @property
    def selected(self) -> Message | None:
        return next((message for message in self.messages if message.id == self._selected), None)

    def find(self, message_id: str) -> MessageView | None:
        """The widget of a message, None while it is not mounted."""
        return next((view for view in self.views if view.message.id == message_id), None)

    async def show(self, messages: Sequence[Message], *, follow: bool = True) -> None:
        """Shows `messages`, which replace all that was there; widgets of unchanged messages stay as they are."""
        self.messages = list(messages)
        shown = self.messages[-STEP * 2 :]
        self._first = len(self.messages) - len(shown)
        old = {view.message.id: view for view in self.views}
        keep = {message.id for message in shown}
        with self.app.batch_update():
            await self.remove_children([view for id_, view in old.items() if id_ not in keep])
            kept = [message.id for message in shown if message.id in old]
            in_order = [view.message.id for view in self.views] == kept and [m.id for m in shown[: len(kept)]] == kept
            if not in_order:
                await self.remove_children(self.views)
                old = {}
            for message in shown:
                if message.id in old and old[message.id].message != message:
                    old[message.id].set_message(message)
            await self.mount_all([self._make_view(message) for message in shown if message.id not in old])
        self.select(self._selected)
        if follow:
            self.follow()

    async def add(self, message: Message) -> MessageView:
        """A new message at the end; a known one is updated."""
        for index, known in enumerate(self.messages):
            if known.id == message.id:
                self.messages[index] = message
                if view := self.find(message.id):
                    view.set_message(message)
                    return view
        self.messages.append(message)
        await self._mount_to_end()
        view = self._make_view(message)
        await self.mount(view)
        return view

    def replace(self, message: Message) -> None:
        """The message as it now stands, wherever it is."""
        for index, known in enumerate(self.messages):
            if known.id == message.id:
                self.messages[index] = message
        if view := self.find(message.id):
            view.set_message(message)

    def judge(self, judgements: Mapping[str, Judgement]) -> None:
        """Shows the tags and comments of replies."""
        self.judgements.update(judgements)
        for view in self.views:
            if judgement := judgements.get(view.message.id):
                view.judge(judgement)

    async def extend_up(self, older: Sequence[Message]) -> None:
        """Older messages, oldest first, before all that were read."""
        self.messages[:0] = older
        self._first += len(older)
        await self._mount_above()

    def follow(self) -> None:
        """To the end, and stay there while the reply grows."""
        self._anchor_released = False
        self.anchor()

    async def follow_from_anywhere(self) -> None:
        await self._mount_to_end()
        self.call_after_refresh(self.follow)

    def _make_view(self, message: Message) -> MessageView:
        return MessageView(message, self.judgements.get(message.id))

    def select(self, message_id: str | None) -> None:
        """Marks a message, which the keys of the group Message then mean."""
        self._selected = message_id
        for view in self.views:
            view.set_class(view.message.id == message_id and message_id is not None, "-selected")

    def select_step(self, step: int) -> Message | None:
        """Selects the message above (-1) or below (+1) the selected one; from nothing, the last."""
        ids = [message.id for message in self.messages]
        if not ids:
            return None
        place = ids.index(self._selected) + step if self._selected in ids else len(ids) - 1
        if place >= len(ids):
            self.select(None)
            return None
        place = max(0, place)
        self.select(ids[place])
        if view := self.find(ids[place]):
            self.release_anchor()
            view.scroll_visible(animate=False, top=view.size.height > self.size.height)
        if place <= self._first + 1:
            self.call_later(self._grow_up)
        return self.messages[place]

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Moved())
        if new_value < old_value and new_value < self.size.height:
            self.call_later(self._grow_up)
        elif new_value > old_value and new_value > self.max_scroll_y - self.size.height:
            self.call_later(self._grow_down)

    async def _grow_up(self) -> None:
        if self._first == 0:
            self.post_message(self.NearTop())
        else:
            await self._mount_above()

    async def _grow_down(self) -> None:
        end = self._first + len(self.views)
        if self._moving or end >= len(self.messages):
            return
        self._moving = True
        await self.mount_all([self._make_view(message) for message in self.messages[end : end + STEP]])
        self._moving = False

    async def _mount_above(self) -> None:
        """Mounts a step of older messages without moving what the reader looks at."""
        if self._moving or self._first == 0:
            return
        self._moving = True
        start = max(0, self._first - STEP)
        views = [self._make_view(message) for message in self.messages[start : self._first]]
        surplus = self.views[MOST_MOUNTED - len(views) :]
        following = self.is_anchored and not self._anchor_released
        width = self.views[0].content_size.width if self.views else 0
        added = sum(view.measure(width) for view in views) if width else 0
        with self.app.batch_update():
            await self.mount_all(views, before=0)
            self._first = start
            if not following:
                # In the same frame, or the reader would see the older messages flash by.
                self.set_scroll(None, self.scroll_y + added)
                self.scroll_target_y = self.scroll_y
                if surplus and not self.is_at_end:
                    await self.remove_children(surplus)

        def settle() -> None:
            self._moving = False

        self.call_after_refresh(settle)

    async def _mount_to_end(self) -> None:
        """Makes the last messages the mounted ones, if scrolling up has unmounted them."""
        mounted = len(self.views)
        known = [view.message.id for view in self.views]
        missing = [message for message in self.messages[self._first + mounted :] if message.id not in known]
        if len(missing) > 1 or (missing and mounted and self._first + mounted < len(self.messages) - 1):
            await self.remove_children(self.views)
            shown = self.messages[-STEP * 2 :]
            self._first = len(self.messages) - len(shown)
            await self.mount_all([self._make_view(message) for message in shown])
