"""Writing the prompt in the user's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from chatbot.errors import InvalidInput

if TYPE_CHECKING:
    from textual.app import App


def edit_text(app: App[None], text: str) -> str:
    """`text` after $VISUAL or $EDITOR (else vi) has had it, in a private file that is gone afterwards.

    The terminal is the editor's meanwhile. Raises InvalidInput if the editor does not start, fails, or leaves bytes
    that are not UTF-8.
    """
    wanted = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = shlex.split(wanted) or ["vi"]
    except ValueError as error:
        raise InvalidInput(f"$VISUAL or $EDITOR is no command: {error}.", hint="Set it to one such as vi.") from None
    with tempfile.TemporaryDirectory(prefix="chatbot-") as folder:
        path = Path(folder) / "prompt.md"
        path.touch(mode=0o600)
        path.write_text(text, "utf-8", errors="replace")
        status, refusal = 0, ""
        with app.suspend():  # nothing may be raised in here: Textual would not take the terminal back
            try:
                status = subprocess.run([*command, str(path)], check=False).returncode  # noqa: S603  the user's own editor
            except (OSError, ValueError) as error:
                refusal = (error.strerror if isinstance(error, OSError) else "") or str(error)
        if refusal:
            raise InvalidInput(
                f"The editor {command[0]} does not start: {refusal}.", hint="Set $EDITOR to one that does."
            )
        if status != 0:
            raise InvalidInput(f"The editor ended with status {status}; the prompt is as it was.")
        try:
            return path.read_text("utf-8").removesuffix("\n")
        except UnicodeDecodeError:
            raise InvalidInput("The editor saved text that is not UTF-8; the prompt is as it was.") from None
