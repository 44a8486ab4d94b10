"""The figures over the log."""

from __future__ import annotations

from datetime import timedelta

from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage, ArchivedReview
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from chatbot.store.statistics import LENGTHS, ModelFigures, Statistics
from tests.store.sample import NOW, answer, say


def reply(key: str, text: str, day: int = 0, **more: object) -> ArchivedMessage:
    return ArchivedMessage(key, "q", "assistant", text, created=NOW + timedelta(days=day), **more)  # type: ignore[arg-type]


def test_figures_by_model_by_length_and_by_day() -> None:
    up, down = (ArchivedFeedback(rating=1),), (ArchivedFeedback(rating=-1),)
    fast = {"tokens_per_second": 30, "completion_tokens": 10, "time_to_first_token": 0.1, "mean_logprob": -0.5}
    slow = {"tokens_per_second": 10, "completion_tokens": 20, "time_to_first_token": 0.3, "mean_logprob": -1.5}
    messages = (
        ArchivedMessage("q", None, "user", "question needle", created=NOW),
        reply("a", "x" * 40, model="small", generation=fast, feedback=up, reviews=(ArchivedReview("approve"),)),
        reply("b", "x" * 60, model="small", generation=slow, feedback=down, reviews=(ArchivedReview("reject"),)),
        reply("c", "x" * 3200, 1, model="large", status="failed", generation={"tokens_per_second": "very"}),
        reply("d", "x", 2),
        reply("e", "x" * 10, 2, hidden=True),
    )
    with Store.in_memory() as store:
        store.archive.add([ArchivedConversation("1", messages, title="t")], source="")
        binned = answer(store, say(store, "q"), "binned")
        store.conversations.change(binned.conversation_id, deleted=True)
        found = store.figures.collect()
        assert (found.conversations, found.prompts, found.replies, found.waiting) == (1, 1, 4, 2)
        assert (found.up, found.down, found.approved, found.rejected) == (1, 1, 1, 1)
        assert found.statuses == {"complete": 3, "failed": 1}
        assert found.models == [
            ModelFigures("", 0, replies=1, median_characters=1),
            ModelFigures("large", 1, replies=1, median_characters=3200),
            ModelFigures("small", 1, 2, 1, 1, 1, 1, 50, 15, 20, 0.2, -1.0),
        ]
        assert found.lengths == list(zip(LENGTHS, (2, 1, 0, 0, 0, 0, 0, 1), strict=True))
        days = [NOW.date() + timedelta(days=day) for day in range(3)]
        assert found.days == [(days[0], 3, 20), (days[1], 1, None), (days[2], 1, None)]
        assert store.figures.collect(LogFilter(model="small")).replies == 2
        for state, waiting in (("approved", 0), ("rejected", 0), ("waiting", 2)):
            assert store.figures.collect(LogFilter(state=state)).waiting == waiting  # type: ignore[arg-type]  # Literal
        assert store.figures.collect(LogFilter(text="needle")).prompts == 1
        assert store.figures.collect(LogFilter(text="needle")).replies == 0


def test_an_empty_log_has_figures_too() -> None:
    with Store.in_memory() as store:
        assert store.figures.collect() == Statistics(lengths=[(low, 0) for low in LENGTHS])
