"""kill -9 in the middle of turns, and a disk that fills up: what was finished is there, what was growing nearly all.

Two chats at a time hold conversations in one database. Each is killed at a random moment, fifty times; another starts
in its place while the other one goes on.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from chatbot.config import Home, Settings
from chatbot.store.database import Store
from chatbot.store.migrations import upgrade

pytestmark = pytest.mark.slow
log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=INFO

KILLS = 100
LOST_AT_MOST = 0.5  # seconds of a partial reply


@dataclass
class Talker:
    """What one child has told."""

    pid: int = 0
    killed: float = 0.0
    said: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    reply: str = ""
    pieces: list[tuple[float, str]] = field(default_factory=list)
    failure: dict[str, Any] = field(default_factory=dict)

    def hear(self, event: str, moment: float, values: dict[str, Any]) -> None:
        match event:
            case "begun":
                self.pid = values["pid"]
            case "started":
                self.said[values["user"]] = values["said"]
                self.reply, self.pieces = values["reply"], []
            case "text":
                self.pieces.append((moment, values["text"]))
            case "ended":
                self.ended[values["reply"]] = values["content"]
            case "failed":
                self.failure = values


class Crowd:
    """The forking process and its children."""

    def __init__(self, spare_bytes: int = 0) -> None:
        program = Path(__file__).with_name("talking_process.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(spare_bytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.talkers: dict[str, Talker] = defaultdict(Talker)
        self._listener = threading.Thread(target=self._listen, args=(self.process.stdout,))
        self._listener.start()

    def start(self, name: str) -> Talker:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        wait_until(lambda: self.talkers[name].pid > 0)
        return self.talkers[name]

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            name, event, moment, values = line.split(" ", 3)
            self.talkers[name].hear(event, float(moment), json.loads(values))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self._listener.join(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    url = home.database_url(Settings())
    upgrade(url)
    with Store.open(url) as opened:
        yield opened


def kill_one_after_another(crowd: Crowd, lane: int, moments: list[float]) -> None:
    for number, moment in enumerate(moments):
        talker = crowd.start(f"lane{lane}-{number}")
        time.sleep(moment)
        talker.killed = time.monotonic()
        os.kill(talker.pid, signal.SIGKILL)


def test_kill_9_at_random_moments(store: Store) -> None:
    randomness = random.Random(2)
    crowd = Crowd()
    lanes = [
        threading.Thread(
            target=kill_one_after_another,
            args=(crowd, lane, [randomness.uniform(0.02, 0.8) for _ in range(KILLS // 2)]),
        )
        for lane in range(2)
    ]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    crowd.close()

    assert store.verify() == []
    store.replies.mark_interrupted()
    statuses: dict[str, int] = defaultdict(int)
    oldest_lost = 0.0
    for talker in crowd.talkers.values():
        for message_id, said in talker.said.items():
            assert store.messages.get(message_id).content == said
        for message_id, content in talker.ended.items():
            message = store.messages.get(message_id)
            assert (message.content, message.status) == (content, "complete")
        if not talker.reply or talker.reply in talker.ended:
            continue
        reply = store.messages.get(talker.reply)
        statuses[reply.status] += 1
        received = ""
        for moment, text in talker.pieces:
            received += text
            if len(received) > len(reply.content):
                oldest_lost = max(oldest_lost, talker.killed - moment)
                break
        whole = "".join(text for _, text in talker.pieces)
        assert whole.startswith(reply.content) or reply.content.startswith(whole)
    finished = sum(len(talker.ended) for talker in crowd.talkers.values())
    log.info("%d kills: %d replies finished, %s cut off", len(crowd.talkers), finished, dict(statuses))
    log.info("the oldest text that was lost was %.3f s old", oldest_lost)
    assert len(crowd.talkers) == KILLS
    assert finished > 50
    assert statuses["interrupted"] > 20
    assert set(statuses) <= {"interrupted", "complete"}  # one may have ended just before it could say so
    assert oldest_lost <= LOST_AT_MOST


def test_a_disk_that_is_full(store: Store) -> None:
    crowd = Crowd(spare_bytes=20_000)
    talker = crowd.start("talker")
    wait_until(lambda: bool(talker.failure), seconds=60)
    crowd.close()
    assert talker.failure["kind"] == "DatabaseUnwritable", talker.failure
    assert str(store.path) in talker.failure["message"]
    assert talker.ended
    for message_id, content in talker.ended.items():
        assert store.messages.get(message_id).content == content
    for message_id, said in talker.said.items():
        assert store.messages.get(message_id).content == said
    assert store.verify() == []
    store.replies.mark_interrupted()
    if talker.reply not in talker.ended:
        assert store.messages.get(talker.reply).status in {"interrupted", "failed"}
