"""What it costs to put a message on the disk, beside plain sqlite3 with the same durability.

A: `store.replies.add_prompt`: the message below the branch's tip, the tip moved, one transaction, synced. B: the same
three statements by hand on a sqlite3 connection with the same journal and `synchronous=FULL`. They alternate, A B A B,
each on its own database in one folder, and the medians are compared. A must stay below 5 ms.

    python benchmarks/write_message.py [--rounds 500] [--folder FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from chatbot.store.database import Store
from chatbot.store.identifiers import IdentifierSource
from chatbot.store.migrations import open_upgraded
from chatbot.store.replies import NewConversation

TEXT = "Light from the sun is scattered by the molecules of the air. " * 8  # about 500 characters

INSERT = """
    INSERT INTO message (id, conversation_id, parent_id, hidden, role, status, finish_reason, writer, model_version_id,
        template_sha, created_at, generation, content)
    VALUES (?, ?, ?, 0, 'user', 'complete', '', '', NULL, '', ?, '{}', ?)"""


def make_ours(store: Store) -> Callable[[], None]:
    first = store.replies.add_prompt(NewConversation("benchmark", "default", ""), TEXT)

    def write() -> None:
        store.replies.add_prompt(first.conversation_id, TEXT)

    return write


def make_plain(connection: sqlite3.Connection, conversation: str, journal: str) -> Callable[[], None]:
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    identifiers = IdentifierSource()

    def write() -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        message = identifiers.next()
        connection.execute("BEGIN IMMEDIATE")
        (tip,) = connection.execute("SELECT tip_id FROM conversation WHERE id = ?", (conversation,)).fetchone()
        connection.execute(INSERT, (message, conversation, tip, now, TEXT))
        connection.execute(
            "UPDATE conversation SET tip_id = ?, updated_at = ? WHERE id = ?", (message, now, conversation)
        )
        connection.execute("COMMIT")

    return write


def time_once(write: Callable[[], None]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    write()
    return (time.perf_counter() - begun) * 1000


def measure(folder: Path, rounds: int) -> dict[str, float | str]:
    ours_url, plain_path = f"sqlite:///{folder / 'ours.db'}", folder / "plain.db"
    with open_upgraded(f"sqlite:///{plain_path}") as made:  # the same tables and indexes for both
        conversation = made.replies.add_prompt(NewConversation("benchmark", "default", ""), TEXT).conversation_id
        with made._database.read() as connection:
            journal = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
    with open_upgraded(ours_url) as store, closing(sqlite3.connect(plain_path, isolation_level=None)) as connection:
        ours, plain = make_ours(store), make_plain(connection, conversation, journal)
        for write in (ours, plain) * 10:
            write()
        pairs = [(time_once(ours), time_once(plain)) for _ in range(rounds)]
    times = [sorted(column) for column in zip(*pairs, strict=True)]
    return {
        "journal": journal,
        "ours_ms": round(statistics.median(times[0]), 3),
        "ours_p95_ms": round(times[0][int(rounds * 0.95)], 3),
        "plain_sqlite3_ms": round(statistics.median(times[1]), 3),
        "ratio": round(statistics.median(times[0]) / statistics.median(times[1]), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of writing a message.")
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where the databases are made; default: a temporary folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = measure(Path(folder), arguments.rounds)
    if arguments.json:
        print(json.dumps(figures))
    else:
        print(
            f"a message on the disk ({figures['journal']} journal): {figures['ours_ms']} ms "
            f"(p95 {figures['ours_p95_ms']}), plain sqlite3 {figures['plain_sqlite3_ms']} ms, ratio {figures['ratio']}"
        )


if __name__ == "__main__":
    main()
