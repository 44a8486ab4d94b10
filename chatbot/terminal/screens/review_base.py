"""What every part of the review screen builds on: its widgets, the reply in sight, and how work is done one at a time.

A key means the reply that was in sight when it was pressed. Work waits for the work before it, so quick keys are not
lost; but one that decides about a reply is dropped if another one has come into sight meanwhile, because nobody has
read that one yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from textual.screen import Screen

from chatbot.errors import ChatbotError, InvalidInput, NotFound
from chatbot.terminal.screens.review_keys import END_HINTS, list_hints
from chatbot.terminal.widgets.notices import Notice
from chatbot.terminal.widgets.review_form import ReviewForm
from chatbot.terminal.widgets.review_lines import Figures, Hints, ProgressLine, Reasons
from chatbot.terminal.widgets.review_list import ListedReply, ReviewList
from chatbot.terminal.widgets.transcript import Transcript
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.config import Settings
    from chatbot.logs.reviewing import ReviewItem
    from chatbot.terminal.app import ChatApp
    from chatbot.terminal.background import Background
    from chatbot.terminal.screens.review_walk import ReviewWalk

P = ParamSpec("P")
T = TypeVar("T")
_LONG_WAIT = 0.5  # seconds after which a wait is explained
Work = Callable[[], Coroutine[Any, Any, None]]


class ReviewBase(Screen[str]):
    """The state of the review screen. It is left with the id of the conversation to be opened, or with nothing."""

    app: ChatApp

    def __init__(self, settings: Settings, background: Background, filter_line: str = "", *, over_chat: bool) -> None:
        """`over_chat`: the chat is below, and comes back when the review is left."""
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
        self.settings = settings
        self.background = background
        self.over_chat = over_chat
        self.filter_line = filter_line
        self.walk: ReviewWalk | None = None
        """None until the database is open and the queue was read."""
        self.item: ReviewItem | None = None
        """The reply in sight; None at the end of the queue."""
        self.form = ""
        """What is being written: correction, tags, comment or filter; empty if nothing is."""
        self.drafts: dict[str, str] = {}
        """Corrections that were left unfinished, by reply."""
        self.redacted = False
        """Whether the database must be rewritten before the review is left."""
        self.stopping = False
        """Set to stop what goes through many replies."""
        self.working = False
        """Whether something goes through many replies."""
        self.failure: ChatbotError | None = None
        self.retrying: Work | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def progress(self) -> ProgressLine:
        return self.query_one(ProgressLine)

    @property
    def reasons(self) -> Reasons:
        return self.query_one(Reasons)

    @property
    def figures(self) -> Figures:
        return self.query_one(Figures)

    @property
    def notice(self) -> Notice:
        return self.query_one(Notice)

    @property
    def hints(self) -> Hints:
        return self.query_one(Hints)

    @property
    def line(self) -> ReviewForm:
        return self.query_one(ReviewForm)

    @property
    def queue_list(self) -> ReviewList:
        return self.query_one(ReviewList)

    @property
    def workers_busy(self) -> bool:
        """Whether something that was asked for is still being done."""
        return any(worker.group == "review" and worker.is_running for worker in self.workers)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Synchronous work, away from the event loop."""
        return await self.background.call(function, *args, **kwargs)

    async def call_with_word(self, word: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call`, for what may take long: the screen says so then, in `word`."""
        task = asyncio.ensure_future(self.call(function, *args, **kwargs))
        done, _ = await asyncio.wait([task], timeout=_LONG_WAIT)
        if not done:
            self.notice.show_note(word)
        try:
            return await task
        finally:
            if not done:
                self.notice.hide()

    def attempt(self, work: Work) -> None:
        """Does `work` after what was asked for before; an error of ours is shown, and F5 tries again."""

        async def run() -> None:
            async with self._one_at_a_time:
                try:
                    await work()
                except ChatbotError as error:
                    # What cannot be done will not be done by trying again.
                    self.fail(error, None if isinstance(error, InvalidInput) else work)

        self.run_worker(run(), group="review", exit_on_error=True)

    def attempt_about_item(self, work: Callable[[ReviewWalk, ReviewItem], Coroutine[Any, Any, None]]) -> None:
        """Does `work` about the reply in sight, unless another one has come into sight before its turn."""
        item, walk = self.item, self.walk
        if item is None or walk is None:
            self.tell("There is no reply here.")
            return

        async def run() -> None:
            if self.item is None or self.item.reply.id != item.reply.id:
                return
            try:
                await work(walk, self.item)
            except NotFound:  # forgotten by another program: it must not stay in sight, nor be asked for again
                await self.show_item(await self.call(walk.open))
                await self.show_progress()
                self.tell("This reply is gone: it was forgotten elsewhere.")

        self.attempt(run)

    def fail(self, error: ChatbotError, again: Work | None = None) -> None:
        """Shows what happened and what can be done, until the next step."""
        self.retrying = again
        hint = f"{error.hint} F5 tries again.".strip() if again else error.hint
        self.notice.show_error(ChatbotError(error.message, hint=hint))

    def tell(self, text: str, severity: Any = "information") -> None:
        """A toast. `text` may hold what others wrote."""
        self.notify(printable_line(text, 300), severity=severity, markup=False, timeout=4)

    def show_hints(self) -> None:
        self.hints.show(list_hints(over_chat=self.over_chat) if self.item is not None else END_HINTS)

    def show_list(self) -> None:
        walk = self.walk
        if walk is not None:
            listed = [ListedReply(one.message_id, one.title, one.why, one.done) for one in walk.replies]
            self.queue_list.show(listed, walk.place)

    async def show_progress(self) -> None:
        if self.walk is not None:
            reviewer = self.walk.reviewer
            self.progress.show(await self.call(reviewer.progress), reviewer.wanted)

    # What the other parts of the screen provide.
    async def show_item(self, item: ReviewItem | None) -> None:
        raise NotImplementedError
