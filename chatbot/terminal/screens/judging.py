"""Judging what was said: ratings, tags, comments, the best of several alternatives.

Each judgement is one key and has a consequence, which a toast names. It is about the selected reply, or about the
newest one. What it keeps beside the judgement (what wrote the reply, and how) is the store's to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatbot.terminal.actions import show_keys
from chatbot.terminal.screens.base import FIRST_PAGE
from chatbot.terminal.screens.messages import MessageActions
from chatbot.terminal.screens.remark import USUAL_TAGS, Remark, split_tags

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
        self.tell(f"{_RATED[said.rating]} {self._undo_key()} undoes that.")

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
        kept = "Kept what you said of this reply." if tags or comment else "Nothing is said of this reply any more."
        self.tell(f"{kept} {self._undo_key()} undoes that." if self.undoing else kept)

    def _undo_key(self) -> str:
        return show_keys(self.keys["undo"]) or "/undo"

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
        store = self.store
        return store.messages.get(message_id), store.judgements.get(message_id)

    @property
    def store(self) -> Store:
        assert self.manager is not None
        return self.manager.store

    async def show_judgements(self, messages: Sequence[Message]) -> None:
        """Puts tags and comments under `messages`, of which some are replies."""
        replies = [one.id for one in messages if one.role == "assistant"]
        if replies and self.manager is not None:
            judgements = self.store.judgements
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
        store, author = self.store, self.settings.review.signature

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


def put_on_screen(store: Store, message_id: str, *, in_place_of: str) -> Conversation:
    """The alternative `message_id` where `in_place_of` stands now."""
    step = store.messages.get(message_id).sibling - store.messages.get(in_place_of).sibling
    return store.tree.choose_sibling(in_place_of, step)
