"""`verify` sees each kind of damage to what is derived, says it in a sentence, and `reindex` mends it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from tests.store.sample import answer, say


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chatbot.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """Two turns; the second reply is rated, corrected and approved."""
    with open_upgraded(f"sqlite:///{path}") as opened:
        prompt = say(opened, "first question")
        answer(opened, prompt, "first answer")
        second = answer(opened, say(opened, "second question", prompt.conversation_id), "second answer")
        opened.judgements.say(second.id, author="me", rating=1)
        opened.judgements.correct(second.id, "third answer", author="me")
        opened.judgements.decide([second.id], "approve", author="me")
        yield opened


def damage(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(sql)


LAST = "(SELECT max(number) FROM search_entry)"


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        (
            f"INSERT INTO message_search (message_search, rowid, words) VALUES ('delete', {LAST}, 'third answer');"
            f"DELETE FROM search_entry WHERE number = {LAST}",
            "1 messages are not in the search index",
        ),
        ("DELETE FROM search_entry", "5 messages are not in the search index"),
        (f"DELETE FROM search_entry WHERE number = {LAST}", "1 entries of the search index belong to no message"),
        (
            f"INSERT INTO message_search (message_search, rowid, words) VALUES ('delete', {LAST}, 'third answer')",
            "1 entries of the search index have no words",
        ),
        ("UPDATE message_search_data SET block = x'00' WHERE id > 10", "the search index is damaged"),
        ("DELETE FROM reply_state WHERE rating = 0", "1 replies have no state"),
        ("UPDATE reply_state SET rating = -1", "3 replies have a state"),
        ("UPDATE reply_state SET decision = '' WHERE decision = 'approve'", "1 replies have a state"),
        ("UPDATE reply_state SET waiting = NOT waiting WHERE rating = 0", "1 replies have a state"),
        ("UPDATE reply_state SET concern = 0", "2 replies have a state"),
        ("UPDATE reply_state SET conversation_id = 'another'", "3 replies have a state"),
        ("UPDATE message SET hidden = 1 WHERE role = 'assistant'", "2 replies have a state"),
        ("INSERT INTO reply_state SELECT id, conversation_id, 0, 0, 0, 0, '' FROM message WHERE role = 'user' LIMIT 1",
         "1 replies have a state"),
        ("DELETE FROM review", "1 replies have a state"),
        ("DELETE FROM feedback", "2 replies have a state"),
    ],
)  # fmt: skip
def test_what_is_derived_and_damaged_is_told_and_mended(store: Store, path: Path, sql: str, sentence: str) -> None:
    assert store.verify() == []
    damage(path, sql)
    problems = store.verify()
    assert any(problem.startswith(sentence) and "`chatbot db reindex` mends it" in problem for problem in problems), (
        problems
    )
    store.reindex()
    assert store.verify() == []
    assert len(store.search.find("question")) == 2


def test_a_database_that_others_read_can_be_verified(store: Store, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM message").fetchone()
        assert store.verify() == []


def test_a_sound_database_of_every_status_has_no_problems(store: Store) -> None:
    prompt = say(store, "q")
    for status in ("stopped", "failed", "interrupted"):
        answer(store, prompt, "x", status=status)
    answer(store, prompt, "")
    version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
    store.replies.start(store.replies.new_id(), prompt.id, version, "", {})
    assert store.verify() == []
    store.reindex()  # gives the growing reply a state, which is no problem either
    assert store.verify() == []
