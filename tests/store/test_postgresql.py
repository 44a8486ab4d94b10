"""The same store on PostgreSQL. Needs its server programs and the driver (`pip install "psycopg[binary]"`)."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from chatbot.errors import InvalidInput, StoreError
from chatbot.store import open_store
from chatbot.store.database import NEWEST
from chatbot.store.migrations import open_upgraded, upgrade
from chatbot.store.replies import NewConversation
from chatbot.store.schema import SCHEMA

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
