"""Showing a reply under review in its conversation, and the end of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from chatbot.terminal.screens.review_redaction import Redacting
from chatbot.terminal.widgets.transcript import Transcript
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.logs.reviewing import ReviewItem
    from chatbot.store.review_queue import Progress
    from chatbot.terminal.screens.review_walk import ReviewWalk

_WITH_A_REPLY = ("#reasons", "#title", "#figures", "#transcript")


class Showing(Redacting):
    """What has to do with what is on the screen."""

    async def show_item(self, item: ReviewItem | None) -> None:
        self.notice.hide()
        self.retrying = None
        if item is None:
            self.item = None
            await self._show_end()
        else:
            self._show_around(item)
            transcript = self.transcript
            with self.app.batch_update():
                await transcript.show([*item.above, item.reply], follow=False)
                for view in transcript.views:
                    view.set_class(view.message.id == item.reply.id, "-reviewed")
            self.item = item  # only now: until it is in sight, no key is about it
            self.call_after_refresh(self._scroll_to_reply)
            if not self.queue_list.has_focus and not self.form:
                self.set_focus(transcript)
        if not self.form:  # a line that was opened while the queue was read keeps its keys
            self.show_hints()

    def _show_around(self, item: ReviewItem) -> None:
        self._show_reply(True)
        self.reasons.show(item)
        self.figures.show(item)
        self.query_one("#title", Static).update(_describe_conversation(item))

    async def _show_end(self) -> None:
        walk = self.walk
        assert walk is not None
        self._show_reply(False)
        told = describe_end(walk, await self.call(walk.reviewer.progress), self.filter_line)
        self.query_one("#nothing", Static).update(told)
        if not self.form:
            self.set_focus(None)

    def _show_reply(self, shown: bool) -> None:
        self.show_list()
        self.query_one("#nothing").display = not shown
        self.query_one("#rows-below").add_class("-hidden")
        for name in _WITH_A_REPLY:
            self.query_one(name).display = shown

    def _scroll_to_reply(self) -> None:
        """The end of the conversation, but never past the reply's beginning: that is where reading starts, with some
        of what it answers above it."""
        item, transcript = self.item, self.transcript
        view = transcript.find(item.reply.id) if item else None
        if view is not None:
            context = transcript.size.height // 3
            place = max(0, view.virtual_region.y - context)
            transcript.scroll_to(y=min(place, transcript.max_scroll_y), animate=False, force=True)
        self.call_after_refresh(self._show_below)

    def on_transcript_moved(self, event: Transcript.Moved) -> None:
        event.stop()
        self._show_below()

    def _show_below(self) -> None:
        """How much of the reply has not been in sight yet: nobody should approve what he has not read."""
        transcript, line = self.transcript, self.query_one("#rows-below", Static)
        rows = round(transcript.max_scroll_y - transcript.scroll_y) if self.item is not None else 0
        line.set_class(rows <= 0, "-hidden")
        if rows > 0:
            line.update(Content(f"↓ {rows:,} more {'row' if rows == 1 else 'rows'} · Space"))


def describe_end(walk: ReviewWalk, progress: Progress, filter_line: str) -> Content:
    """What stands where there is no reply: why, and what to do next."""
    skipped, decided = walk.skipped, any(reply.done for reply in walk.replies)
    missing = walk.reviewer.wanted - progress.approved
    if skipped:
        lines = ["That was the last one."]
        lines.append(
            "1 reply that you skipped still waits; F5 begins again with it."
            if skipped == 1
            else f"{skipped:,} replies that you skipped still wait; F5 begins again with them."
        )
    elif filter_line:
        lines = ["Nothing waits that this filter means.", "f changes it; an empty one means all that waits."]
    else:
        lines = (
            ["Everything is reviewed. Well done."]
            if decided
            else [
                "Nothing waits for a review.",
                "Each reply of a chat comes here by itself, until somebody approves it.",
            ]
        )
        lines.append(
            f"{missing:,} more approved replies are wanted for the next training: talk to the model."
            if missing > 0
            else "There are as many approved replies as the next training wants."
        )
    keys = "← goes back · q leaves" if walk.replies else "q leaves"
    head, *rest = lines
    told = [Content.styled(head, "bold"), *map(Content, rest), Content(""), Content.styled(keys, "$muted")]
    return Content("\n").join(told)


def _describe_conversation(item: ReviewItem) -> Content:
    conversation = item.conversation
    title = printable_line(conversation.title, 200) or "New conversation"
    parts = [f"{item.reply.created.astimezone():%d %b %Y %H:%M}"]
    if conversation.persona and conversation.persona != "default":
        parts.append(printable_line(conversation.persona, 30))
    if item.reply.siblings > 1:
        parts.append(f"reply {item.reply.sibling} of {item.reply.siblings}")
    return Content.assemble((title, "bold"), ("  " + " · ".join(parts), "$muted"))
