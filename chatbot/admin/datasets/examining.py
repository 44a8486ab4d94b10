"""Questions of the evaluation suites, which nothing that is trained on may ask.

A suite measures what a model knows. One that has learnt its questions by heart gets a better figure for it and is no
better, so a reply to such a question carries no loss; it stays as context where the conversation goes on.
"""

from __future__ import annotations

from collections.abc import Iterable

from chatbot.admin.datasets.deduplication import SAME_PROMPT
from chatbot.admin.datasets.drafts import Draft
from chatbot.admin.datasets.similarity import Likeness

EXAMINED = "asks what an evaluation suite asks"
_LONGER = 2  # a prompt that is so many times longer than the longest of the suites is like none


class Examination:
    """The prompts of the suites."""

    def __init__(self, prompts: Iterable[str]) -> None:
        asked = list(prompts)
        self._likeness = Likeness(asked, SAME_PROMPT)
        self._longest = _LONGER * max(map(len, asked), default=0)

    def spare(self, draft: Draft) -> tuple[Draft | None, int]:
        """The draft without loss on replies to what the suites ask, None if nothing is left of it; and how many replies
        were spared."""
        if draft.kind != "sft":
            asks = self._asks(draft, len(draft.turns))
            return (None, 1) if asks else (draft, 0)
        found = [place for place in draft.learnt if self._asks(draft, place)]
        if not found:
            return draft, 0
        left = draft.unlearn(found)
        return left if left.learnt else None, len(found)

    def _asks(self, draft: Draft, place: int) -> bool:
        """Whether the turn before `place`, or all that was said until then, is like a prompt of the suites."""
        said = [turn.content for turn in draft.turns[:place] if turn.role != "system"]
        texts = {*said[-1:], "\n".join(said)} if sum(map(len, said)) <= self._longest else set(said[-1:])
        return any(len(text) <= self._longest and self._likeness.covers(text) for text in texts)
