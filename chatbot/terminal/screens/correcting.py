"""Correcting a reply where it stands: the correction becomes the preferred answer, the original the rejected one.

While it is open, the prompt and its draft wait, and so does whatever would take the reply from under the editor. A
correction waits for a review like any other reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.terminal.actions import show_keys
from chatbot.terminal.screens.judging import JudgingActions
from chatbot.terminal.widgets.correction import CorrectionEditor
from chatbot.text import storable

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatbot.store.records import Message

_WHILE_CORRECTING = frozenset(
    {
        "stop",
        "keep_correction",
        "open_editor",
        "retry",
        "show_help",
        "show_palette",
        "choose_theme",
        "toggle_sidebar",
        "quit",
    }
)


class CorrectionActions(JudgingActions):
    """What has to do with corrections."""

    @property
    def correction(self) -> CorrectionEditor | None:
        """The reply that is open for correction."""
        return next(iter(self.transcript.query(CorrectionEditor)), None)

    def is_held_up(self, action: str) -> bool:
        """Whether `action` must wait until the correction that is open was kept or left; says so."""
        editor = self.correction
        if editor is None or action in _WHILE_CORRECTING:
            return False
        keep = show_keys(self.keys["keep_correction"].split(",")[0])
        self.tell(f"First the correction: {keep} keeps it, Esc leaves it.")
        return True

    async def action_correct(self) -> None:
        reply = self.find_judged()
        if reply is None or self.prompt.disabled:  # as it is while one is open
            return
        if self.turn is not None:
            self.tell("A reply is being written; Esc stops it.")
            return
        if self.transcript.find(reply.id) is None:
            await self.transcript.follow_from_anywhere()
        view = self.transcript.find(reply.id)
        if view is None:
            return
        editor = CorrectionEditor(reply, self.keys)
        self.prompt.disabled = True  # the draft waits
        self.transcript.release_anchor()
        with self.app.batch_update():
            view.display = False
            await self.transcript.mount(editor, after=view)
        editor.focus(scroll_visible=False)
        self.call_after_refresh(editor.scroll_visible, animate=False, top=True)
        keep = show_keys(self.keys["keep_correction"].split(",")[0])
        self.notice.show_note(f"Write it as it should have been: {keep} keeps it, Esc leaves it as it was.")

    async def action_keep_correction(self) -> None:
        if editor := self.correction:
            editor.keep()
        else:
            self.tell("No reply is open for correction.")

    def on_correction_editor_kept(self, event: CorrectionEditor.Kept) -> None:
        event.stop()
        self.attempt(lambda: self._keep_correction(event.text))

    async def _keep_correction(self, text: str) -> None:
        editor = self.correction
        if editor is None:
            return
        if not editor.is_changed:
            await self.close_correction()
            self.tell("Nothing was changed.")
            return
        original, author, store = editor.message, self.settings.review.signature, self.store

        def correct() -> tuple[Message, Callable[[], None]]:
            before = store.messages.get(original.id).decision
            made = store.judgements.correct(original.id, storable(text), author=author)
            return made, lambda: store.judgements.take_back_correction(made.id, before, author=author)

        correction, drop = await self.call(correct)
        await self.close_correction()

        async def take_back() -> None:
            await self.call(drop)
            await self.reload_messages()
            self.tell("The correction is taken back.")

        self.undoing = take_back
        selected = self.transcript.selected is not None
        await self.reload_messages()
        on_screen = any(one.id == correction.id for one in self.transcript.messages)
        if on_screen:
            self._look_at(correction.id)
        if selected and on_screen:
            self.transcript.select(correction.id)
        place = f"‹{correction.sibling}/{correction.siblings}›"
        where = "" if on_screen else f" The conversation goes on from the original; your text is {place}."
        self.tell(f"Corrected: preferred to the original, which is rejected; it waits in /review.{where}")

    async def leave_correction(self) -> bool:
        """At once if nothing was changed, else at the second time. False if it is still open."""
        editor = self.correction
        if editor is not None and editor.is_changed and editor.asked != editor.text:
            editor.asked = editor.text
            keep = show_keys(self.keys["keep_correction"].split(",")[0])
            self.notice.show_note(f"Once more forgets what you changed; {keep} keeps it.")
            return False
        await self.close_correction()
        return True

    async def close_correction(self) -> None:
        """The transcript and the prompt as they were before."""
        editor = self.correction
        if editor is None:
            return
        with self.app.batch_update():
            await editor.remove()
            if view := self.transcript.find(editor.message.id):
                view.display = True
        self._look_at(editor.message.id)
        self.prompt.disabled = False
        self.notice.hide()
        if (selected := self.transcript.selected) is not None:
            self.transcript.focus(scroll_visible=False)
            self.show_hint(selected)
        else:
            self.prompt.focus()

    def _look_at(self, message_id: str) -> None:
        """Scrolls so far that all of a message is seen; of the last one, that the next is followed."""
        if (last := self.transcript.last) and last.id == message_id:
            self.transcript.follow()
        elif view := self.transcript.find(message_id):
            self.call_after_refresh(view.scroll_visible, animate=False)

    def interrupt(self) -> None:
        if self.correction is None:  # which has its own use for the key, and the draft is to stay
            super().interrupt()

    async def action_stop(self) -> None:
        if self.correction is not None:
            await self.leave_correction()
        else:
            await super().action_stop()
