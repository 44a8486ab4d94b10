"""The same store on PostgreSQL. Needs its server programs and the driver (`pip install "psycopg[binary]"`)."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from chatbot.errors import InvalidInput, StoreError
from chatbot.store import open_store
from chatbot.store.database import NEWEST, Store
from chatbot.store.filters import LogFilter
from chatbot.store.migrations import open_upgraded, upgrade
from chatbot.store.replies import NewConversation
from chatbot.store.schema import SCHEMA
from chatbot.store.sessions import Database
from tests.store.sample import Cycle, answer, say

pytest.importorskip("psycopg")


def find_program(name: str) -> str:
    places = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([*places, os.environ["PATH"]])) or ""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own on a Unix socket in a temporary folder; root must start it as another user."""
    if not find_program("initdb"):
        pytest.skip("PostgreSQL's server programs are not installed")
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="chatbot-pg-"))
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    data = str(folder / "data")

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [find_program(program), *arguments],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    run("initdb", "-D", data, "-A", "trust", "-U", "me")
    options = f"-k {folder} -c listen_addresses="
    run("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        run("createdb", "-h", str(folder), "-U", "me", "chat")
        yield f"postgresql+psycopg://me@/chat?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


def test_the_schema_is_the_one_declared(url: str) -> None:
    with pytest.raises(StoreError, match="is empty"):
        open_store(url)
    assert upgrade(url).before is None
    assert upgrade(url).before == NEWEST
    with open_upgraded(url) as store, store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SCHEMA) == []


def test_a_conversation(url: str) -> None:
    with open_upgraded(url) as store:
        user = store.replies.add_prompt(NewConversation("Über 100%", "default", "", {"top_k": 3}), "你好")
        version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
        other = open_store(url)
        reply = other.replies.start(other.replies.new_id(), user.id, version, "", {"seed": 1})
        other.replies.grow(reply.id, "half")
        assert store.replies.mark_interrupted() == 0  # its writer lives
        with pytest.raises(InvalidInput):
            store.tree.drop(reply.id)
        other.close()
        assert store.replies.mark_interrupted() == 1
        found = store.messages.last_unfinished(user.conversation_id)
        assert found is not None
        assert (found.content, found.status, found.model, found.generation) == ("half", "interrupted", "m", {"seed": 1})
        store.tree.restore_turn(store.tree.delete_turn(reply.id))
        store.tree.drop(reply.id)
        assert [message.content for message in store.messages.transcript(user.conversation_id)] == ["你好"]
        assert [item.title for item in store.conversations.list(text="ÜBER 100%")] == ["Über 100%"]
        assert store.conversations.find(user.conversation_id[:20]).updated.utcoffset() is not None
        assert store.messages.prompts(5) == ["你好"]
        assert store.verify() == []
        with pytest.raises(StoreError, match="pg_dump"):
            store.back_up()


def test_judging_searching_and_queueing(url: str) -> None:
    with open_upgraded(url) as store:
        prompt = say(store, "今天天气怎么样? 100%", title="judged", persona="postgres")
        first = answer(store, prompt, "Die Straße ist GRÜN", seed=1, mean_logprob=-2.0)
        second = answer(store, prompt, "b", model="large", tokens_per_second=10)
        store.judgements.say(first.id, author="me", rating=-1, tags=["ä", "wrong"], comment="no")
        correction = store.judgements.correct(first.id, "better", author="me")
        store.judgements.go_on_from(second.id, author="me")
        store.judgements.decide([correction.id], "approve", author="me")
        store.judgements.decide([second.id], "redact", author="me")
        store.tree.restore_turn(store.tree.delete_turn(first.id))
        asked = LogFilter(persona="postgres")
        for query, found in (("天", prompt), ("100%", prompt), ("straße", first), ("grün die", first), ("?", prompt)):
            assert [hit.message_id for hit in store.search.find(query, asked)] == [found.id], query
        with pytest.raises(InvalidInput):
            store.search.find("\0", asked)
        for query in ('" AND (', "\\", "\udcff", "'", "x" * 5000):
            assert store.search.find(query, asked) == []
        assert [entry.message_id for entry in store.review_queue.list(asked)] == [second.id]
        assert store.review_queue.count(asked) == 1
        assert store.review_queue.progress().approved == 1
        for some in (
            LogFilter(rating="down", tag="ä", status="complete", model="m", persona="postgres"),
            LogFilter(state="redacted", persona="postgres", text="b"),
            LogFilter(state="waiting", persona="postgres", until=datetime.now(UTC)),
            LogFilter(rating="none", persona="postgres"),
        ):
            (entry,) = store.logs.list(some)
            assert store.logs.count(some) == 1
            assert (entry.up, entry.down, entry.waiting, entry.approved, entry.rejected) == (1, 1, 1, 1, 1)
        assert store.logs.list(LogFilter(persona="postgres", status="failed")) == []
        figures = store.figures.collect(asked)
        assert (figures.replies, figures.down, figures.waiting) == (3, 1, 1)
        store.reindex()
        assert store.verify() == []
        assert [message.content for message in store.logs.path(correction.id)] == [prompt.content, "better"]


