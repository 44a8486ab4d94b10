"""What was approved in the log, as plain text.

What a person decided holds here as it does for datasets: only approved replies are learnt, and what asks what an
evaluation suite asks is not. But of a corpus every word is learnt, so a reply that nobody approved is not even context:
it is left out, with the prompt that it answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from chatbot.admin.corpus.drafts import Draft
from chatbot.admin.datasets.drafts import Draft as ItemDraft
from chatbot.admin.datasets.examining import Examination
from chatbot.admin.datasets.log import read_log
from chatbot.admin.datasets.talks import draft_items
from chatbot.admin.evaluation.suites import list_suite_prompts
from chatbot.logs.redaction import Redactor
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter

SOURCE = "chat"
LICENCE = "private"
_SPEAKERS = {"user": "User", "assistant": "Assistant"}


class Conversations:
    """The log's documents; `left_out` are replies that were not taken, by reason, `redacted` what was masked."""

    def __init__(self, store: Store, *, redact: bool, names: Sequence[str]) -> None:
        self._store = store
        self._redactor = Redactor(names) if redact else None
        self.left_out: Counter[str] = Counter()
        self.redacted: Counter[str] = Counter()

    def count(self) -> int:
        return sum(1 for _ in self._store.logs.each_id(LogFilter()))

    def read(self) -> Iterator[Draft]:
        """A document for each branch with approved replies, oldest conversation first. Raises StoreError."""
        examination = Examination(list_suite_prompts())
        for talk in read_log(self._store, LogFilter()):
            for item in draft_items(talk, "sft", self.left_out):
                spared, count = examination.spare(item)
                self.left_out["asks what an evaluation suite asks"] += count
                if spared is not None and (said := list(_choose(spared))):
                    yield self._write(spared, said)

    def _write(self, item: ItemDraft, places: Sequence[int]) -> Draft:
        turns = [f"{_SPEAKERS[item.turns[place].role]}: {item.turns[place].content.strip()}" for place in places]
        text = "\n\n".join(turns)
        if self._redactor is not None:
            masked = self._redactor.redact(text)
            self.redacted.update(masked.counts)
            text = masked.text
        messages = tuple(dict.fromkeys(key for place in places for key in item.messages[place]))
        return Draft.of_text(SOURCE, text, licence=LICENCE, conversation=item.conversation, messages=messages)


def _choose(item: ItemDraft) -> Iterator[int]:
    """The places of the replies that are learnt and of the prompts they answer."""
    for place in item.learnt:
        if place and item.turns[place - 1].role == "user":
            yield place - 1
        yield place
