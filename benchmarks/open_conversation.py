"""What it costs to open a conversation of 10,000 messages, among 10,000 conversations: the store's part.

A: from the database's path to what the screen shows first: the manager, the sidebar's first 200 conversations, this
conversation's row and its last 40 messages with their alternatives. B: sqlite3 by hand with the least that a chat
without branches could ask: the newest 200 rows of one table, the last 40 of the other by identifier, each by an index.
C: what a chat does that loads the whole conversation. They alternate, A B C A B C, each with a new connection. A must
stay below 100 ms, a fifth of the half second in which the screen is to be there.

    python benchmarks/open_conversation.py [--rounds 30] [--messages 10000] [--json]
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from chatbot.config import Home, Settings
from chatbot.dialogue.manager import Manager
from chatbot.engine.scripted import ScriptedEngine
from chatbot.store.conversations import change_conversation
from chatbot.store.migrations import open_upgraded
from chatbot.store.replies import NewConversation
from chatbot.store.tables import ConversationRow, MessageRow

SCREEN, SIDEBAR = 40, 200
WORDS = "Light from the sun is scattered by the molecules of the air. "

PLAIN_INDEX = "CREATE INDEX plain_last ON message (conversation_id, id)"
LIST = """
    SELECT id, title, updated_at FROM conversation WHERE deleted = 0 AND archived = 0
    ORDER BY pinned DESC, updated_at DESC LIMIT ?"""
LAST = "SELECT id, role, content FROM message WHERE conversation_id = ? ORDER BY id DESC LIMIT ?"


def fill(url: str, count: int) -> str:
    """`count` conversations, one of them with `count` messages of 60 to 1,800 characters; returns that one's id."""
    with open_upgraded(url) as store:
        first = store.replies.add_prompt(NewConversation("The long one", "default", ""), WORDS)
        now = datetime.now(UTC)
        conversations: list[dict[str, Any]] = [
            {
                "id": store.replies.new_id(),
                "title": f"Conversation {number}",
                "title_key": f"conversation {number}",
                "persona": "default",
                "system_prompt": "",
                "sampling": {},
                "tip_id": None,
                "pinned": False,
                "archived": False,
                "deleted": False,
                "created_at": now,
                "updated_at": now - timedelta(minutes=number),
            }
            for number in range(count)
        ]
        parent = first.id
        messages: list[dict[str, Any]] = []
        for number in range(1, count):
            messages.append(
                {
                    "id": store.replies.new_id(),
                    "conversation_id": first.conversation_id,
                    "parent_id": parent,
                    "hidden": False,
                    "role": "assistant" if number % 2 else "user",
                    "status": "complete",
                    "finish_reason": "",
                    "writer": "",
                    "model_version_id": None,
                    "template_sha": "",
                    "created_at": now,
                    "generation": {},
                    "content": WORDS * (1 + number % 30),
                }
            )
            parent = messages[-1]["id"]
        with store._database.write() as connection:
            connection.execute(insert(ConversationRow), conversations)
            connection.execute(insert(MessageRow), messages)
            change_conversation(connection, first.conversation_id, tip_id=parent)
            connection.exec_driver_sql(PLAIN_INDEX)
    return first.conversation_id


def time_once(call: Callable[[], object]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def measure(folder: Path, rounds: int, count: int) -> dict[str, float]:
    home = Home(config=folder, data=folder, state=folder, runtime=folder)
    settings = Settings(model="scripted")
    url = home.database_url(settings)
    path = url.removeprefix("sqlite:///")
    conversation = fill(url, count)

    def ours() -> None:
        store = open_upgraded(url)
        manager = Manager(store, ScriptedEngine([]), settings=settings, home=home)
        assert len(manager.conversations(limit=SIDEBAR)) == min(SIDEBAR, count)
        assert manager.interrupted(conversation) is None
        assert len(manager.transcript(manager.find_conversation(conversation).id, limit=SCREEN)) == SCREEN
        store.close()

    def plain(limit: int = SCREEN) -> None:
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute(LIST, (SIDEBAR,)).fetchall()
            assert len(connection.execute(LAST, (conversation, limit)).fetchall()) == limit

    def whole() -> None:
        plain(count)

    rows = [(time_once(ours), time_once(plain), time_once(whole)) for _ in range(rounds + 2)][2:]
    a, b, c = (statistics.median(column) for column in zip(*rows, strict=True))
    figures = {"ours_ms": a, "plain_sqlite3_ms": b, "whole_conversation_ms": c, "ratio": a / b, "ratio_to_whole": a / c}
    return {name: round(value, 2) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of opening a long conversation.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.rounds, arguments.messages)
    if arguments.json:
        print(json.dumps(figures))
    else:
        print(
            f"opening {arguments.messages:,} messages: {figures['ours_ms']} ms; the least by plain sqlite3 "
            f"{figures['plain_sqlite3_ms']} ms (ratio {figures['ratio']}), "
            f"all of it {figures['whole_conversation_ms']} ms (ratio {figures['ratio_to_whole']})"
        )


if __name__ == "__main__":
    main()