def test_archiving_forgetting_and_the_trail(url: str) -> None:
    with open_upgraded(url) as store, Store.in_memory() as second:
        prompt = say(store, "q", persona="archived")
        reply = answer(store, prompt, "a", seed=1)
        store.judgements.say(reply.id, author="me", rating=1, tags=["x"])
        store.judgements.correct(reply.id, "b", author="me")
        archived = store.archive.read(prompt.conversation_id)
        second.archive.add([archived], source="file")
        assert second.archive.read(prompt.conversation_id) == archived
        cycle = Cycle(store)
        cycle.train("adapter", {cycle.make_dataset("d", [(prompt.conversation_id, [reply.id])]): "train"})
        cycle.train("further", {}, parent="adapter")
        cycle.promote("further", "better")
        assert store.lineage.of_model("adapter").messages == (reply.id,)
        assert store.lineage.of_model("further").promotions[0].reason == "better"
        done = store.erasure.forget([prompt.conversation_id])
        assert [one.name for one in done.descent.models] == ["adapter", "further"]
        assert (done.messages, done.dataset_items, done.backups) == (3, 1, ())
        assert store.logs.list(LogFilter(persona="archived")) == []
        assert store.archive.add([archived], source="file").conversations == 1
        assert store.archive.read(prompt.conversation_id) == archived
        assert store.archive.add([archived], source="file").known == 1
        assert store.verify() == []


def test_rows_of_the_first_schema_are_kept(url: str) -> None:
    with open_upgraded(url) as store:
        newer = store._database.engine.url
        with store._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CREATE DATABASE older")
    older = newer.set(database="older").render_as_string(hide_password=False)
    upgrade(older, target="0001")
    database = Database(older)
    with database.write() as connection:
        for statement in FIRST.format(now="'2026-01-01 00:00:00Z'").split(";"):
            connection.exec_driver_sql(statement)
    database.close()
    assert upgrade(older).before == "0001"
    with open_store(older) as store:
        assert [hit.snippet for hit in store.search.find("answer")] == ["the answer"]
        (entry,) = store.review_queue.list()
        assert entry.concern.name == "RATED_DOWN"
        store.judgements.say(entry.message_id, author="me", rating=0, tags=["b"])
        store.judgements.decide([entry.message_id], "withdraw", author="me")
        assert [one.tags for one in store.judgements.history(entry.message_id) if one.tags] == [("a",), ("b",)]
        assert store.verify() == []


FIRST = """
INSERT INTO conversation VALUES ('c', 't', 't', 'default', '', '{{}}', NULL, false, false, false, {now}, {now});
INSERT INTO message (id, conversation_id, parent_id, role, status, finish_reason, writer, template_sha, generation,
    content, hidden, created_at) VALUES
    ('q', 'c', NULL, 'user', 'complete', '', '', '', '{{}}', 'the question', false, {now}),
    ('a', 'c', 'q', 'assistant', 'complete', 'stop', '', '', '{{}}', 'the answer', false, {now});
UPDATE conversation SET tip_id = 'a';
INSERT INTO feedback VALUES ('f', 'a', -1, '{{"a": 1}}', 'too long', '', NULL, 'me', {now})
"""
