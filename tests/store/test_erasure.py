"""Forgetting: nothing of what was said is left in any file, and what learnt from it is named."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from chatbot.errors import DatabaseBusy, DatabaseUnwritable, InvalidInput, NotFound
from chatbot.store.archive_records import ArchivedConversation, ArchivedMessage
from chatbot.store.database import Store
from chatbot.store.erasure import Forgotten
from chatbot.store.learning_tables import DatasetItemMessageRow, DatasetItemRow
from chatbot.store.lineage import Descent
from chatbot.store.migrations import open_upgraded
from chatbot.store.schema import SCHEMA
from tests.store.sample import Cycle, answer, say

SECRETS = ("zyxomatic", "qwertzimal", "𠮷𡃁𢬍", "jabberwockish")
"""In a prompt, a long reply, a Chinese text, a comment; each word stands nowhere else."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chatbot.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_upgraded(f"sqlite:///{path}") as opened:
        yield opened


def write_secret(store: Store) -> str:
    """A conversation with every secret in it; returns its id."""
    prompt = say(store, f"the {SECRETS[0]} thing", title=f"about {SECRETS[0]}")
    long = f"{SECRETS[1]} " * 20 + "filler words " * 3000  # on overflow pages
    reply = answer(store, prompt, long)
    answer(store, prompt, f"{SECRETS[2]} {SECRETS[0]}" * 1000)
    store.judgements.say(reply.id, author="me", rating=-1, tags=[SECRETS[3]], comment=f"so {SECRETS[3]}")
    store.judgements.correct(reply.id, f"rather {SECRETS[1]}", author="me", note=SECRETS[3])
    store.conversations.save_draft(prompt.conversation_id, f"draft of {SECRETS[0]}")
    return prompt.conversation_id


def write_others(store: Store, count: int) -> None:
    """Conversations of two messages, some of them long."""
    key = store.replies.new_id()
    store.archive.add(
        [
            ArchivedConversation(
                f"{key}:{number}",
                (
                    ArchivedMessage("q", None, "user", f"question {number} about filler"),
                    ArchivedMessage("a", "q", "assistant", f"answer {number} " * (2000 if number % 20 == 0 else 5)),
                ),
                title="t",
            )
            for number in range(count)
        ],
        source="file",
    )


def find_secrets(folder: Path) -> list[str]:
    """Where a secret stands, in the bytes of any file; FTS5 writes a word without its first letters if it can."""
    wanted = {spelled for secret in SECRETS for spelled in (secret, secret[2:])}
    wanted |= set(SECRETS[2])  # of four bytes each, which nothing else holds by chance
    return [
        f"{spelled} in {file.relative_to(folder)}"
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        for spelled in sorted(wanted)
        if spelled.encode() in file.read_bytes()
    ]


def test_no_file_holds_a_byte_of_what_was_forgotten(store: Store, path: Path) -> None:
    write_others(store, 120)
    before = store.back_up()
    secret = write_secret(store)
    write_others(store, 80)
    held = [store.back_up(), store.back_up()]
    leftover = path.parent / "backups" / f".{held[0].name}.x7_k2m"
    leftover.write_bytes(SECRETS[0].encode())
    assert len(find_secrets(path.parent)) > 10
    steps: list[str] = []
    done = store.erasure.forget([secret], steps.append)
    assert find_secrets(path.parent) == []
    assert (done.conversations, done.messages, done.dataset_items) == (1, 4, 0)
    assert done.backups == tuple(held)
    assert done.new_backup is not None
    assert sorted((path.parent / "backups").iterdir()) == [before, done.new_backup]
    assert "rewriting the file" in steps
    assert store.verify() == []
    assert len(store.search.find("filler", limit=1000)) == 200
    with pytest.raises(NotFound):
        store.conversations.get(secret)
    for query in SECRETS:
        assert store.search.find(query) == []


def test_a_word_that_others_use_is_still_found_after_the_rebuild_of_the_index(store: Store) -> None:
    kept = say(store, "the common word")
    gone = say(store, "the common word too")
    store.erasure.forget([gone.conversation_id])
    assert [hit.message_id for hit in store.search.find("common word")] == [kept.id]
    store.erasure.scrub()
    assert [hit.message_id for hit in store.search.find("common word")] == [kept.id]


