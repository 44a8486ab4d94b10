"""Replies that failed: where the prompt is now, what is shown, and trying again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.errors import ChatbotError, EngineError
from chatbot.terminal.screens.turns import TurnActions
from chatbot.text import storable

if TYPE_CHECKING:
    from chatbot.terminal.turn import RunningTurn


class FailureActions(TurnActions):
    """What has to do with replies that failed."""

    async def show_failure(self, turn: RunningTurn, failure: ChatbotError, here: bool) -> None:
        """The error in place. What the user wrote stands in the database, or else goes back to the prompt."""
        if not here:
            self.tell(failure.message, severity="error")
            return
        kept = not turn.prompt or await self._is_kept(turn)
        if isinstance(failure, EngineError):
            self.status.change(engine="lost", detail=failure.message)
            self.engine_asked.set()
        if not kept:
            rest = self.prompt.full_text
            self.prompt.load("\n\n".join(filter(None, [turn.prompt, rest])))
            self.editing = turn.edits
            self.fail(failure, lambda: self._send_again(turn))
        elif (last := self.transcript.last) and last.role == "assistant" and last.finish_reason == failure.message:
            self.retrying = self._retry_reply  # the reply says what happened; the notice, what can be done
        else:
            self.fail(failure, self._retry_reply)
        self.show_state()

    async def _send_again(self, turn: RunningTurn) -> None:
        """The prompt that came back, without what was written behind it; if it was changed, all that is there."""
        text = self.prompt.full_text
        if text.startswith(turn.prompt):
            self.prompt.load(text.removeprefix(turn.prompt).lstrip("\n"))
            await self.send(turn.prompt)
        else:
            self.prompt.submit()

    async def _is_kept(self, turn: RunningTurn) -> bool:
        """Whether the prompt of a failed turn reached the database; a conversation that it began is opened then."""
        manager = self.manager
        if manager is None:
            return False
        try:
            if self.conversation is None:
                latest = await self.call(manager.latest_conversation)
                if latest is None or latest.created < turn.began:
                    return False
                newest = await self.call(manager.transcript, latest.id, limit=1)
                if [one.content for one in newest] != [storable(turn.prompt)]:
                    return False  # another process began it
                self.begin_conversation(latest)
                await self.reload_messages()
        except ChatbotError:
            return False
        return any(one.role == "user" and one.id not in turn.known for one in self.transcript.messages[-2:])

    async def _retry_reply(self) -> None:
        """After a failure: the newest reply again, or one for the newest message if there is none."""
        last = self.transcript.last
        if self.manager is not None and last is not None and self.turn is None:
            self.start_turn(self.manager.regenerate(last.id))

    async def action_retry(self) -> None:
        again, self.retrying = self.retrying, None
        if again is None:
            self.tell("Nothing failed.")
        else:
            self.notice.hide()
            await again()
