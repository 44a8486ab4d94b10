"""The program itself in a pseudo-terminal: start, keys, paste, resize, the clipboard under tmux, drafts and kill -9."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatbot.terminal.clipboard import copy
from tests.terminal.conftest import Terminal

SERVER = Path(__file__).parent.parent / "paced_server.py"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables that point the chat to a server that says «1 2 3 …» and stops at 40."""
    port_file = tmp_path / "port"
    process = subprocess.Popen([sys.executable, SERVER, port_file, "200", "40", tmp_path / "words.log"])
    try:
        end = time.monotonic() + 30
        while not (port_file.exists() and port_file.read_text()):
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.01)
        yield {"CHATBOT_ENGINE_URL": f"http://127.0.0.1:{port_file.read_text()}/v1", "CHATBOT_MODEL": "paced"}
    finally:
        process.kill()
        process.wait()


def test_a_turn_from_start_to_end(start: Callable[..., Terminal], server: dict[str, str]) -> None:
    terminal = start("-m", "chatbot", **server)
    terminal.until_shown("Write a message")
    terminal.write("Count, please 请数\r")
    terminal.until_shown("┃ Count, please 请数")
    terminal.until_shown("38 39 40")
    terminal.until_shown("tok/s")
    terminal.write("\x11")  # Ctrl+Q
    terminal.until(lambda: terminal.has_ended, "the end")
    assert terminal.raw.rstrip().endswith(b"\x1b[?1049l") or b"\x1b[?1049l" in terminal.raw[-400:]
    assert b"\x1b]2;" in terminal.raw, "the window has a title"
    assert b"\x1b[23;2t" in terminal.raw, "the window has its old title again"


def test_what_is_typed_at_once_keeps_its_order(start: Callable[..., Terminal], server: dict[str, str]) -> None:
    terminal = start("-m", "chatbot", **server)
    terminal.until_shown("Write a message")
    terminal.write("abc\x7f\x7fX\x15one\rtwo")
    terminal.until_shown("┃ one")
    terminal.until(lambda: any(line.rstrip().endswith(" two") for line in terminal.screen.display[-4:]), "the prompt")


def test_a_bracketed_paste_is_folded(start: Callable[..., Terminal], server: dict[str, str]) -> None:
    terminal = start("-m", "chatbot", **server)
    terminal.until_shown("Write a message")
    terminal.write("\x1b[200~" + "line\r" * 49 + "last\x1b[201~")
    terminal.until_shown("[pasted 50 lines #1]")


def test_the_screen_follows_the_terminals_size(start: Callable[..., Terminal], server: dict[str, str]) -> None:
    terminal = start("-m", "chatbot", columns=120, rows=36, **server)
    terminal.until_shown("Conversations")
    terminal.resize(60, 20)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.until(
        lambda: "Conversations" not in terminal.text and "Write a message" in terminal.text, "the narrow one"
    )
    assert "paced" in terminal.screen.display[19]
    terminal.resize(120, 36)
    os.kill(terminal.pid, signal.SIGWINCH)
    terminal.until_shown("Conversations")


@pytest.mark.parametrize("tmux", [True, False])
def test_copying_writes_the_terminals_clipboard(
    start: Callable[..., Terminal], server: dict[str, str], tmux: bool
) -> None:
    variables = {**server, "SSH_TTY": "/dev/pts/0"} | ({"TMUX": "/nowhere/tmux,1,0"} if tmux else {})
    terminal = start("-m", "chatbot", **variables)
    terminal.until_shown("Write a message")
    terminal.write("go\r")
    terminal.until_shown("38 39 40")
    terminal.until_shown("● ready")
    terminal.write("/copy\r")
    terminal.until_shown("Copied the reply")
    text = "".join(f"{number} " for number in range(1, 41))
    sequence = b"\x1b]52;c;" + base64.b64encode(text.encode()) + b"\x07"
    expected = b"\x1bPtmux;\x1b" + sequence + b"\x1b\\" if tmux else sequence
    assert expected in terminal.raw


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_copying_under_a_real_tmux_with_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tmux-"))  # a socket's path may not be as long as pytest's folders are
    tmux = ["tmux", "-S", str(folder / "socket"), "-f", os.devnull]
    wait = [*tmux, "new-session", "-d", "sleep", "60"]
    try:
        subprocess.run(wait, check=True)
        monkeypatch.setenv("TMUX", f"{folder / 'socket'},1,0")
        sent: list[str] = []
        copy("你好 \x1b]0;x\x07\nline", sent.append, {**os.environ, "SSH_TTY": "/dev/pts/0"})
        shown = subprocess.run([*tmux, "show-buffer"], check=True, capture_output=True).stdout
        assert shown.decode() == "你好 \x1b]0;x\x07\nline"
        assert not sent, "tmux has told the terminal outside"
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
        shutil.rmtree(folder)


def test_an_editor_that_does_not_start_gives_the_terminal_back(
    start: Callable[..., Terminal], server: dict[str, str]
) -> None:
    terminal = start("-m", "chatbot", **server, VISUAL="/nowhere/editor")
    terminal.until_shown("● ready")
    terminal.write("kept")
    terminal.until_shown("kept")
    terminal.write("\x0f")  # Ctrl+O
    terminal.until_shown("does not start")
    terminal.write(" and on")
    terminal.until_shown("kept and on")


def test_a_draft_outlives_kill_9(start: Callable[..., Terminal], server: dict[str, str]) -> None:
    terminal = start("-m", "chatbot", **server)
    terminal.until_shown("● ready")
    terminal.write("half a thought")
    terminal.until_shown("half a thought")
    end = time.monotonic() + 1.5  # the delay of drafts, and a slow disk
    terminal.until(lambda: time.monotonic() > end, "the draft to be kept")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.until(lambda: terminal.has_ended, "the end")
    start("-m", "chatbot", **server).until_shown("half a thought")
