"""Writing: a correction in the reply's place, and a line of tags, a comment or a filter below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatbot.errors import ChatbotError
from chatbot.terminal.actions import show_keys
from chatbot.terminal.screens.remark import USUAL_TAGS, TagSuggester, join_tags, split_tags
from chatbot.terminal.screens.review_decisions import Decisions
from chatbot.terminal.screens.review_filter import EXAMPLE, NAMES, read_filter
from chatbot.terminal.widgets.correction import CorrectionEditor
from chatbot.terminal.widgets.review_form import ReviewForm
from chatbot.text import printable_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.suggester import Suggester

    from chatbot.logs.reviewing import ReviewItem
    from chatbot.terminal.screens.review_walk import ReviewWalk

_LEAVE = ("Esc", "leave")
_MOST_TAGS = 12


class Writing(Decisions):
    """What has to do with text. A key that opens a form says so at once: what is typed next is no decision."""

    @property
    def editor(self) -> CorrectionEditor | None:
        """The correction that is open."""
        return next(iter(self.transcript.query(CorrectionEditor)), None)

    # --- a correction -----------------------------------------------------------------------------------------------

    def action_correct(self) -> None:
        if self.item is not None:
            self.form = "correction"
            self.call_later(self._open_editor, self.item)

    async def _open_editor(self, item: ReviewItem) -> None:
        view = self.transcript.find(item.reply.id)
        if view is None or self.form != "correction":
            self.close_form()
            return
        editor = CorrectionEditor(item.reply, self.app.keys)
        if draft := self.drafts.pop(item.reply.id, ""):
            editor.load_text(draft)
        with self.app.batch_update():
            view.display = False
            await self.transcript.mount(editor, after=view)
        self.set_focus(editor, scroll_visible=False)
        self.call_after_refresh(editor.scroll_visible, animate=False, top=True)
        keep = show_keys(self.app.keys["keep_correction"].split(",")[0])
        self.hints.show([(keep, "keep: it trains in place of the reply, which is rejected"), _LEAVE])

    def on_correction_editor_kept(self, event: CorrectionEditor.Kept) -> None:
        event.stop()
        editor, text = self.editor, event.text
        if editor is None:
            return
        if not editor.is_changed:
            self.tell("Nothing was changed yet.")
            return
        self.attempt_about_item(lambda walk, item: self._correct(walk, item, text))

    async def _correct(self, walk: ReviewWalk, item: ReviewItem, text: str) -> None:
        await self.call(walk.reviewer.correct, item.reply.id, text)
        await self._close_editor()
        self.close_form()
        await self._go_on(walk, "corrected")
        self.tell("Your text trains in its place.")

    async def _close_editor(self) -> None:
        editor = self.editor
        if editor is None:
            return
        with self.app.batch_update():
            await editor.remove()
            if view := self.transcript.find(editor.message.id):
                view.display = True

    # --- a line -----------------------------------------------------------------------------------------------------

    def action_tag(self) -> None:
        if self.item is not None and self.walk is not None:
            known = list(dict.fromkeys([*self.walk.tags, *USUAL_TAGS]))[:_MOST_TAGS]
            value = join_tags(self.item.judgement.tags)
            self._open("tags", "Tags, with commas between them", value, "wrong, too long", known, TagSuggester(known))

    def action_comment(self) -> None:
        if self.item is not None:
            self._open("comment", "Comment", self.item.judgement.comment, "What is the matter with it?")

    def action_choose_filter(self) -> None:
        if self.walk is not None:
            known = [", ".join(NAMES), "other words are searched for", "nothing: all that waits"]
            self._open("filter", "Which replies?", self.filter_line, EXAMPLE, known)

    def _open(
        self,
        form: str,
        label: str,
        value: str,
        example: str,
        known: Sequence[str] = (),
        suggester: Suggester | None = None,
    ) -> None:
        self.form = form
        self._shown = printable_line(value)
        self.line.open(label, value, example=example, known=known, suggester=suggester)
        self.set_focus(self.line.input)
        self.hints.show([("Enter", "keep"), _LEAVE])

    def on_review_form_submitted(self, event: ReviewForm.Submitted) -> None:
        event.stop()
        text, form = event.text.strip(), self.form
        if form == "filter":
            try:
                asked = read_filter(text)
            except ChatbotError as error:
                self.line.tell(str(error), wrong=True)
                return
            self.close_form()
            self.attempt(lambda: self.filter(text, asked))
            return
        self.close_form()
        if event.text == self._shown:
            return  # as it was, also if it held what cannot be shown
        if form == "tags":
            self.attempt_about_item(lambda walk, item: self._tag(walk, item, text))
        elif form == "comment":
            self.attempt_about_item(lambda walk, item: self._comment(walk, item, text))

    async def _tag(self, walk: ReviewWalk, item: ReviewItem, text: str) -> None:
        await self.call(walk.reviewer.tag, item.reply.id, split_tags(text))
        walk.note_steps()
        await self.show_item(await self.call(walk.open))

    async def _comment(self, walk: ReviewWalk, item: ReviewItem, text: str) -> None:
        await self.call(walk.reviewer.comment, item.reply.id, text)
        walk.note_steps()
        await self.show_item(await self.call(walk.open))

    async def filter(self, line: str, asked: dict[str, Any]) -> None:
        """Goes through the replies that `asked` means, from the worst on."""
        if self.walk is None:
            return
        await self.call(self.walk.choose, asked)
        self.filter_line = line
        self.progress.show_filter(line)
        await self.show_item(await self.call_with_word("Looking for what the filter means…", self.walk.open))

    # --- leaving what is open ---------------------------------------------------------------------------------------

    async def leave_form(self) -> None:
        """A correction that was begun is there again when it is opened again."""
        editor = self.editor
        if self.form == "correction" and editor is not None:
            if editor.is_changed:
                self.drafts[editor.message.id] = editor.text
                self.tell("The reply is as it was; e brings back what you wrote.")
            await self._close_editor()
        self.close_form()

    def close_form(self) -> None:
        self.form = ""
        self.line.close()
        self.set_focus(self.transcript)
        self.show_hints()
