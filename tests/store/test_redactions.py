"""Masking: what is overwritten everywhere, what is approved no longer, and what is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from chatbot.errors import DatabaseBusy, InvalidInput
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from chatbot.store.redactions import Replacement
from chatbot.store.replies import NewConversation
from tests.store.sample import answer, say

SECRET = "zyxomatic"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chatbot.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_upgraded(f"sqlite:///{path}") as opened:
        yield opened


def read_all(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.rglob("*") if file.is_file())


def leave_deleted_bytes(connection: sqlite3.Connection, _record: object = None) -> None:
    """As most builds of SQLite do by default; some are compiled with SQLITE_SECURE_DELETE."""
    connection.execute("PRAGMA secure_delete = OFF")


def test_every_connection_overwrites_what_it_frees(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.dbapi2.connect

    def connect_as_elsewhere(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **named)
        leave_deleted_bytes(connection)
        return connection

    monkeypatch.setattr(sqlite3.dbapi2, "connect", connect_as_elsewhere)
    with open_upgraded(f"sqlite:///{path}") as store, store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1


def test_copies_that_were_freed_before_the_masking_leave_the_file(store: Store, path: Path) -> None:
    event.listen(store._database.engine, "connect", leave_deleted_bytes)
    store._database.engine.dispose()
    prompt = say(store, "q")
    version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
    reply = store.replies.start(store.replies.new_id(), prompt.id, version, "", {})
    text = ""
    for _ in range(40):
        text += f"{SECRET} and much more of the same " * 20
        store.replies.grow(reply.id, text)
    reply = store.replies.finish(reply.id, text, "complete", "stop", {})
    change = {reply.id: Replacement(reply.content, "[secret]")}
    store.redactions.apply(prompt.conversation_id, change, author="me", note="1 secret")
    assert SECRET.encode() in read_all(path)  # else this test shows nothing
    store.redactions.compact()
    assert SECRET.encode() not in read_all(path)
    assert SECRET[2:].encode() not in read_all(path)
    assert store.verify() == []


def test_a_file_that_cannot_be_rewritten_is_told(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatbot.store.sessions.BUSY_SECONDS", 0.1)
    with open_upgraded(f"sqlite:///{path}") as hurried, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match="`chatbot db scrub` does the rest"):
            hurried.redactions.compact()


def test_approved_replies_below_a_masked_message_wait_again(store: Store) -> None:
    first = say(store, "hello")
    above = answer(store, first, "hi")
    prompt = say(store, SECRET, first.conversation_id)
    below, rejected = answer(store, prompt, "a"), answer(store, prompt, "b")
    far = answer(store, say(store, "and?", first.conversation_id), "c")
    store.judgements.decide([above.id, below.id, far.id], "approve", author="me")
    store.judgements.decide([rejected.id], "reject", author="me")
    change = {prompt.id: Replacement(SECRET, "[secret]")}
    store.redactions.apply(first.conversation_id, change, author="me", note="1 secret")
    decisions = {one.content: store.judgements.get(one.id).decision for one in (above, below, rejected, far)}
    assert decisions == {"hi": "approve", "a": "redact", "b": "reject", "c": "redact"}
    newest = store.judgements.history(below.id)[-1]
    assert (newest.decision, newest.note, newest.author) == ("redact", "1 secret", "me")
    assert store.verify() == []


def test_a_masked_system_prompt_sends_all_approved_replies_back(store: Store) -> None:
    prompt = store.replies.add_prompt(NewConversation("t", "default", f"Know {SECRET}."), "q")
    approved, unjudged = answer(store, prompt, "a"), answer(store, prompt, "b")
    store.judgements.decide([approved.id], "approve", author="me")
    change = Replacement(f"Know {SECRET}.", "Know [secret].")
    store.redactions.apply(prompt.conversation_id, {}, author="me", note="1 secret", system_prompt=change)
    assert store.redactions.system_prompt(prompt.conversation_id) == "Know [secret]."
    assert store.judgements.get(approved.id).decision == "redact"
    assert store.judgements.get(unjudged.id).decision == ""


def test_comments_tags_and_the_draft_are_masked_too(store: Store) -> None:
    prompt = say(store, "q", title=SECRET)
    reply, other = answer(store, prompt, "a"), answer(store, say(store, "other"), "b")
    store.judgements.say(reply.id, author="me", tags=[SECRET, "good"], comment=SECRET)
    store.judgements.say(other.id, author="me", tags=[SECRET], comment=SECRET)
    store.conversations.save_draft(prompt.conversation_id, SECRET)
    masked = Replacement(SECRET, "[secret]")
    comments, tags = (found(prompt.conversation_id) for found in (store.redactions.comments, store.redactions.tags))
    assert (list(comments.values()), list(tags.values())) == ([SECRET], [[SECRET, "good"]])
    store.redactions.apply(
        prompt.conversation_id,
        {},
        author="me",
        note="",
        title=masked,
        draft=masked,
        comments=dict.fromkeys(comments, masked),
        tags={key: [masked] for key in tags},
    )
    judged = store.judgements.get(reply.id)
    assert (judged.comment, judged.tags, judged.decision) == ("[secret]", ("[secret]", "good"), "")
    assert store.conversations.draft(prompt.conversation_id) == "[secret]"
    assert store.conversations.get(prompt.conversation_id).title == "[secret]"
    assert store.judgements.get(other.id).tags == (SECRET,)


@pytest.mark.parametrize(
    ("what", "named"), [("title", "title"), ("system_prompt", "system prompt"), ("draft", "draft")]
)
def test_nothing_is_masked_if_a_text_has_changed(store: Store, what: str, named: str) -> None:
    prompt = say(store, SECRET)
    store.conversations.save_draft(prompt.conversation_id, "unsent")
    change = {prompt.id: Replacement(SECRET, "[secret]")}
    more: dict[str, Any] = {what: Replacement("as it was", "masked")}
    with pytest.raises(InvalidInput, match=f"The {named} has changed since the preview"):
        store.redactions.apply(prompt.conversation_id, change, author="me", note="", **more)
    assert store.messages.get(prompt.id).content == SECRET


def test_nothing_is_masked_if_a_comment_or_a_tag_has_changed(store: Store) -> None:
    prompt = say(store, "q")
    reply = answer(store, prompt, "a")
    store.judgements.say(reply.id, author="me", tags=["good"], comment="fine")
    (key,) = store.redactions.comments(prompt.conversation_id)
    stale = Replacement("as it was", "masked")
    with pytest.raises(InvalidInput, match="A comment has changed"):
        store.redactions.apply(prompt.conversation_id, {}, author="me", note="", comments={key: stale})
    with pytest.raises(InvalidInput, match="A tag has changed"):
        store.redactions.apply(prompt.conversation_id, {}, author="me", note="", tags={key: [stale]})
    judged = store.judgements.get(reply.id)
    assert (judged.comment, judged.tags) == ("fine", ("good",))
