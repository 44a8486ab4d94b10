"""Importing a large file of conversations: time and memory, beside the least that could be done with plain sqlite3.

A: `chatbot.logs.importing.import_logs` into a new database: trees, titles, times, review states, the search index. B:
the file read whole with json, each text put into one table with one FTS5 index, in one transaction. Each runs in a
process of its own, A B A B, so that the memory is its own; medians and their ratio are printed.

Without a file one is made, as OpenAI messages. The file of the package `chitchat-dataset` (258,145 messages) is a good
one: chitchat_dataset/dataset.json in its wheel.

    python benchmarks/import_log.py [FILE] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from large_log import write_log

_MADE_MESSAGES = 100_000


def import_with_us(path: Path, database: Path) -> int:
    from chatbot.logs.importing import import_logs
    from chatbot.store.migrations import open_upgraded

    with open_upgraded(f"sqlite:///{database}") as store:
        return import_logs(store, [path]).messages


def import_plainly(path: Path, database: Path) -> int:
    text = path.read_text("utf-8")
    records = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    texts = list(list_texts(records))
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA synchronous = FULL")
    with connection:
        connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, content TEXT)")
        connection.execute("CREATE VIRTUAL TABLE found USING fts5(content, content=message, content_rowid=id)")
        connection.executemany("INSERT INTO message (content) VALUES (?)", ((text,) for text in texts))
        connection.execute("INSERT INTO found (found) VALUES ('rebuild')")
    connection.close()
    return len(texts)


def list_texts(value: Any) -> Iterator[str]:
    """Every text of a message, whatever the file calls it."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name in {"text", "content", "value"} and isinstance(part, str):
                yield part
            else:
                yield from list_texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from list_texts(part)


def make_file(path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for conversation in write_log(_MADE_MESSAGES):
            messages = [{"role": message.role, "content": message.content} for message in conversation.messages]
            file.write(json.dumps({"messages": messages}) + "\n")


def run_apart(side: str, path: Path, folder: Path) -> dict[str, float]:
    """Seconds, MiB and messages of one import in a process of its own."""
    database = folder / f"{side}-{time.monotonic_ns()}.db"
    command = [sys.executable, __file__, str(path), "--side", side, "--database", str(database)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(run.stdout)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("us", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--database", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        began = time.perf_counter()
        run = import_with_us if arguments.side == "us" else import_plainly
        messages = run(arguments.file, arguments.database)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": time.perf_counter() - began, "mib": memory, "messages": messages}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = arguments.file
        if path is None:
            path = folder / "made.jsonl"
            make_file(path)
        runs: dict[str, list[dict[str, float]]] = {"us": [], "peer": []}
        for _ in range(arguments.rounds):
            for side, results in runs.items():
                results.append(run_apart(side, path, folder))
        figures = {
            side: {key: round(statistics.median(run[key] for run in results), 1) for key in results[0]}
            for side, results in runs.items()
        }
    ratio = round(figures["us"]["seconds"] / figures["peer"]["seconds"], 2)
    if arguments.json:
        print(json.dumps({**figures, "ratio": ratio}, indent=2))
        return
    for side, values in figures.items():
        print(f"{side:<5} {values['seconds']:8.1f} s  {values['mib']:8.0f} MiB  {values['messages']:,.0f} messages")
    print(f"time, us / peer: {ratio}")


if __name__ == "__main__":
    main()
