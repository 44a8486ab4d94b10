"""kill -9 of the terminal while a reply streams: no finished message lost, at most half a second of the partial one."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatbot.config import Home, Settings
from chatbot.store.database import Store
from chatbot.store.migrations import upgrade

FLUSH_SECONDS = 0.5
TRANSIT_SECONDS = 0.15  # from the server's log line to the commit, on a loaded machine
RATE = 60  # words a second


@pytest.fixture
def paced_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """(URL, log) of a server that says numbered words."""
    port_file, log = tmp_path / "port", tmp_path / "words.log"
    program = Path(__file__).parent.parent / "paced_server.py"
    process = subprocess.Popen([sys.executable, program, port_file, str(RATE), "100000", log])
    try:
        wait_until(lambda: port_file.exists() and bool(port_file.read_text()), "the paced server's port")
        yield f"http://127.0.0.1:{port_file.read_text()}/v1", log
    finally:
        process.kill()
        process.wait()


def wait_until(condition: object, what: str, seconds: float = 30.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


class Terminal:
    """`chatbot` in a pseudo-terminal of 100×30."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "chatbot", *arguments], environment)
        with contextlib.suppress(OSError):
            import fcntl
            import struct
            import termios

            fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))

    def read(self, seconds: float = 0.0) -> bytes:
        """What the program wrote, until it pauses for `seconds`."""
        data = b""
        while select.select([self.descriptor], [], [], seconds)[0]:
            try:
                block = os.read(self.descriptor, 65536)
            except OSError:
                break
            if not block:
                break
            data += block
        return data

    def write(self, data: bytes) -> None:
        os.write(self.descriptor, data)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.descriptor)


def count_words(log: Path) -> int:
    return log.read_text().count("\n") if log.exists() else 0


def stream_and_kill(terminal: Terminal, prompt: str, log: Path, after: float) -> float:
    """Says `prompt`, kills the terminal `after` seconds of its reply, and returns when."""
    before = count_words(log)
    wait_until(lambda: b"\x1b[" in terminal.read(0.2), "the first frame")
    terminal.write(prompt.encode())
    terminal.read(0.1)
    terminal.write(b"\r")
    wait_until(lambda: (terminal.read(), count_words(log) > before)[1], f"the reply to {prompt}")
    end = time.monotonic() + after
    while time.monotonic() < end:
        terminal.read(0.01)
    killed = time.monotonic()
    terminal.kill()
    return killed


def test_kill_the_terminal_while_it_streams(
    home: Home, paced_server: tuple[str, Path], kills: int, record_property: Callable[[str, object], None]
) -> None:
    url, log = paced_server
    upgrade(home.database_url(Settings()))
    database = home.data / "chatbot.db"
    environment = {**os.environ, "CHATBOT_ENGINE_URL": url, "CHATBOT_MODEL": "paced", "TERM": "xterm-256color"}
    random_source = random.Random(20)
    finished: dict[str, tuple[str, str]] = {}
    worst_loss = 0.0
    for number in range(kills):
        said = f"prompt-{number}"
        killed = stream_and_kill(Terminal(environment), said, log, random_source.uniform(0.0, 2.0))

        with contextlib.closing(sqlite3.connect(database)) as connection:
            rows = {
                row[0]: (row[1], row[2], row[3])
                for row in connection.execute("SELECT id, role, content, status FROM message")
            }
        for message_id, (role, content) in finished.items():
            assert rows[message_id][:2] == (role, content), "a finished message changed or was lost"
        assert said in {content for role, content, _ in rows.values() if role == "user"}, "the prompt was lost"
        new = [key for key, (role, _, _) in rows.items() if role == "assistant" and key not in finished]
        kept = [rows[key][1] for key in new]
        lines = [line.split() for line in log.read_text().splitlines() if len(line.split()) == 3]
        last_request = max(int(line[0]) for line in lines)
        times = {int(word): float(at) for request, word, at in lines if int(request) == last_request}
        due = [word for word, at in times.items() if at < killed - FLUSH_SECONDS - TRANSIT_SECONDS]
        received = max((len(text.split()) for text in kept), default=0)
        assert received >= len(due), f"{len(due)} words were due, {received} are kept"
        if received < max(times):
            worst_loss = max(worst_loss, killed - times[received + 1])
        for text in kept:
            assert text.split() == [str(word) for word in range(1, len(text.split()) + 1)]
        finished |= {key: row[:2] for key, row in rows.items()}
    with Store.open(home.database_url(Settings())) as store:
        assert store.verify() == []
        store.replies.mark_interrupted()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        states = dict(connection.execute("SELECT status, count(*) FROM message WHERE role = 'assistant' GROUP BY 1"))
    assert set(states) <= {"interrupted"}, states
    record_property("worst_loss_seconds", round(worst_loss, 3))
    print(f"{kills} kills of the terminal; at most {worst_loss:.2f} s of a reply lost; states {states}")  # noqa: T201
