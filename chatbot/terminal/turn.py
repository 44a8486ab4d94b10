"""One reply while it is being written: it goes on when the reader looks at another conversation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chatbot.errors import ChatbotError

if TYPE_CHECKING:
    from chatbot.dialogue.events import ReplyEnded, ReplyStarted, TurnEvent
    from chatbot.store.records import Message


class RunningTurn:
    """Follows one of the manager's turns in a task of its own.

    `text` is all that the reply holds so far. The callbacks run on the event loop; `on_end` is called once, with
    the error if there was one, also after `stop`.
    """

    def __init__(
        self,
        events: AsyncGenerator[TurnEvent, None],
        conversation_id: str | None,
        *,
        prompt: str = "",
        edits: str | None = None,
        known: frozenset[str] = frozenset(),
        on_start: Callable[[RunningTurn, ReplyStarted], object],
        on_text: Callable[[RunningTurn, str], object],
        on_end: Callable[[RunningTurn, ReplyEnded | None, ChatbotError | None], object],
    ) -> None:
        self.conversation_id = conversation_id
        self.prompt = prompt
        self.edits = edits
        """The message that the prompt replaces."""
        self.known = known
        """The messages that were there before it."""
        self.began = datetime.now(UTC)
        self.reply: Message | None = None
        self.text = ""
        self.stopped = False
        self._events = events
        self._on_start, self._on_text, self._on_end = on_start, on_text, on_end
        self.task = asyncio.create_task(self._follow(), name="turn")

    def stop(self) -> None:
        """Ends the reply; the manager keeps what was said."""
        self.stopped = True
        self.task.cancel()

    async def finished(self) -> None:
        """Waits until the manager has kept what was said."""
        await asyncio.wait([self.task])

    async def _follow(self) -> None:
        from chatbot.dialogue.events import ReplyEnded, ReplyStarted, TextAdded

        ended: ReplyEnded | None = None
        failure: ChatbotError | None = None
        try:
            async for event in self._events:
                match event:
                    case ReplyStarted():
                        self.reply = event.reply
                        self.text = event.reply.content
                        self.conversation_id = event.reply.conversation_id
                        self._on_start(self, event)
                    case TextAdded():
                        self.text += event.text
                        self._on_text(self, event.text)
                    case ReplyEnded():
                        ended = event
        except ChatbotError as error:
            failure = error
        except asyncio.CancelledError:
            self.stopped = True
        finally:
            with contextlib.suppress(asyncio.CancelledError, ChatbotError, RuntimeError):
                await self._events.aclose()
            self._on_end(self, ended, failure)
