"""The review: the replies that need an eye, worst first, each in its conversation, each decision one key.

The screen stands alone (`chatbot review`) or over the chat (`/review`). Above the reply is how far the review is, why
the reply is here and what will become of it; below it, what is known of it, and the keys.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from chatbot.errors import ChatbotError, NotFound
from chatbot.terminal.screens.review_filter import read_filter
from chatbot.terminal.screens.review_keys import BY_KEY
from chatbot.terminal.screens.review_showing import Showing
from chatbot.terminal.widgets.notices import Notice
from chatbot.terminal.widgets.review_form import ReviewForm
from chatbot.terminal.widgets.review_lines import Figures, Hints, ProgressLine, Reasons
from chatbot.terminal.widgets.review_list import ReviewList
from chatbot.terminal.widgets.transcript import Transcript
from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from chatbot.dialogue.manager import Manager
    from chatbot.logs.reviewing import ReviewItem
    from chatbot.terminal.screens.review_walk import ReviewWalk


class ReviewScreen(Showing):
    """The screen itself: opening, walking, leaving."""

    CSS_PATH = "review.tcss"
    AUTO_FOCUS = "#transcript"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "escape", "Leave", show=False, priority=True)]

    def compose(self) -> ComposeResult:
        with Horizontal(id="review-columns"):
            yield ReviewList()
            with Vertical(id="review"):
                yield ProgressLine()
                yield Reasons()
                yield Static(id="title", markup=False)
                yield Transcript()
                yield Static(id="rows-below", markup=False)
                yield Static(id="nothing", markup=False)
                yield Figures()
                yield Notice()
                yield ReviewForm()
                yield Hints()

    def on_mount(self) -> None:
        self.show_hints()
        for name in ("#reasons", "#title", "#figures", "#nothing"):
            self.query_one(name).display = False
        self.call_after_refresh(self.attempt, self._begin)

    async def _begin(self) -> None:
        """After the first frame: the database, if the chat has not opened it, and the queue."""
        gc.enable()
        for problem in self.app.problems if not self.over_chat else ():
            self.tell(problem, severity="warning")
        try:
            asked = read_filter(self.filter_line)
            manager = self.background.manager or await self.background.open()
            self.walk = await self.call(_make_walk, manager, self)
            await self.filter(self.filter_line, asked)
        except ChatbotError as error:
            self.failure = error if self.walk is None else None
            raise
        self.failure = None
        await self.show_progress()

    # --- keys -------------------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """The keys of the table, unless something is being written."""
        if self.form:
            if event.is_printable and self.focused not in {self.line.input, self.editor}:
                event.stop()  # it overtook the form that it is meant for
            return
        if event.key == "space":
            event.stop()
            self.transcript.scroll_page_down(animate=False)
            return
        entry = BY_KEY.get(event.key)
        if entry is None or (entry.name == "open_chat" and event.key == "enter" and self.queue_list.has_focus):
            return
        event.stop()
        event.prevent_default()
        getattr(self, f"action_{entry.name}")()

    async def action_escape(self) -> None:
        """Leaves what is open, or stops what runs, or goes back to the chat. It ends no program: one Esc too many, out
        of a form, would throw the reviewer out."""
        if self.form:
            await self.leave_form()
        elif self.working or self.over_chat or (self.queue_list.has_focus and not self.has_class("-wide")):
            self.action_leave()
        else:
            self.interrupt()

    def interrupt(self) -> None:
        """Ctrl+C with nothing to copy."""
        self.tell("q leaves.")

    # --- walking ----------------------------------------------------------------------------------------------------

    def action_next(self) -> None:
        self.attempt(lambda: self._step(1))

    def action_previous(self) -> None:
        self.attempt(lambda: self._step(-1))

    async def _step(self, step: int) -> None:
        if self.walk is None:
            return
        if step < 0 and self.walk.place == 0:
            self.tell("This is the first one.")
            return
        await self.show_item(await self.call(self.walk.step, step))

    def on_review_list_chosen(self, event: ReviewList.Chosen) -> None:
        event.stop()
        walk, place = self.walk, event.place
        if walk is None or self.form:
            return

        async def go() -> None:
            await self.show_item(await self.call(walk.step, place - walk.place))
            self.set_focus(self.transcript)

        self.attempt(go)

    def on_review_list_near_end(self, event: ReviewList.NearEnd) -> None:
        event.stop()
        self.attempt(self._load_more)

    async def _load_more(self) -> None:
        if self.walk is not None and await self.call(self.walk.load_more):
            self.show_list()

    def action_toggle_list(self) -> None:
        shown = not self.queue_list.display
        self.set_class(shown, "-list")
        self.set_class(not shown, "-no-list")
        self.set_focus(self.queue_list if shown else self.transcript)

    # --- the whole --------------------------------------------------------------------------------------------------

    def action_retry(self) -> None:
        again, self.retrying = self.retrying, None
        if again is not None:
            self.notice.hide()
            self.attempt(again)
        elif self.walk is None:
            self.attempt(self._begin)
        else:
            self.attempt(self._look_again)

    async def _look_again(self) -> None:
        """The queue as it stands now, from its worst reply on."""
        assert self.walk is not None
        await self.call(self.walk.begin_again)
        await self.show_item(await self.call(self.walk.open))
        await self.show_progress()

    def action_show_tokens(self) -> None:
        self.attempt_about_item(self._show_tokens)

    async def _show_tokens(self, walk: ReviewWalk, item: ReviewItem) -> None:
        from chatbot.terminal.screens.tokens import TokensScreen

        assert self.background.manager is not None
        made = await self.app.push_screen_wait(TokensScreen(self.background.manager, item.reply))
        if not made:
            return
        try:
            await self.show_item(await self.call(walk.add, made))
        except NotFound:  # it came to nothing
            return
        await self.show_progress()
        self.tell("A new reply beside the old one; both are in the queue. ← goes back to the old one.")

    def action_show_help(self) -> None:
        from chatbot.terminal.screens.review_help import ReviewHelp

        self.app.push_screen(ReviewHelp(over_chat=self.over_chat))

    def action_open_chat(self) -> None:
        item = self.item
        if item is None:
            return
        if self.over_chat:
            self.attempt(lambda: self._close(item.conversation.id))
        else:
            self.tell(f"`chatbot -c {item.conversation.id}` opens it in the chat.")

    def action_leave(self) -> None:
        if self.working:
            self.stopping = True
        elif self.queue_list.has_focus and not self.has_class("-wide"):
            self.action_toggle_list()
        elif self.over_chat:
            self.attempt(lambda: self._close(""))
        else:
            self.app.call_later(self.app.action_quit)

    async def _close(self, conversation_id: str) -> None:
        failure = await self.leave()
        if failure is not None:
            self.app.notify(printable_line(str(failure), 300), severity="error", markup=False, timeout=8)
        self.dismiss(conversation_id)

    async def leave(self) -> ChatbotError | None:
        """What is to be done before the screen goes: after a redaction the database is rewritten. Returns what is
        to be said afterwards."""
        self.stopping = True
        if self.redacted and self.walk is not None:
            self.redacted = False
            word = "Rewriting the database, so that what was masked is no longer in it…"
            try:
                await self.call_with_word(word, self.walk.store.redactions.compact)
            except ChatbotError as error:
                message = f"The database could not be rewritten: {error.message}"
                return type(error)(message, hint=error.hint)
        return self.failure


def _make_walk(manager: Manager, screen: ReviewScreen) -> ReviewWalk:
    from chatbot.terminal.screens.review_walk import ReviewWalk

    review = screen.settings.review
    return ReviewWalk(manager.store, author=review.signature, wanted=review.wanted)