def test_nothing_in_any_table_names_it_any_more(store: Store) -> None:
    secret = write_secret(store)
    message_ids = [message.id for message in store.logs.tree(secret)]
    cycle = Cycle(store)
    cycle.make_dataset("d", [(secret, message_ids[:2]), (None, [message_ids[1]])])
    store.erasure.forget([secret])
    with store._database.read() as connection:
        for table in SCHEMA.sorted_tables:
            for row in connection.execute(select(table)):
                assert not {secret, *message_ids} & {str(value) for value in row}, table.name
        for name in ("message_search_docsize", "search_entry", "reply_state"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() == 0


def test_what_learnt_from_it_is_named_and_its_items_are_gone(store: Store) -> None:
    kept, gone = answer(store, say(store, "q"), "a"), answer(store, say(store, "q"), "b")
    cycle = Cycle(store)
    mixed = cycle.make_dataset(
        "mixed", [(kept.conversation_id, [kept.id]), (gone.conversation_id, [gone.id]), (None, [kept.id, gone.id])]
    )
    pure = cycle.make_dataset("pure", [(kept.conversation_id, [kept.id])])
    cycle.train("first", {mixed: "train"})
    cycle.train("further", {pure: "train"}, parent="first")
    cycle.train("innocent", {pure: "train"})
    cycle.promote("further", "better")
    planned = store.erasure.preview([gone.conversation_id])
    done = store.erasure.forget([gone.conversation_id, gone.conversation_id])
    assert done == planned
    assert [(one.name, one.number, one.items) for one in done.descent.datasets] == [("mixed", 1, 2)]
    assert [(one.name, one.aliases) for one in done.descent.models] == [("first", ()), ("further", ("champion",))]
    assert (done.conversations, done.messages, done.dataset_items) == (1, 2, 2)
    with store._database.read() as connection:
        items = connection.scalars(select(DatasetItemRow.source_conversation_id).order_by(DatasetItemRow.id)).all()
        assert items == [kept.conversation_id, kept.conversation_id]
        assert connection.scalar(select(func.count()).select_from(DatasetItemMessageRow)) == 2
    assert store.verify() == []


def test_several_are_forgotten_at_once_or_none(store: Store) -> None:
    kept, binned = say(store, "kept"), say(store, "binned")
    store.conversations.change(binned.conversation_id, deleted=True)
    assert store.erasure.list_bin() == [binned.conversation_id]
    with pytest.raises(NotFound):
        store.erasure.forget([kept.conversation_id, "nothing"])
    assert store.conversations.get(kept.conversation_id).title == "t"
    cycle = Cycle(store)
    cycle.make_dataset("d", [(kept.conversation_id, [kept.id, binned.id]), (binned.conversation_id, [binned.id])])
    done = store.erasure.forget([kept.conversation_id, binned.conversation_id])
    assert (done.conversations, done.messages, done.dataset_items) == (2, 2, 2)
    assert store.logs.list() == []
    assert store.erasure.list_bin() == []
    assert store.erasure.preview([]) == Forgotten(0, 0, 0, Descent((), ()), (), None)


def test_a_reply_that_is_being_written_is_not_pulled_away(store: Store) -> None:
    prompt = say(store, "q")
    version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
    reply = store.replies.start(store.replies.new_id(), prompt.id, version, "", {})
    with pytest.raises(InvalidInput, match="Stop it first"):
        store.erasure.forget([prompt.conversation_id])
    store.replies.finish(reply.id, "a", "complete", "stop", {})
    assert store.erasure.forget([prompt.conversation_id]).messages == 2


def test_files_of_other_databases_are_left_alone(store: Store, path: Path, tmp_path: Path) -> None:
    secret = write_secret(store)
    with open_upgraded(f"sqlite:///{path.parent / 'chatbot-work.db'}") as neighbour:
        theirs = neighbour.back_up()
    store.back_up()
    stick = store.back_up(tmp_path / "stick.db")
    by_hand = path.parent / "backups" / "chatbot-by-hand.db"
    by_hand.write_bytes(stick.read_bytes())
    damaged = path.parent / "backups" / "chatbot-20250101T000000.000000Z.db"
    damaged.write_bytes(b"no database at all")
    content = {file: file.read_bytes() for file in (theirs, stick, by_hand, damaged)}
    done = store.erasure.forget([secret])
    assert {file: file.read_bytes() for file in content} == content
    assert not set(done.backups) & set(content)
    assert done.unreadable == (damaged,)


def test_a_backup_that_is_finished_while_it_is_forgotten_goes_too(store: Store, path: Path) -> None:
    secret = write_secret(store)
    late: list[Path] = []

    def finish(step: str) -> None:
        if step == "deleting rows":
            late.append(store.back_up())

    done = store.erasure.forget([secret], finish)
    assert done.backups == tuple(late)
    assert done.new_backup is not None
    assert find_secrets(path.parent) == []


def test_a_new_backup_pushes_no_innocent_one_out(store: Store, path: Path) -> None:
    before = store.back_up()
    secret = write_secret(store)
    held = [store.back_up() for _ in range(4)]
    done = store.erasure.forget([secret])
    assert done.backups == tuple(held)
    assert sorted((path.parent / "backups").iterdir()) == [before, done.new_backup]


def test_a_backup_that_cannot_be_made_stops_nothing_else(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = write_secret(store)
    store.back_up()

    def refuse(*_: object, **__: object) -> Path:
        raise DatabaseUnwritable("No space.", hint="Free some space.")

    monkeypatch.setattr("chatbot.store.erasure.back_up", refuse)
    with pytest.raises(DatabaseUnwritable, match=r"rows are deleted.*No space.*Free some space.*`chatbot db backup`"):
        store.erasure.forget([secret])
    assert find_secrets(path.parent) == []


def test_emptying_the_bin_spares_what_has_come_out_of_it(store: Store) -> None:
    binned, back = say(store, "binned"), say(store, "back")
    for one in (binned, back):
        store.conversations.change(one.conversation_id, deleted=True)
    listed = store.erasure.list_bin()
    say(store, "more", back.conversation_id)
    with pytest.raises(InvalidInput, match=f"{back.conversation_id} is no longer in the bin. Nothing was deleted"):
        store.erasure.forget(listed, only_deleted=True)
    assert store.conversations.get(binned.conversation_id).deleted
    assert store.erasure.forget(store.erasure.list_bin(), only_deleted=True).conversations == 1


def test_another_process_that_holds_the_file_is_named_and_a_scrub_does_the_rest(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = write_secret(store)
    backup = store.back_up()
    monkeypatch.setattr("chatbot.store.sessions.BUSY_SECONDS", 0.1)
    store._database.engine.dispose()
    with open_upgraded(f"sqlite:///{path}") as hurried, closing(sqlite3.connect(path, isolation_level=None)) as other:

        def block(step: str) -> None:
            if step == "rewriting the file":
                other.execute("BEGIN IMMEDIATE")

        with pytest.raises(DatabaseBusy, match=str(path)) as told:
            hurried.erasure.forget([secret], block)
        other.execute("ROLLBACK")
        assert told.value.message.startswith("The rows are deleted; ")
        assert told.value.hint.endswith("`chatbot db scrub` does the rest.")
        assert not backup.exists()
        (new,) = (path.parent / "backups").iterdir()
        assert not any(secret.encode() in new.read_bytes() for secret in SECRETS)
        with closing(sqlite3.connect(new)) as copy:
            assert copy.execute("SELECT count(*) FROM conversation WHERE id = ?", (secret,)).fetchone() == (0,)
        hurried.erasure.scrub()
    assert find_secrets(path.parent) == []


def test_a_backup_that_cannot_be_deleted_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = write_secret(store)
    backup, other = store.back_up(), store.back_up()
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self == backup:
            raise PermissionError(13, "Permission denied")
        unlink(self, missing_ok)

    with monkeypatch.context() as context:
        context.setattr(Path, "unlink", refuse)
        with pytest.raises(DatabaseUnwritable, match=f"rows are deleted.*{backup} cannot be deleted"):
            store.erasure.forget([secret])
    assert not other.exists()
    backup.unlink()
    assert find_secrets(backup.parent.parent) == []


def test_a_database_in_memory_forgets_too() -> None:
    with Store.in_memory() as store:
        secret = write_secret(store)
        done = store.erasure.forget([secret])
        assert (done.messages, done.backups, done.new_backup) == (4, (), None)
        assert store.verify() == []
