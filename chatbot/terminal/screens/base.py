"""What every part of the chat screen builds on: the widgets, the open conversation, and how failures are shown.

The screen is one class in several files, one for each thing that a reader does: converse (turns), point at messages,
judge and duel, keep conversations, and the screen itself. They share the state that is declared here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from textual.screen import Screen

from chatbot.errors import ChatbotError
from chatbot.terminal.widgets.notices import Completions, Notice, Queue
from chatbot.terminal.widgets.prompt import Prompt
from chatbot.terminal.widgets.sidebar import Sidebar
from chatbot.terminal.widgets.status_line import StatusLine
from chatbot.terminal.widgets.transcript import Transcript
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.config import Settings
    from chatbot.dialogue.manager import Manager
    from chatbot.store.records import Conversation
    from chatbot.terminal.app import ChatApp
    from chatbot.terminal.background import Background
    from chatbot.terminal.turn import RunningTurn

P = ParamSpec("P")
T = TypeVar("T")
FIRST_PAGE = 40


class ChatBase(Screen[None]):
    """The state of the chat screen."""

    app: ChatApp

    def __init__(self, settings: Settings, background: Background, keys: dict[str, str], persona: str) -> None:
        super().__init__()
        self.settings = settings
        self.background = background
        self.keys = keys
        self.persona = persona
        """The persona of the open conversation, or of the one that begins with the next message."""
        self.conversation: Conversation | None = None
        self.turns: dict[str, RunningTurn] = {}
        """Replies that are being written, by conversation; one may go on while another is read."""
        self.queues: dict[str | None, list[str]] = {}
        self.editing: str | None = None
        """The message of the user that the prompt's text will replace, in a new branch."""
        self.has_all_messages = True
        self.leaving = False
        """True once the reader leaves: replies that end now have no screen to be shown on."""
        self.failure: ChatbotError | None = None
        """Why the database could not be opened."""
        self.trouble = ""
        """Why the model could not be loaded before it was needed; a reply that comes takes it back."""
        self.engine_asked = asyncio.Event()
        """Set when the engine's state should be looked at now."""
        self.retrying: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.undoing: Callable[[], Coroutine[Any, Any, None]] | None = None

    @property
    def manager(self) -> Manager | None:
        """None until the database is open."""
        return self.background.manager

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if self.conversation else None

    @property
    def turn(self) -> RunningTurn | None:
        """The reply that is being written in the open conversation."""
        return next((turn for turn in self.turns.values() if turn.conversation_id == self.conversation_id), None)

    @property
    def workers_busy(self) -> bool:
        """Whether something that was asked for is still being done."""
        return any(worker.group == "attempt" and worker.is_running for worker in self.workers)

    @property
    def queue(self) -> list[str]:
        return self.queues.setdefault(self.conversation_id, [])

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def prompt(self) -> Prompt:
        return self.query_one(Prompt)

    @property
    def sidebar(self) -> Sidebar:
        return self.query_one(Sidebar)

    @property
    def status(self) -> StatusLine:
        return self.query_one(StatusLine)

    @property
    def notice(self) -> Notice:
        return self.query_one(Notice)

    @property
    def queue_view(self) -> Queue:
        return self.query_one(Queue)

    @property
    def completions(self) -> Completions:
        return self.query_one(Completions)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One of the manager's synchronous functions, away from the event loop."""
        return await self.background.call(function, *args, **kwargs)

    def attempt(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Starts `work`; if it fails with an error of ours, that is shown and `work` can be tried again."""

        async def run() -> None:
            try:
                await work()
            except ChatbotError as error:
                self.fail(error, work)

        self.run_worker(run(), group="attempt", exit_on_error=True)

    def fail(self, error: ChatbotError, again: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Shows what happened and what to do, in place and as a toast."""
        self.retrying = again
        self.notice.show_error(error)
        self.tell(error.message, severity="error")

    def tell(self, text: str, severity: Any = "information") -> None:
        """A toast. `text` may hold what others wrote."""
        self.notify(printable_line(text, 300), severity=severity, markup=False, timeout=5)
