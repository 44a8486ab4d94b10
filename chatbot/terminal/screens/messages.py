"""Pointing at messages: selecting, copying, editing, deleting, stepping among alternatives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.terminal.actions import show_keys
from chatbot.terminal.screens.failures import FailureActions
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.store.records import Message
    from chatbot.terminal.widgets.message import MessageView

_HINTS = {
    "assistant": "+− rate · t tag · w correct · b best · ←→ step · r again · c copy · Esc",
    "user": "e edit · c copy · k code · ←→ alternatives · d delete · Esc back",
}


class MessageActions(FailureActions):
    """What has to do with messages that are there. Without a selection, the newest one that fits is meant."""

    _stepped: str | None = None

    def newest(self, role: str) -> Message | None:
        """The selected message, else the newest of `role`."""
        chosen = self.transcript.selected
        return chosen or next((one for one in reversed(self.transcript.messages) if one.role == role), None)

    async def action_select_previous(self) -> None:
        self._select(-1)

    async def action_select_next(self) -> None:
        self._select(+1)

    def _select(self, step: int) -> None:
        message = self.transcript.select_step(step)
        if message is None:
            self.prompt.focus()
            self.notice.hide()
            self.transcript.follow()
        else:
            self.transcript.focus(scroll_visible=False)
            self.show_hint(message)

    async def select_view(self, view: MessageView) -> None:
        """A click selects, a second click on the same message gives it up."""
        if self.transcript.selected is view.message:
            self.unselect()
        else:
            self.transcript.select(view.message.id)
            self.show_hint(view.message)

    def show_hint(self, message: Message) -> None:
        """The letters that mean something while `message` is selected."""
        self.notice.show_note(_HINTS.get(message.role, ""))

    async def action_copy_reply(self) -> None:
        message = self.newest("assistant")
        if message is None:
            self.tell("There is nothing to copy.")
            return
        self.app.copy_to_clipboard(self._content_of(message))
        self.tell(f"Copied the {'reply' if message.role == 'assistant' else 'message'}.")

    async def action_copy_code(self, argument: str = "") -> None:
        """Copies the last code block of the message, or the one of that number."""
        from chatbot.terminal.markdown import find_code_blocks

        message = self.newest("assistant")
        blocks = find_code_blocks(self._content_of(message)) if message else []
        number = int(argument) if argument.isdecimal() else len(blocks)
        if not 1 <= number <= len(blocks):
            self.tell("There is no such code block." if blocks else "There is no code block in this message.")
            return
        self.app.copy_to_clipboard(blocks[number - 1])
        which = f" {number} of {len(blocks)}" if len(blocks) > 1 else ""
        self.tell(f"Copied code block{which}.")

    def _content_of(self, message: Message) -> str:
        turn = self.turn
        return (
            turn.text
            if turn is not None and turn.reply is not None and turn.reply.id == message.id
            else message.content
        )

    async def action_edit_message(self) -> None:
        message = self.newest("user")
        if message is not None and message.role != "user":  # from a reply, what it answered is meant
            message = next((one for one in self.transcript.messages if one.id == message.parent_id), None)
        if message is None:
            self.tell("There is nothing of yours to edit.")
        elif self.turn is not None:
            self.tell("A reply is being written; Esc stops it.")
        else:
            self.editing = message.id
            self.transcript.select(None)
            self.prompt.load(message.content)
            self.prompt.focus()
            self.notice.show_note("Editing: Enter sends it as a new branch, Esc leaves it as it was.")

    async def action_previous_sibling(self) -> None:
        await self.step_sibling(-1)

    async def action_next_sibling(self) -> None:
        await self.step_sibling(+1)

    async def step_sibling(self, step: int) -> None:
        """Shows the alternative before or after; without a selection, of the message that was stepped last, so
        that the way back works, else of the newest that has any."""
        messages = self.transcript.messages
        several = [one for one in messages if one.siblings > 1]
        stepped = next((one for one in several if one.id == self._stepped), several[-1] if several else None)
        message = self.transcript.selected or stepped
        if self.manager is None or message is None or message.siblings < 2:
            self.tell("There is no alternative here; regenerate makes one.")
            return
        if self.turn is not None:
            self.tell("A reply is being written; Esc stops it.")
            return
        if not 1 <= message.sibling + step <= message.siblings:
            self.tell(f"This is the {'last' if step > 0 else 'first'} of {message.siblings} alternatives.")
            return
        selected = self.transcript.selected is not None
        place = messages.index(message)
        self.conversation = await self.call(self.manager.choose_sibling, message.id, step)
        await self.reload_messages()
        if place < len(self.transcript.messages):
            self._stepped = self.transcript.messages[place].id
            if selected:
                self.transcript.select(self._stepped)

    async def action_delete_turn(self) -> None:
        """Deletes a message of the user with its reply, or a reply with the message it answers."""
        message = self.transcript.selected or self.transcript.last
        manager = self.manager
        if manager is None or message is None or self.turn is not None:
            self.tell("A reply is being written; Esc stops it." if self.turn else "There is nothing to delete.")
            return
        hidden = await self.call(manager.delete_turn, message.id)

        async def restore() -> None:
            await self.call(manager.restore_turn, hidden)
            await self.reload_messages()

        self.undoing = restore
        self.transcript.select(None)
        self.notice.hide()
        self.prompt.focus()
        await self.reload_messages()
        self.tell(f"Deleted this turn; {show_keys(self.keys['undo']) or '/undo'} takes that back.")

    async def action_undo(self) -> None:
        undo, self.undoing = self.undoing, None
        if undo is None:
            self.tell("There is nothing to take back.")
        else:
            await undo()

    async def action_scroll_back(self) -> None:
        self.transcript.scroll_page_up(animate=False)

    async def action_scroll_forward(self) -> None:
        self.transcript.scroll_page_down(animate=False)

    async def action_to_top(self) -> None:
        self.transcript.scroll_home(animate=False)

    async def action_to_end(self) -> None:
        self.unselect()
        await self.transcript.follow_from_anywhere()
        self.prompt.focus()

    async def action_open_link(self, address: str) -> None:
        """A click on a link shows where it leads before anything is opened."""
        from chatbot.terminal.screens.choose import Choose

        choices = [("open", "Open in the browser"), ("copy", "Copy the address"), ("no", "Leave it")]
        choice = await self.app.push_screen_wait(Choose(printable_line(address, 500), choices))
        if choice == "open":
            self.app.open_url(address)
        elif choice == "copy":
            self.app.copy_to_clipboard(address)
