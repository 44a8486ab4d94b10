"""Lists stay quick over a million messages because SQLite reads along the right index: the plans are held to it.

A plan that reads a whole table, or half of one, takes seconds there and nothing in a small test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from chatbot.store.migrations import open_upgraded

FILTERS = [
    LogFilter(),
    LogFilter(model="m"),
    LogFilter(rating="up"),
    LogFilter(rating="down"),
    LogFilter(rating="none"),
    LogFilter(state="waiting"),
    LogFilter(state="approved"),
    LogFilter(state="rejected"),
    LogFilter(status="failed"),
    LogFilter(status="complete"),
    LogFilter(persona="p"),
    LogFilter(persona="p", model="m", rating="none"),
]
NEWEST_FIRST = "SEARCH conversation USING INDEX ix_conversation_newest"
WHOLE = ("SCAN ", "ix_message_prompts", "ix_reply_state_queue")
"""What reads everything. Walking the queue is right for the queue only."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_upgraded(f"sqlite:///{tmp_path / 'chatbot.db'}") as opened:
        yield opened


def list_plans(store: Store, call: Callable[[], object]) -> list[list[str]]:
    """The plan of each query that `call` makes."""
    plans: list[list[str]] = []

    def explain(
        connection: Connection, _cursor: object, statement: str, parameters: tuple[object, ...], *_: object
    ) -> None:
        if statement.startswith(("SELECT", "WITH")):
            raw = connection.connection.driver_connection
            assert raw is not None
            rows = raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            # An empty list of ids, and rows that another step of the plan has found, are no tables.
            plans.append(
                [
                    row[-1]
                    for row in rows
                    if not row[-1].startswith(("SCAN CONSTANT ROW", "SCAN (subquery", "SCAN anon_"))
                ]
            )

    event.listen(store._database.engine, "before_cursor_execute", explain)
    try:
        call()
    finally:
        event.remove(store._database.engine, "before_cursor_execute", explain)
    assert plans
    return plans


@pytest.mark.parametrize("asked", FILTERS, ids=str)
def test_the_logs_list_walks_from_the_newest_and_looks_up_the_rest(store: Store, asked: LogFilter) -> None:
    first, *others = list_plans(store, lambda: store.logs.list(asked))
    assert any(step.startswith(NEWEST_FIRST) for step in first)
    assert not any("TEMP B-TREE" in step for step in first), "sorted all that it found"
    for step in (step for plan in [first, *others] for step in plan):
        assert not any(mark in step for mark in WHOLE), step


@pytest.mark.parametrize("asked", [LogFilter(), LogFilter(model="m"), LogFilter(persona="p")], ids=str)
def test_the_queue_is_read_in_the_order_of_its_index(
    store: Store, asked: LogFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.store.review_queue._FEW", -1)  # as if many met each condition
    *_, plan = list_plans(store, lambda: store.review_queue.list(asked))
    assert any("USING INDEX ix_reply_state_queue (waiting=? AND concern>?)" in step for step in plan)
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan)


@pytest.mark.parametrize(
    "asked",
    [LogFilter(model="m"), LogFilter(rating="up"), LogFilter(status="failed"), LogFilter(state="approved")],
    ids=str,
)
def test_a_filter_that_few_replies_meet_does_not_walk_the_queue(store: Store, asked: LogFilter) -> None:
    for step in (step for plan in list_plans(store, lambda: store.review_queue.list(asked)) for step in plan):
        assert "ix_reply_state_queue" not in step
        assert not step.startswith("SCAN "), step


def test_the_progress_line_counts_in_indexes(store: Store) -> None:
    for step in (step for plan in list_plans(store, store.review_queue.progress) for step in plan):
        assert not step.startswith("SCAN"), step


@pytest.mark.parametrize("asked", [LogFilter(), LogFilter(rating="none"), LogFilter(model="m")], ids=str)
def test_a_search_is_led_by_the_index_of_words(store: Store, asked: LogFilter) -> None:
    [plan] = list_plans(store, lambda: store.search.find("word", asked))
    assert plan[0].startswith("SCAN message_search VIRTUAL TABLE INDEX")
    assert not any("TEMP B-TREE" in step or "ix_" in step for step in plan), plan
