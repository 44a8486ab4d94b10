"""Texts that a command is given: as arguments, on standard input, or from the user's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chatbot.errors import InvalidInput


def check_text(text: str, what: str) -> str:
    """`text`, if it can be stored. Raises InvalidInput for bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} is not UTF-8.", hint="Set the locale to UTF-8, or use standard input.") from None
    return text


def read_text(words: Sequence[str], draft: str, what: str) -> str:
    """The words joined; for a `-`, or without words where there is no terminal, standard input; else `draft` after
    the user's editor has had it. Raises InvalidInput."""
    if words and list(words) != ["-"]:
        return check_text(" ".join(words), what)
    if words or sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _read_input()
    return edit_text(draft)


def _read_input() -> str:
    if sys.stdin is None:  # closed by the caller
        raise InvalidInput("There is no standard input to read the text from.")
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8").strip("\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidInput(
            f"Standard input is not UTF-8: byte {error.start} (line {line}) is 0x{data[error.start]:02x}.",
            hint="Convert it first, for example with `iconv -f latin1 -t utf-8`.",
        ) from None


def edit_text(text: str) -> str:
    """`text` after $VISUAL or $EDITOR (else vi) has had it, in a private file that is gone afterwards.

    Raises InvalidInput if the editor does not start, fails, changes nothing, or leaves bytes that are not UTF-8.
    """
    wanted = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = shlex.split(wanted) or ["vi"]
    except ValueError as error:
        raise InvalidInput(f"$VISUAL or $EDITOR is no command: {error}.", hint="Set it to one such as vi.") from None
    with tempfile.TemporaryDirectory(prefix="chatbot-") as folder:
        path = Path(folder) / "reply.md"
        path.touch(mode=0o600)
        draft = text.encode("utf-8", "replace")
        path.write_bytes(draft)
        try:
            status = subprocess.run([*command, str(path)], check=False).returncode  # noqa: S603  the user's own editor
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
            raise InvalidInput(
                f"The editor {command[0]} does not start: {reason}.", hint="Set $EDITOR to one that does."
            ) from None
        if status != 0:
            raise InvalidInput(f"The editor ended with status {status}; nothing is changed.")
        try:
            left = path.read_bytes()
            edited = left.decode()
        except (OSError, UnicodeDecodeError):
            raise InvalidInput("The editor left no file in UTF-8; nothing is changed.") from None
    # Editors end a last line that had no end.
    if left in {draft, draft + b"\n"}:
        raise InvalidInput("The text is as it was; nothing is changed.")
    return edited if draft.endswith(b"\n") else edited.removesuffix("\n")
