"""Replies that grow: who may write them, and what becomes of those whose process died."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chatbot.errors import InvalidInput
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from chatbot.store.replies import NewConversation

# Begins a reply, says so, and waits: for a signal, or for the end of its standard input.
WRITER = """
import sys
from chatbot.store.database import Store
store = Store.open(sys.argv[1])
reply = store.replies.new_id()
store.replies.start(reply, sys.argv[2], sys.argv[3], "", {})
store.replies.grow(reply, "so far")
print(reply, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'chatbot.db'}"


def begin(store: Store) -> tuple[str, str, str]:
    user = store.replies.add_prompt(NewConversation("t", "default", ""), "hello")
    version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
    return user.conversation_id, user.id, version


def start_writer(url: str, user: str, version: str) -> tuple[subprocess.Popen[str], str]:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, user, version], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    return writer, writer.stdout.readline().strip()


def test_a_dead_writers_reply_becomes_interrupted_and_a_living_ones_does_not(url: str) -> None:
    with open_upgraded(url) as store:
        conversation, user, version = begin(store)
        dying, dead_reply = start_writer(url, user, version)
        living, live_reply = start_writer(url, user, version)
        own = store.replies.start(store.replies.new_id(), user, version, "", {})
        try:
            assert store.replies.mark_interrupted() == 0
            dying.kill()
            dying.wait()
            with open_upgraded(url) as other:  # another chat that starts now
                assert other.replies.mark_interrupted() == 1
            assert store.messages.get(dead_reply).status == "interrupted"
            assert store.messages.get(dead_reply).content == "so far"
            assert store.messages.get(live_reply).status == "streaming"
            assert store.messages.get(own.id).status == "streaming"
            assert store.messages.last_unfinished(conversation) is None  # on screen is the newest, our own
        finally:
            living.communicate("")
            dying.communicate()
        assert store.replies.mark_interrupted() == 1  # it went without finishing its reply
        assert store.verify() == []


def test_a_writer_that_lost_its_reply_cannot_change_it(url: str) -> None:
    with open_upgraded(url) as store, open_upgraded(url) as other:
        _, user, version = begin(store)
        reply = store.replies.start(store.replies.new_id(), user, version, "", {})
        other.replies.grow(reply.id, "not mine")
        assert other.replies.finish(reply.id, "not mine", "complete", "stop", {}).status == "streaming"
        with pytest.raises(InvalidInput, match="being written elsewhere"):
            other.replies.resume(reply, version, "", {})
        assert store.replies.finish(reply.id, "mine", "complete", "stop", {}).content == "mine"
        store.replies.grow(reply.id, "late")
        assert store.messages.get(reply.id).content == "mine"


def test_a_reply_that_changed_meanwhile_is_not_continued(url: str) -> None:
    with open_upgraded(url) as store, open_upgraded(url) as other:
        _, user, version = begin(store)
        reply_id = store.replies.new_id()
        store.replies.start(reply_id, user, version, "", {})
        seen = store.replies.finish(reply_id, "one", "stopped", "", {})
        other.replies.resume(seen, version, "", {})
        other.replies.finish(reply_id, "one two", "stopped", "", {})
        with pytest.raises(InvalidInput):
            store.replies.resume(seen, version, "", {})
        assert store.messages.get(reply_id).content == "one two"


def test_locks_of_the_dead_are_cleared_away(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "chatbot.db.writers"
    with open_upgraded(url) as store:
        _, user, version = begin(store)
        writer, _ = start_writer(url, user, version)
        assert len(list(folder.iterdir())) == 1
        writer.kill()
        writer.communicate()
        store.replies.mark_interrupted()
        store.replies.start(store.replies.new_id(), user, version, "", {})
    assert list(folder.iterdir()) == []
