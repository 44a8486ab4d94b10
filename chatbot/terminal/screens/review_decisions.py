"""Deciding: approve, reject, rate, many at once, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.terminal.screens.review_base import ReviewBase

if TYPE_CHECKING:
    from chatbot.logs.reviewing import ReviewItem
    from chatbot.store.records import Rating
    from chatbot.terminal.screens.review_walk import ReviewWalk


class Decisions(ReviewBase):
    """What has to do with the worth of replies."""

    def action_approve(self) -> None:
        self.attempt_about_item(self._approve)

    async def _approve(self, walk: ReviewWalk, item: ReviewItem) -> None:
        if item.reply.decision == "approve":
            await self.show_item(await self.call(walk.step, 1))
            return
        await self.call(walk.reviewer.approve, item.reply.id)
        await self._go_on(walk, "approved")

    def action_reject(self) -> None:
        self.attempt_about_item(self._reject)

    async def _reject(self, walk: ReviewWalk, item: ReviewItem) -> None:
        if item.reply.decision == "reject":
            await self.show_item(await self.call(walk.step, 1))
            return
        await self.call(walk.reviewer.reject, item.reply.id)
        await self._go_on(walk, "rejected")

    async def _go_on(self, walk: ReviewWalk, done: str) -> None:
        """To the next reply, after the one in sight was decided about."""
        walk.note_steps()
        if walk.current is not None:
            walk.current.done = done
        await self.show_item(await self.call(walk.step, 1))
        await self.show_progress()

    def action_rate_up(self) -> None:
        self.attempt_about_item(lambda walk, item: self._rate(walk, item, 1))

    def action_rate_down(self) -> None:
        self.attempt_about_item(lambda walk, item: self._rate(walk, item, -1))

    async def _rate(self, walk: ReviewWalk, item: ReviewItem, rating: Rating) -> None:
        await self.call(walk.reviewer.rate, item.reply.id, rating)
        walk.note_steps()
        await self.show_item(await self.call(walk.open))

    def action_undo(self) -> None:
        self.attempt(self._undo)

    async def _undo(self) -> None:
        walk = self.walk
        if walk is None:
            return
        steps = walk.count_steps()
        if not steps:
            self.tell("There is nothing to take back.")
            return
        message_id, what = "", ""
        for _ in range(steps):  # one of them after the other, for a big one to leave room to others
            taken = await self.call(walk.reviewer.undo)
            message_id, what = taken or ("", "")
        if not message_id:
            await self.call(walk.begin_again)
            await self.show_item(await self.call(walk.open))
            self.tell("Taken back: the approvals by filter.")
        else:
            await self.show_item(await self.call(walk.go_to, message_id))
            self.tell(f"Taken back: {what}.")
        await self.show_progress()

    def action_approve_all(self) -> None:
        self.attempt(self._ask_for_all)

    async def _ask_for_all(self) -> None:
        from chatbot.terminal.screens.choose import Choose

        walk = self.walk
        if walk is None:
            return
        until = walk.reviewer.mark_now()
        count = await self.call(walk.store.review_queue.count, walk.asked)
        if not count:
            self.tell("Nothing waits that this filter means." if self.filter_line else "Nothing waits.")
            return
        replies = "1 reply" if count == 1 else f"{count:,} replies"
        which = f"Filter: {self.filter_line}" if self.filter_line else "There is no filter: that is all that waits."
        question = f"Approve {replies} at once, read or not? They train then. {which}"
        choices = [("", "No, leave them in the queue"), ("yes", f"Yes, approve {replies}")]
        if await self.app.push_screen_wait(Choose(question, choices)) == "yes":
            await self._approve_all(walk, count, until)

    async def _approve_all(self, walk: ReviewWalk, count: int, until: str) -> None:
        """Page by page, so that the screen lives and Esc can stop it; what was approved until then stays and is taken
        back as one step."""
        pages = walk.reviewer.decide_all(walk.asked, "approve", until=until)
        done = steps = 0
        self.working, self.stopping = True, False
        try:
            while not self.stopping and (added := await self.call(next, pages, 0)):
                done, steps = done + added, steps + 1
                self.notice.show_note(f"Approving… {done:,} of {count:,} · Esc stops")
        finally:
            self.working = False
            pages.close()  # type: ignore[attr-defined]
            if steps:
                walk.note_steps(steps)
            self.notice.hide()
        await self.call(walk.begin_again)
        await self.show_item(await self.call(walk.open))
        await self.show_progress()
        self.tell(f"Approved {done:,}. u takes that back.")
