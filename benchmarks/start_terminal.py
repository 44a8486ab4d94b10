"""From the command to a prompt that echoes a typed key, beside elia and oterm, each in a real pseudo-terminal.

    python benchmarks/start_terminal.py [--runs 9] [--peers FOLDER]

A key is typed as soon as the program has switched to its own screen, again every 10 ms until it is seen, and the time
is taken when the terminal (pyte) shows the letter. Runs of the three take turns, after one unmeasured run of each, so
that they see the same load and the same warm cache. The peers live in venvs of their own, made in FOLDER when missing;
a peer that cannot be installed is left out and said so. oterm has no prompt before a model server is there and a chat
is made, so for it the time is that of its first frame, which flatters it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from terminal_driver import Session

PEERS = {"elia": "elia-chat", "oterm": "oterm"}
LETTER = "q"
COPIES = 3  # of the letter on screen: no heading or help text has three in a row
DEADLINE = 20.0


def install(folder: Path, command: str, package: str) -> Path | None:
    """The peer's command, installed into a venv of its own."""
    program = folder / command / "bin" / command
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / command)], check=True)
        pip = [str(folder / command / "bin" / "python"), "-m", "pip", "install", "--quiet", package]
        if subprocess.run(pip, check=False).returncode != 0:
            return None
    return program


def measure(command: list[str], environment: dict[str, str], echo: bool) -> float:
    """Seconds from the start of `command` until the letter typed into it is on its screen, or (no `echo`) anything."""
    session = Session(command, environment)
    try:
        typed_at = 0.0
        while time.perf_counter() - session.began < DEADLINE:
            session.pump(0.002)
            if session.in_application and time.perf_counter() - typed_at > 0.01:
                typed_at = time.perf_counter()
                session.write(LETTER)
            if LETTER * COPIES in session.text or (not echo and session.in_application and session.text.strip()):
                return session.last_read - session.began
        message = f"{command[0]} echoed nothing within {DEADLINE} s:\n{session.text}"
        raise TimeoutError(message)
    finally:
        session.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "chatbot-peers")
    arguments = parser.parse_args()

    home = tempfile.mkdtemp(prefix="chatbot-bench-")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CHATBOT_")},
        "HOME": home,
        "XDG_CONFIG_HOME": f"{home}/config",
        "XDG_DATA_HOME": f"{home}/data",
        "XDG_STATE_HOME": f"{home}/state",
        "CHATBOT_HOME": f"{home}/chatbot",
        # No engine: what is measured is the screen. The address refuses connections at once.
        "CHATBOT_ENGINE_URL": "http://127.0.0.1:9/v1",
        "OPENAI_API_KEY": "none",
    }
    programs = {"chatbot": [str(Path(sys.executable).with_name("chatbot"))]}
    for command, package in PEERS.items():
        program = install(arguments.peers, command, package)
        if program is None:
            print(f"{command}: could not be installed, left out")
        else:
            programs[command] = [str(program)]

    times: dict[str, list[float]] = {name: [] for name in programs}
    for run in range(arguments.runs + 1):
        for name, words in list(programs.items()):
            try:
                seconds = measure(words, environment, echo=name != "oterm")
            except TimeoutError as error:
                print(error)
                del programs[name]
                continue
            if run:
                times[name].append(seconds)
    ours = statistics.median(times["chatbot"])
    for name, taken in times.items():
        if taken:
            middle = statistics.median(taken)
            spread = f"fastest {min(taken):.3f}, slowest {max(taken):.3f}, {len(taken)} runs"
            print(f"{name:8} median {middle:.3f} s  ({spread})  ratio to chatbot {middle / ours:.2f}")


if __name__ == "__main__":
    main()
