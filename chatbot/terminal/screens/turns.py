"""Conversing: sending, the reply as it grows, stopping, continuing, regenerating, and the queue.

Pieces of text are gathered and drawn once a frame. When a frame took long, the next one waits in proportion, so that
drawing takes at most a quarter of the time and keys are answered in between.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chatbot.errors import ChatbotError
from chatbot.terminal.actions import show_keys
from chatbot.terminal.screens.base import FIRST_PAGE, ChatBase
from chatbot.terminal.turn import RunningTurn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chatbot.dialogue.events import ReplyEnded, ReplyStarted, TurnEvent
    from chatbot.store.records import Conversation, Message

FRAME = 1 / 20


class TurnActions(ChatBase):
    """What has to do with replies."""

    _frame_pending = False

    async def send(self, text: str) -> None:
        """Sends `text` as the next message, or queues it while a reply is being written."""
        if self.manager is None or self.turn is not None:
            self.queue.append(text)
            self.show_queue()
            return
        if self.editing is not None:
            message_id, self.editing = self.editing, None
            self.start_turn(self.manager.edit(message_id, text), prompt=text, edits=message_id)
        else:
            turn = self.manager.reply(self.conversation_id, text, persona=self.persona)
            self.start_turn(turn, prompt=text)

    def start_turn(
        self, events: AsyncGenerator[TurnEvent, None], *, prompt: str = "", edits: str | None = None
    ) -> None:
        self.notice.hide()
        self.engine_asked.set()
        self.undoing = None
        turn = RunningTurn(
            events,
            self.conversation_id,
            prompt=prompt,
            edits=edits,
            known=frozenset(message.id for message in self.transcript.messages),
            on_start=self._adopt,
            on_text=lambda turn, text: self._ask_frame(turn),  # noqa: ARG005
            on_end=lambda turn, ended, failure: self.call_later(self._show_end, turn, ended, failure),
        )
        self.turns[turn.task.get_name() + str(id(turn))] = turn
        self.status.change(writing=True)

    def _adopt(self, turn: RunningTurn, event: ReplyStarted) -> None:
        reply = event.reply
        self.adopt_conversation(reply)
        if self.conversation_id == reply.conversation_id:
            self.call_later(self._show_start, turn, event)

    def adopt_conversation(self, reply: Message) -> None:
        """The first message made a conversation: it is the one on screen from now on."""
        from chatbot.store.records import Conversation

        if self.conversation is None:
            self.begin_conversation(
                Conversation(reply.conversation_id, "", self.persona, reply.created, reply.created, reply.id)
            )

    def begin_conversation(self, conversation: Conversation) -> None:
        """What stood at the empty conversation's prompt is its first message now, and a draft no longer."""
        self.queues[conversation.id] = self.queues.pop(None, [])
        self.conversation = conversation
        if self.manager is not None:
            manager = self.manager
            self.attempt(lambda: self.call(manager.save_draft, None, ""))

    async def _show_start(self, turn: RunningTurn, event: ReplyStarted) -> None:
        if turn.conversation_id != self.conversation_id or self.leaving:
            return  # the reader has moved on to another conversation
        context = event.context
        self.status.change(tokens=context.tokens, window=context.window, exact=context.exact, model=event.reply.model)
        known = {message.id for message in self.transcript.messages}
        if event.user is not None and event.user.id not in known and event.user.parent_id == self._tip_id:
            await self.transcript.add(event.user)
        elif event.reply.id not in known and event.reply.parent_id != self._tip_id:
            await self.reload_messages()  # a new branch began above: what stood below is off the screen
        view = await self.transcript.add(event.reply)
        view.grow(turn.text)
        view.wait(self.describe_wait())
        self.transcript.select(None)
        self.transcript.follow()
        self.show_state()
        self.attempt(self.refresh_conversations)
        if context.left_out:
            some = "oldest message no longer fits" if context.left_out == 1 else "oldest messages no longer fit"
            self.notice.show_note(f"{context.left_out} {some} the model’s window; the model does not see them.")

    @property
    def _tip_id(self) -> str | None:
        last = self.transcript.last
        return last.id if last else None

    def _ask_frame(self, turn: RunningTurn) -> None:
        if turn is self.turn and not self._frame_pending:
            self._frame_pending = True
            self.set_timer(FRAME, self._draw_frame)

    def _draw_frame(self) -> None:
        turn = self.turn
        view = self.transcript.find(turn.reply.id) if turn and turn.reply else None
        began = time.perf_counter()
        if turn is not None and view is not None:
            view.grow(turn.text)
        cost = time.perf_counter() - began
        self.show_below()
        if 3 * cost > FRAME:
            self.set_timer(3 * cost, self._draw_frame)
        else:
            self._frame_pending = False

    async def _show_end(self, turn: RunningTurn, ended: ReplyEnded | None, failure: ChatbotError | None) -> None:
        if self.leaving:
            return
        here = turn is self.turn or (turn.conversation_id is None and self.conversation is None)
        self.turns = {name: other for name, other in self.turns.items() if other is not turn}
        if here:
            self.status.change(writing=self.turn is not None)
            if ended is not None:
                self.trouble = ""
                self.engine_asked.set()
                self.transcript.replace(ended.reply)
                self.status.take_generation(ended.reply.generation)
            elif self.conversation is not None:
                await self.attempt_reload()
        if failure is not None:
            await self.show_failure(turn, failure, here)
        try:
            await self.refresh_conversations()
        except ChatbotError as error:
            self.fail(error, self.refresh_conversations)
        if here and ended is not None:
            await self._send_next()
            if self.turn is None and not self.notice.display:
                self.explain_alternatives(ended.reply)
        elif not here and ended is not None and turn.conversation_id:
            self.tell(f"Answered: {ended.title or 'another conversation'}")
        self.show_queue()

    async def attempt_reload(self) -> None:
        try:
            await self.reload_messages()
        except ChatbotError as error:
            self.fail(error, self.reload_messages)

    async def reload_messages(self) -> None:
        """The branch on screen as the database has it; what was read above stays."""
        if self.manager is None or self.conversation is None:
            return
        count = max(FIRST_PAGE, len(self.transcript.messages))
        messages = await self.call(self.manager.transcript, self.conversation.id, limit=count)
        self.has_all_messages = len(messages) < count
        await self.transcript.show(messages, follow=self.transcript.is_at_end)
        self.show_state()

    async def _send_next(self) -> None:
        if self.queue and self.turn is None:
            await self.send(self.queue.pop(0))
        self.show_queue()

    def show_queue(self) -> None:
        self.queue_view.show(self.queue, show_keys(self.keys["unqueue"]))
        self.save_draft_soon()

    def describe_wait(self) -> str:
        return {"loading": "The model is loading…", "starting": "The engine is starting…"}.get(
            self.status.status.engine, "…"
        )

    async def action_stop(self) -> None:
        if self.completions.display:
            self.completions.hide()
            self.prompt.completing = False
        elif self.turn is not None:
            self.turn.stop()
        elif self.editing is not None:
            self.editing = None
            self.notice.hide()
            self.prompt.clear_all()
        elif self.sidebar.has_filter_focus:
            self.sidebar.clear_filter()
            self.prompt.focus()
        elif self.transcript.selected is not None or not self.prompt.has_focus:
            self.unselect()
            self.prompt.focus()
        else:
            self.notice.hide()

    def unselect(self) -> None:
        """Gives the selected message up, and the hint that came with it."""
        if self.transcript.selected is not None:
            self.transcript.select(None)
            self.notice.hide()
            self.show_state()

    def interrupt(self) -> None:
        """Ctrl+C with nothing to copy: stops a reply, empties a prompt, else says how to leave."""
        if self.turn is not None:
            self.turn.stop()
        elif self.prompt.text:
            self.prompt.past.insert(0, self.prompt.full_text)
            self.prompt.clear_all()
        else:
            self.tell(f"{show_keys(self.keys['quit']) or '/quit'} leaves.")

    async def action_regenerate(self) -> None:
        message = self.transcript.selected or self.transcript.last
        if self.manager is None or message is None:
            return
        if self.turn is not None:
            self.tell("A reply is being written; Esc stops it.")
        elif message.role == "assistant":
            self.start_turn(self.manager.regenerate(message.id))
        else:
            self.tell("Select a reply to regenerate it.")

    async def action_continue_reply(self) -> None:
        message = self.transcript.last
        if self.manager is None or message is None or message.role != "assistant":
            self.tell("There is no reply to continue.")
        elif "corrects" in message.generation:
            self.tell("A person wrote this reply; correct it instead.")
        elif self.turn is not None:
            self.tell("A reply is being written; Esc stops it.")
        else:
            self.start_turn(self.manager.continue_reply(message.id))

    async def action_drop(self) -> None:
        message = self.transcript.selected or self.transcript.last
        if self.manager is None or message is None or message.role != "assistant" or self.turn is not None:
            self.tell("There is no reply to drop.")
            return
        await self.call(self.manager.drop, message.id)
        await self.reload_messages()

    async def action_unqueue(self) -> None:
        if self.queue:
            rest = self.prompt.full_text
            self.prompt.load("\n\n".join(filter(None, [self.queue.pop(), rest])))
            self.show_queue()

    # What the other parts of the screen provide.
    async def show_failure(self, turn: RunningTurn, failure: ChatbotError, here: bool) -> None:
        raise NotImplementedError

    def save_draft_soon(self) -> None:
        raise NotImplementedError

    def show_conversation(self) -> None:
        raise NotImplementedError

    def show_state(self) -> None:
        raise NotImplementedError

    def explain_alternatives(self, reply: Message) -> None:
        raise NotImplementedError

    def show_below(self) -> None:
        raise NotImplementedError

    async def refresh_conversations(self) -> None:
        raise NotImplementedError
