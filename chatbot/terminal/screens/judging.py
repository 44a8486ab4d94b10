"""Judging what was said: ratings, tags, comments, corrections in place, the best of several alternatives.

Each judgement is one key and has a consequence, which a toast names. It is about the selected reply, or about the
newest one. What it keeps beside the judgement (what wrote the reply, and how) is the store's to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.terminal.actions import show_keys
from chatbot.terminal.screens.base import FIRST_PAGE
from chatbot.terminal.screens.messages import MessageActions
from chatbot.terminal.screens.remark import USUAL_TAGS, Remark, split_tags
from chatbot.terminal.widgets.correction import CorrectionEditor
from chatbot.text import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chatbot.logs.reviewing import Reviewer
    from chatbot.store.database import Store
    from chatbot.store.records import Conversation, Message, Rating
    from chatbot.store.reply_states import Judgement

_RATED = {
    1: "Rated up: once it is approved in /review, it is an example to learn from.",
    -1: "Rated down: it comes first in /review.",
    0: "The rating is taken back.",
}
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


class JudgingActions(MessageActions):
    """What has to do with the worth of replies."""

    _reviewer: Reviewer | None = None

    @property
    def reviewer(self) -> Reviewer:
        """Who judges here. Only once the database is open."""
        from chatbot.logs.reviewing import Reviewer

        assert self.manager is not None
        if self._reviewer is None:
            review = self.settings.review
            self._reviewer = Reviewer(self.manager.store, author=review.signature, wanted=review.wanted)
        return self._reviewer

    def find_judged(self) -> Message | None:
        """The reply that a judgement is about; says why if there is none."""
        reply = self.transcript.selected or self.newest("assistant")
        if self.manager is None or reply is None:
            self.tell("There is no reply to judge.")
        elif reply.role != "assistant":
            self.tell("This is your own message; select a reply to judge it.")
        elif self.turn is not None and self.turn.reply is not None and self.turn.reply.id == reply.id:
            self.tell("This reply is still being written; Esc stops it.")
        else:
            return reply
        return None

    # --- ratings, tags, comments ------------------------------------------------------------------------------------

    async def action_rate_up(self, argument: str = "") -> None:
        await self._rate(1, argument)

    async def action_rate_down(self, argument: str = "") -> None:
        await self._rate(-1, argument)

    async def _rate(self, rating: Rating, comment: str) -> None:
        """The same rating again takes it back, unless a comment comes with it."""
        reply = self.find_judged()
        if reply is None:
            return
        if rating > 0 and reply.rating > 0 and "corrects" in reply.generation and not comment:
            self.tell("A correction is rated up already, by whoever wrote it.")
            return
        reviewer = self.reviewer

        def judge() -> int:
            stays = bool(comment) and self._read(reply.id)[1].rating == rating
            if not stays:
                reviewer.rate(reply.id, rating)
            if comment:
                reviewer.comment(reply.id, comment)
            return int(not stays) + bool(comment)

        said = await self._judge(reply, judge)
        self.tell(_RATED[said.rating])

    async def action_tag(self, argument: str = "") -> None:
        """Sets the tags at once, or opens the form for tags and a comment."""
        reply = self.find_judged()
        if reply is None:
            return
        _, before = await self.call(self._read, reply.id)
        tags: Sequence[str] = split_tags(argument)
        comment = before.comment
        if not argument:
            answer = await self.app.push_screen_wait(Remark(before.tags, before.comment, self._known_tags()))
            if answer is None:
                return
            tags, comment = answer
        reviewer = self.reviewer

        def judge() -> int:
            tagged, commented = tuple(tags) != before.tags, comment != before.comment
            if tagged:
                reviewer.tag(reply.id, tags)
            if commented:
                reviewer.comment(reply.id, comment)
            return tagged + commented

        await self._judge(reply, judge)
        self.tell("Kept what you said of this reply." if tags or comment else "Nothing is said of this reply any more.")

    def _known_tags(self) -> list[str]:
        """Those of the replies at hand, then the usual ones."""
        own = [tag for judgement in self.transcript.judgements.values() for tag in judgement.tags]
        return list(dict.fromkeys([*own, *USUAL_TAGS]))[:12]

    async def _judge(self, reply: Message, judge: Callable[[], int]) -> Message:
        """Runs `judge`, which returns how many words of the reviewer's it took, shows them, and can take them back."""
        steps = await self.call(judge)
        reviewer = self.reviewer

        async def take_back() -> None:
            for _ in range(steps):
                await self.call(reviewer.undo)
            await self._show_judged(reply.id)
            self.tell("Taken back.")

        if steps:
            self.undoing = take_back
        return await self._show_judged(reply.id)

    async def _show_judged(self, message_id: str) -> Message:
        said, judgement = await self.call(self._read, message_id)
        self.transcript.replace(said)
        self.transcript.judge({message_id: judgement})
        return said

    def _read(self, message_id: str) -> tuple[Message, Judgement]:
        store = self._store
        return store.messages.get(message_id), store.judgements.get(message_id)

    @property
    def _store(self) -> Store:
        assert self.manager is not None
        return self.manager.store

    async def show_judgements(self, messages: Sequence[Message]) -> None:
        """Puts tags and comments under `messages`, of which some are replies."""
        replies = [one.id for one in messages if one.role == "assistant"]
        if replies and self.manager is not None:
            judgements = self._store.judgements
            self.transcript.judge(await self.call(lambda: {one: judgements.get(one) for one in replies}))

    async def reload_messages(self) -> None:
        await super().reload_messages()
        await self.show_judgements(self.transcript.messages[-FIRST_PAGE:])

    # --- alternatives -----------------------------------------------------------------------------------------------

    async def action_best(self) -> None:
        """Prefers a reply to the other ones at its place."""
        reply = self.find_judged()
        if reply is None:
            return
        if reply.siblings < 2:
            self.tell("This reply has no alternatives; regenerate makes one.")
            return
        store, author = self._store, self.settings.review.signature

        def prefer() -> int:
            others = [
                other.id
                for other in store.logs.tree(reply.conversation_id)
                if (other.parent_id, other.role) == (reply.parent_id, "assistant")
                and other.id != reply.id
                and other.content
                and other.status != "streaming"
            ]
            store.judgements.prefer(reply.id, others, author=author)
            return len(others)

        count = await self.call(prefer)
        if count:
            others = "the other one" if count == 1 else f"the {count} others"
            self.tell(f"Preferred to {others}: a pair for the next preference training.")
        else:
            self.tell("The alternatives say nothing that this one could be better than.")

    async def step_sibling(self, step: int) -> None:
        before = self.transcript.messages
        await super().step_sibling(step)
        stepped = next((one for one in self.transcript.messages if one.id == self._stepped), None)
        if stepped is not None and stepped.role == "assistant" and self.transcript.messages != before:
            self.explain_alternatives(stepped)

    def explain_alternatives(self, reply: Message) -> None:
        """How a preference comes about, under a reply that has alternatives."""
        if reply.siblings > 1:
            key = "b" if self.transcript.selected else show_keys(self.keys["best"].split(",")[0]) or "/best"
            self.notice.show_note(f"{key} says that this one is the best; going on from it says so too.")

    # --- corrections ------------------------------------------------------------------------------------------------

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
        original, author, store = editor.message, self.settings.review.signature, self._store

        def correct() -> tuple[Message, str]:
            before = store.messages.get(original.id).decision
            return store.judgements.correct(original.id, storable(text), author=author), before

        correction, decision = await self.call(correct)
        await self.close_correction()

        def drop() -> None:
            store.tree.drop(correction.id)
            store.judgements.decide([original.id], decision or "withdraw", author=author)  # type: ignore[arg-type]
            shown = store.messages.transcript(original.conversation_id, limit=1)
            if shown and shown[0].parent_id == original.parent_id:
                put_on_screen(store, original.id, in_place_of=shown[0].id)

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


def put_on_screen(store: Store, message_id: str, *, in_place_of: str) -> Conversation:
    """The alternative `message_id` where `in_place_of` stands now."""
    step = store.messages.get(message_id).sibling - store.messages.get(in_place_of).sibling
    return store.tree.choose_sibling(in_place_of, step)
