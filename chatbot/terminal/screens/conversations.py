"""Keeping conversations: opening, the list on the left, renaming, pinning, archiving, deleting, drafts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.errors import ChatbotError
from chatbot.terminal.actions import show_keys
from chatbot.terminal.screens.base import FIRST_PAGE
from chatbot.terminal.screens.dueling import DuelActions
from chatbot.terminal.widgets.sidebar import Sidebar
from chatbot.text import printable_line

if TYPE_CHECKING:
    from textual.timer import Timer

    from chatbot.store.records import Conversation

DRAFT_DELAY = 0.4  # seconds after the last key
DRAFT_RETRY = 5.0  # seconds after a write that failed


class ConversationActions(DuelActions):
    """What has to do with whole conversations. With the list in focus, its highlighted one is meant."""

    _draft_timer: Timer | None = None
    _saved_draft = ""
    _draft_failed = False

    async def open_conversation(self, conversation_id: str | None, *, first: bool = False) -> None:
        """Shows a conversation, or an empty one. A reply that is being written elsewhere goes on.

        With `first`, what was typed and queued before the database was open belongs to this conversation.
        """
        manager = self.manager
        if manager is None or self.is_held_up("open_conversation"):
            return
        if not first:
            await self.save_draft()
        conversation, messages = None, []
        if conversation_id is not None:
            conversation = await self.call(manager.find_conversation, conversation_id)
            messages = await self.call(manager.transcript, conversation.id, limit=FIRST_PAGE)
        draft = await self.call(manager.draft, conversation_id)
        if first:
            self.queues[conversation_id] = self.queues.pop(None, [])
        self.conversation = conversation
        self.persona = conversation.persona if conversation else self.settings.persona
        self.editing = self.undoing = self.retrying = None
        self.has_all_messages = len(messages) < FIRST_PAGE
        self.notice.hide()
        self.transcript.select(None)
        self.transcript.judgements.clear()
        await self.transcript.show(messages)
        if self.turn is not None and self.turn.reply is not None and (view := self.transcript.find(self.turn.reply.id)):
            view.grow(self.turn.text)
        self._saved_draft = draft
        if not first:
            waiting = "\n\n".join(self.queue)
            self.prompt.load(draft.removeprefix(waiting).lstrip("\n") if waiting else draft)
        elif draft:
            self.prompt.load("\n\n".join(filter(None, [draft, self.prompt.full_text])))
        self.status.change(writing=self.turn is not None, tokens=0, speed=0.0, first_token=0.0, persona=self.persona)
        if last := next((one for one in reversed(messages) if one.role == "assistant" and one.generation), None):
            self.status.take_generation(last.generation)
        self.show_conversation()
        self.show_state()
        self.show_queue()
        self.prompt.focus()
        self.sidebar.show(self.sidebar.conversations, conversation_id)
        await self.show_judgements(messages)

    def open_in_turn(self, conversation_id: str) -> None:
        """`open_conversation` for those who cannot wait for it, with its failures shown."""
        self.attempt(lambda: self.open_conversation(conversation_id))

    async def load_older(self) -> None:
        """The messages above those that were read, for a reader who scrolls up."""
        messages = self.transcript.messages
        if self.has_all_messages or self.manager is None or self.conversation is None or not messages:
            return
        self.has_all_messages = True  # until these are here, none are asked for
        older = await self.call(self.manager.transcript, self.conversation.id, before=messages[0].id, limit=FIRST_PAGE)
        if self.transcript.messages[:1] == messages[:1]:
            self.has_all_messages = len(older) < FIRST_PAGE
            await self.transcript.extend_up(older)
            await self.show_judgements(older)

    async def refresh_conversations(self) -> None:
        """The list on the left as the database has it."""
        if self.manager is None:
            return
        sidebar = self.sidebar
        found = await self.call(
            self.manager.conversations, text=sidebar.text, archived=sidebar.archived, limit=sidebar.limit
        )
        if found == sidebar.conversations and sidebar.current == self.conversation_id:
            return
        sidebar.show(found, self.conversation_id)
        for conversation in found:
            if conversation.id == self.conversation_id:
                self.conversation = conversation
                self.show_conversation()

    def meant(self) -> Conversation | None:
        """The conversation that an action is about."""
        if self.sidebar.list.has_focus and (highlighted := self.sidebar.highlighted):
            return highlighted
        return self.conversation

    async def action_new_conversation(self) -> None:
        await self.open_conversation(None)

    async def action_toggle_sidebar(self) -> None:
        shown = not self.sidebar.display
        self.set_class(shown, "-sidebar")
        self.set_class(not shown, "-no-sidebar")
        (self.sidebar.list if shown else self.prompt).focus()

    async def action_find_conversation(self, argument: str = "") -> None:
        from textual.widgets import Input

        if not self.sidebar.display:
            await self.action_toggle_sidebar()
        field = self.sidebar.query_one(Input)
        field.value = argument
        field.focus()

    async def action_rename(self, argument: str = "") -> None:
        conversation = self.meant()
        if self.manager is None or conversation is None:
            self.tell("This conversation begins with its first message; it can be renamed then.")
            return
        if not argument:
            from chatbot.terminal.screens.choose import AskText

            answer = await self.app.push_screen_wait(AskText("Rename the conversation", conversation.title))
            if not answer:
                return
            argument = answer
        await self.call(self.manager.rename, conversation.id, argument)
        await self.refresh_conversations()

    async def action_pin(self) -> None:
        if self.manager is not None and (conversation := self.meant()):
            await self.call(self.manager.pin, conversation.id, not conversation.pinned)
            await self.refresh_conversations()

    async def action_archive(self) -> None:
        if self.manager is not None and (conversation := self.meant()):
            await self.call(self.manager.archive, conversation.id, not conversation.archived)
            title = printable_line(conversation.title, 40)
            self.tell(f"{'Back from the archive' if conversation.archived else 'Archived'}: {title}")
            await self.refresh_conversations()

    async def action_toggle_archived(self) -> None:
        self.sidebar.archived = not self.sidebar.archived
        if not self.sidebar.display:
            await self.action_toggle_sidebar()
        await self.refresh_conversations()

    async def action_delete_conversation(self) -> None:
        conversation, manager = self.meant(), self.manager
        if manager is None or conversation is None:
            self.tell("There is no conversation to delete.")
            return
        for turn in self.turns.values():
            if turn.conversation_id == conversation.id:
                turn.stop()
        await self.call(manager.delete, conversation.id)

        async def restore() -> None:
            await self.call(manager.undelete, conversation.id)
            await self.refresh_conversations()
            await self.open_conversation(conversation.id)

        if conversation.id == self.conversation_id:
            await self.open_conversation(None)
        self.undoing = restore
        await self.refresh_conversations()
        undo = show_keys(self.keys["undo"]) or "/undo"
        self.tell(f"Deleted: {printable_line(conversation.title, 40)}. {undo} takes that back.")

    async def on_sidebar_filtered(self, event: Sidebar.Filtered) -> None:
        event.stop()
        try:
            await self.refresh_conversations()
        except ChatbotError as error:
            self.fail(error, self.refresh_conversations)

    async def on_sidebar_chosen(self, event: Sidebar.Chosen) -> None:
        event.stop()
        self.open_in_turn(event.conversation_id)

    def save_draft_soon(self) -> None:
        if self._draft_timer is not None:
            self._draft_timer.stop()
        self._draft_timer = self.set_timer(DRAFT_DELAY, self._save_draft_now)

    def _save_draft_now(self) -> None:
        self.attempt(self._try_to_save_draft)

    async def _try_to_save_draft(self) -> None:
        """Again and again, until there is space; said once, and nothing else that can be tried again is forgotten."""
        try:
            await self.save_draft()
        except ChatbotError as error:
            if not self._draft_failed:
                self.tell(f"What you write cannot be kept yet. {error.message}", severity="warning")
            self._draft_failed = True
            self._draft_timer = self.set_timer(DRAFT_RETRY, self._save_draft_now)
        else:
            self._draft_failed = False

    async def save_draft(self) -> None:
        """Keeps what is written and what is queued, as one draft of the open conversation."""
        if self.manager is None or self.editing is not None:
            return
        draft = "\n\n".join(filter(None, [*self.queue, self.prompt.full_text]))
        if draft != self._saved_draft:
            place = self.conversation_id
            await self.call(self.manager.save_draft, place, draft)
            if place == self.conversation_id:
                self._saved_draft = draft
