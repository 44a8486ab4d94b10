"""From a key to its letter on the screen while a reply streams, in a real pseudo-terminal.

    python benchmarks/key_latency.py [--keys 200] [--rate 100]

The reply comes from a server in another process at `rate` words a second, long enough to fill the screen many times,
with headings, lists and code in it. A letter is typed every 50 to 150 ms; the time runs from the write into the
terminal until the bytes that draw the letter have been read. The same is measured with no reply under way, for
comparison. The 95th percentile while streaming must stay below 50 ms.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from terminal_driver import Session

LETTERS = "ЖЩЪЭЮЯЦЧБГДЗИЙЛПУФХЫ"  # in no reply and no label, each once a line: a byte search finds only its echo


def type_keys(session: Session, count: int, source: random.Random) -> list[float]:
    """Milliseconds from each key to its echo."""
    taken = []
    session.drawing = False
    for number in range(count):
        pause = time.perf_counter() + source.uniform(0.05, 0.15)
        while time.perf_counter() < pause:
            session.pump(0.005)
        letter = LETTERS[number % len(LETTERS)]
        place = len(session.raw)
        began = time.perf_counter()
        session.write(letter)
        while session.raw.find(letter.encode(), max(0, place - 1)) < 0:
            session.pump(0.001)
            if time.perf_counter() - began > 5:
                message = f"no echo of {letter}:\n{session.text}"
                raise TimeoutError(message)
        taken.append(1000 * (session.last_read - began))
        if number % len(LETTERS) == len(LETTERS) - 1:
            session.write("\x15")  # Ctrl+U: the prompt stays short
    session.drawing = True
    return taken


def describe(name: str, taken: list[float]) -> None:
    ordered = sorted(taken)
    ninety_fifth = ordered[int(0.95 * len(ordered))]
    print(
        f"{name:10} median {statistics.median(ordered):5.1f} ms   95th percentile {ninety_fifth:5.1f} ms   "
        f"worst {ordered[-1]:5.1f} ms   ({len(ordered)} keys)"
    )


def wait_for(session: Session, text: str, seconds: float = 30.0) -> None:
    end = time.perf_counter() + seconds
    while text not in session.text:
        session.pump(0.01)
        if time.perf_counter() > end:
            message = f"waited in vain for {text!r}:\n{session.text}"
            raise TimeoutError(message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--rate", type=float, default=100.0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chatbot-bench-"))
    port_file = folder / "port"
    server = Path(__file__).with_name("streaming_server.py")
    process = subprocess.Popen([sys.executable, str(server), str(port_file), str(arguments.rate)])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHATBOT_")}
    try:
        while not port_file.exists() or not port_file.read_text():
            time.sleep(0.02)
        environment |= {
            "CHATBOT_HOME": str(folder / "home"),
            "CHATBOT_MODEL": "streaming",
            "CHATBOT_ENGINE_URL": f"http://127.0.0.1:{port_file.read_text()}/v1",
        }
        session = Session([str(Path(sys.executable).with_name("chatbot"))], environment)
        wait_for(session, "ready")
        source = random.Random(1)
        idle = type_keys(session, arguments.keys // 2, source)
        session.write("\x15go\r")
        wait_for(session, "%)")
        wait_for(session, "writing")
        while session.text.count("word") < 20:
            session.pump(0.01)
        streaming = type_keys(session, arguments.keys, source)
        place = len(session.raw)
        while still := time.perf_counter() - session.last_read < 2:
            session.pump(0.05)
            if session.raw.find(b"word", place) >= 0:
                break
        session.close()
    finally:
        process.kill()
        process.wait()
    describe("idle", idle)
    describe("streaming", streaming)
    if not still:
        print("the reply ended before the last key: ask for fewer keys")
        sys.exit(1)


if __name__ == "__main__":
    main()
