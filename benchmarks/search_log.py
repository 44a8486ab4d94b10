"""Looking things up in a log of a million messages, beside plain SQLite as other loggers use it.

A: `store.search.find`. B: an FTS5 table with its default tokenizer, best hits first (`ORDER BY rank`), as `llm logs -q`
asks it; for Chinese, which that tokenizer does not part into words, LIKE on the texts. The queries are asked of A and B
in turn (of B every fifth only: some take it a second). Then what is not a search: the log's list with its filters, the
sidebar's list, the review queue. Bounds: 100 ms at the 95th percentile, 200 ms for the queue.

    python benchmarks/search_log.py [--messages 1000000] [--queries 100] [--folder .cache/large_log] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from large_log import SEED, Writer, open_large_log

from chatbot.store.database import Store
from chatbot.store.filters import LogFilter

LIMIT = 20
PEER = """SELECT message.id, message.content FROM found JOIN message ON message.number = found.rowid
    WHERE found MATCH ? ORDER BY rank LIMIT 20"""
PEER_LIKE = "SELECT id, content FROM message WHERE content LIKE '%' || ? || '%' ORDER BY number DESC LIMIT 20"


def choose_queries(count: int) -> dict[str, list[str]]:
    """Queries by kind. Drawn with another seed than the texts: some find nothing, as in life."""
    writer = Writer()
    draw = random.Random(SEED + 1)
    words, letters = writer.latin.words, writer.chinese
    writer.draw.seed(SEED + 2)

    def phrase(length: int) -> str:
        return " ".join(writer.latin.take(length))

    return {
        "rare word": [draw.choice(words[20_000:]) for _ in range(count)],
        "common word": [draw.choice(words[:40]) for _ in range(count)],
        "two words": [phrase(2) for _ in range(count)],
        "phrase of 2": [f'"{phrase(2)}"' for _ in range(count)],
        "phrase of 4": [f'"{phrase(4)}"' for _ in range(count)],
        "1 Chinese letter": ["".join(letters.take(1)) for _ in range(count)],
        "2 Chinese letters": ["".join(letters.take(2)) for _ in range(count)],
        "4 Chinese letters": ["".join(letters.take(4)) for _ in range(count)],
    }


def open_peer(store: Store, path: Path) -> sqlite3.Connection:
    """The same texts as other loggers keep them; made if they are not there."""
    fresh = not path.exists()
    connection = sqlite3.connect(path, isolation_level=None)
    if fresh:
        connection.executescript(
            f"""ATTACH '{store.path}' AS log;
            CREATE TABLE message (number INTEGER PRIMARY KEY, id TEXT, content TEXT);
            INSERT INTO message (id, content) SELECT id, content FROM log.message ORDER BY id;
            CREATE VIRTUAL TABLE found USING fts5(content, content=message, content_rowid=number);
            INSERT INTO found (found) VALUES ('rebuild');
            DETACH log;"""
        )
    return connection


def take_time(call: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def fetch(peer: sqlite3.Connection, sql: str, query: str) -> list[object]:
    return peer.execute(sql, (query,)).fetchall()


def sum_up(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "median": round(statistics.median(times), 2),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 2),
    }


def measure_search(store: Store, peer: sqlite3.Connection, count: int) -> dict[str, dict[str, object]]:
    results: dict[str, dict[str, object]] = {}
    for kind, queries in choose_queries(count).items():
        ours, theirs, hits = [], [], 0
        sql = PEER_LIKE if "Chinese" in kind else PEER
        for number, query in enumerate(queries):
            ours.append(take_time(partial(store.search.find, query, limit=LIMIT)))
            if number % 5 == 0:
                theirs.append(take_time(partial(fetch, peer, sql, query)))
            hits += bool(store.search.find(query, limit=1))
        us, them = sum_up(ours), sum_up(theirs)
        results[kind] = {"us": us, "peer": them, "ratio": round(us["median"] / them["median"], 3), "found": hits}
    return results


def measure_lists(store: Store, rounds: int) -> dict[str, dict[str, float]]:
    calls: dict[str, Callable[[], object]] = {
        "sidebar": lambda: store.conversations.list(limit=200),
        "logs list": lambda: store.logs.list(limit=LIMIT),
        "logs list, page 500": lambda: store.logs.list(limit=LIMIT, offset=500 * LIMIT),
        "logs list --persona (rare)": lambda: store.logs.list(LogFilter(persona="rare"), limit=LIMIT),
        "logs list --model": lambda: store.logs.list(LogFilter(model="small-2"), limit=LIMIT),
        "logs list --rating down": lambda: store.logs.list(LogFilter(rating="down"), limit=LIMIT),
        "logs list --rating none": lambda: store.logs.list(LogFilter(rating="none"), limit=LIMIT),
        "logs list --status failed": lambda: store.logs.list(LogFilter(status="failed"), limit=LIMIT),
        "logs list --state approved": lambda: store.logs.list(LogFilter(state="approved"), limit=LIMIT),
        "logs list --state waiting": lambda: store.logs.list(LogFilter(state="waiting"), limit=LIMIT),
        "review queue, first page": lambda: store.review_queue.list(limit=100),
        "review queue, progress line": store.review_queue.progress,
        "review queue of a model": lambda: store.review_queue.list(LogFilter(model="small-2"), limit=100),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(take_time(call))
    return {name: sum_up(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent.parent / ".cache" / "large_log")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with open_large_log(arguments.folder, arguments.messages) as store:
        peer = open_peer(store, arguments.folder / f"{arguments.messages}.peer.db")
        with closing(peer):
            searches = measure_search(store, peer, arguments.queries)
            lists = measure_lists(store, max(5, arguments.queries // 5))
    if arguments.json:
        print(json.dumps({"messages": arguments.messages, "search": searches, "lists": lists}, indent=2))
        return
    print(f"{arguments.messages:,} messages; milliseconds, median (p95)")
    for kind, found in searches.items():
        us, them = found["us"], found["peer"]
        print(f"  {kind:<28} {show(us):>18}   peer {show(them):>18}   {found['found']} of {arguments.queries} found")
    for name, figures in lists.items():
        print(f"  {name:<28} {show(figures):>18}")


def show(figures: object) -> str:
    assert isinstance(figures, dict)
    return f"{figures['median']:.1f} ({figures['p95']:.1f})"


if __name__ == "__main__":
    main()
