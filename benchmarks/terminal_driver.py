"""A program in a pseudo-terminal, watched as a person watches it: by what is on its screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Sequence

import pyte

COLUMNS, ROWS = 120, 36


class Session:
    """Starts a command in a terminal of 120×36; `began` and `last_read` are times of `time.perf_counter`."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._screen.write_process_input = self._answer
        self.raw = bytearray()
        self.drawing = True
        """Whether pyte draws what is read; it is slower than a terminal, so not while reading is what is timed."""
        self.last_read = 0.0
        self.began = time.perf_counter()
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], list(command), {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def _answer(self, data: str) -> None:
        self.write(data)

    @property
    def in_application(self) -> bool:
        """Whether the program has switched to the alternate screen."""
        return b"\x1b[?1049h" in self.raw

    @property
    def text(self) -> str:
        return "\n".join(self._screen.display)

    def write(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def pump(self, seconds: float = 0.0) -> bool:
        """Draws what the program wrote, waiting at most `seconds` for the first of it; whether there was anything."""
        got = False
        while select.select([self.descriptor], [], [], 0 if got else seconds)[0]:
            try:
                block = os.read(self.descriptor, 1 << 16)
            except OSError:
                break
            if not block:
                break
            self.last_read = time.perf_counter()
            got = True
            self.raw += block
            if self.drawing:
                self._stream.feed(block)
        return got

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self.descriptor)
