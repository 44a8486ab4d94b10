"""Copying to the clipboard of the machine that the reader sits at.

The terminal does it (OSC 52), which also works over SSH. tmux is asked by its own command, which sets its paste buffer
and, as its set-clipboard allows, the clipboard outside: the sequence in a wrapper, which serves where that command
fails, is dropped under tmux's default allow-passthrough. screen passes the sequence on only inside a wrapper.
On the local machine the desktop's own tool is used as well, because some terminals refuse OSC 52. The text is base64:
nothing in it can be a control sequence.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence

TOOLS = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("DISPLAY", ("xsel", "--clipboard", "--input")),
    ("", ("pbcopy",)),
)
_SCREEN_CHUNK = 240  # GNU screen cuts longer device control strings


def copy(text: str, write: Callable[[str], object], environment: Mapping[str, str]) -> None:
    """Puts `text` into the clipboard. `write` sends characters to the terminal. Never raises."""
    if not (environment.get("TMUX") and _run(("tmux", "load-buffer", "-w", "-"), text)):
        write(encode_osc52(text, environment))
    if is_remote(environment):
        return
    if tool := find_tool(environment):
        _run(tool, text)


def _run(command: Sequence[str], text: str) -> bool:
    """Whether `command` took `text` on its standard input."""
    try:
        # Standard output is closed to it: xclip stays behind as a server and would hold on to the terminal.
        done = subprocess.run(  # noqa: S603
            command, input=text.encode(errors="replace"), timeout=2, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def encode_osc52(text: str, environment: Mapping[str, str]) -> str:
    """The sequence that sets the clipboard, wrapped for the multiplexer that the environment tells of."""
    payload = base64.b64encode(text.encode(errors="replace")).decode()
    sequence = f"\x1b]52;c;{payload}\x07"
    if environment.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environment.get("TERM", "").startswith("screen") or environment.get("STY"):
        chunks = (sequence[start : start + _SCREEN_CHUNK] for start in range(0, len(sequence), _SCREEN_CHUNK))
        return "".join(f"\x1bP{chunk}\x1b\\" for chunk in chunks)
    return sequence


def is_remote(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))


def find_tool(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """The first of the desktop's tools that is there and has a display to talk to."""
    for variable, command in TOOLS:
        if (not variable or environment.get(variable)) and shutil.which(command[0], path=environment.get("PATH")):
            return command
    return None
