"""Opening the chat and leaving it: the database, the word about the engine, what other processes do meanwhile."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

from chatbot.errors import ChatbotError
from chatbot.terminal.screens.conversations import ConversationActions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatbot.dialogue.manager import Manager

_HEALTH_INTERVAL = 0.5  # seconds while the model is not ready, ten times that when it is
_LIST_INTERVAL = 3.0  # seconds between looks at what other processes keep


class Opening(ConversationActions):
    """What has to do with the program as a whole."""

    _was_sent = False  # whether what stands in the prompt had been sent before the database turned out to be shut

    async def open_database(self) -> None:
        """What was typed goes out once the database is open. If it cannot be opened, the text is in the prompt again,
        where it can be copied, and is sent when trying again succeeds."""
        try:
            await self._open()
        except ChatbotError as error:
            if self.manager is None:
                self.failure = error
                self.status.change(engine="failed", detail=error.message)
            self._was_sent = self._was_sent or bool(self.queue)
            self.prompt.load("\n\n".join(filter(None, [*self.queue, self.prompt.full_text])))
            self.queue.clear()
            self.show_queue()
            raise
        if self._was_sent:
            self._was_sent = False
            self.prompt.submit()
        elif self.queue:
            await self._send_next()

    async def _open(self) -> None:
        manager = self.manager
        if manager is None:
            manager = await self.background.open()
            self.failure = None
            # A full collection among all that the libraries are made of held up the keys for 60 to 80 ms.
            gc.freeze()
            gc.set_threshold(20_000, 10, 50)
            self.run_worker(self._warm(manager), group="warm", exclusive=True)
            self.run_worker(self._watch_engine(manager), group="engine", exclusive=True)
            self.set_interval(_LIST_INTERVAL, self.look_at_conversations)
        self.prompt.set_past(await self.call(manager.prompt_history))
        await self.refresh_conversations()
        for problem in await self.call(self._read_persona_problems):
            self.tell(problem, severity="warning")
        await self.open_conversation(await self.app.find_wanted(manager), first=True)

    def _read_persona_problems(self) -> Sequence[str]:
        """What keeps files of personas out of /persona."""
        from chatbot.dialogue.personas import Personas

        return Personas(self.app.home.personas).problems

    async def send(self, text: str) -> None:
        if self.failure is not None:
            self._was_sent = True
            self.prompt.load("\n\n".join(filter(None, [text, self.prompt.full_text])))
            self.fail(self.failure, self.open_database)
        else:
            await super().send(text)

    # --- the engine -------------------------------------------------------------------------------------------------

    async def _warm(self, manager: Manager) -> None:
        try:
            await manager.warm()
        except Exception as error:  # noqa: BLE001  the first turn will say it in full; reading goes on
            self.trouble = _describe(error)

    async def _watch_engine(self, manager: Manager) -> None:
        """Keeps the status line's word about the engine true."""
        while True:
            self.engine_asked.clear()
            try:
                health = await manager.engine_health()
                word, detail = health.status, health.detail
            except Exception as error:  # noqa: BLE001  no answer of an engine's may end the chat
                word, detail = "failed", _describe(error)
            if self.trouble:
                word, detail = "failed", self.trouble
            self.status.change(engine=word, detail=detail)
            turn = self.turn
            if turn is not None and turn.reply and (view := self.transcript.find(turn.reply.id)):
                view.wait(self.describe_wait())
            waiting = turn is not None and not turn.text
            rest = asyncio.create_task(self.engine_asked.wait())
            await asyncio.wait([rest], timeout=_HEALTH_INTERVAL * (10 if word == "ready" and not waiting else 1))
            rest.cancel()

    # --- other processes --------------------------------------------------------------------------------------------

    async def look_at_conversations(self) -> None:
        """The list as other processes have left it, unless nobody looks at it."""
        if not self.app.app_focus or not self.sidebar.display or self.leaving:
            return
        try:
            await self.refresh_conversations()
        except ChatbotError:
            return  # the next look, or the next turn, tells

    # --- leaving ----------------------------------------------------------------------------------------------------

    async def leave(self) -> ChatbotError | None:
        """Stops running replies, which keep their text, and keeps the draft; returns what is to be said afterwards."""
        self.leaving = True
        turns = list(self.turns.values())
        for turn in turns:
            turn.stop()
        for turn in turns:
            await turn.finished()
        failure = self.failure
        try:
            await self.save_draft()
        except ChatbotError as error:
            failure = error
        if failure is None:
            return None
        unsent = bool(self.queue or self.prompt.full_text.strip())
        fate = "What stood in the prompt was neither sent nor kept." if unsent else ""
        return type(failure)(failure.message, hint=f"{failure.hint} {fate}".strip())


def _describe(error: Exception) -> str:
    return error.message if isinstance(error, ChatbotError) else f"{type(error).__name__}: {error}"
