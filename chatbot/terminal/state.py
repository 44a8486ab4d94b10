"""What the terminal remembers from one start to the next: the theme that was chosen in it."""

from __future__ import annotations

import json
from pathlib import Path

from chatbot.config import Home
from chatbot.files import write_file


def _path(home: Home) -> Path:
    return home.state / "terminal.json"


def read_theme(home: Home) -> str:
    """The theme that was chosen last; empty if none was, or the file cannot be read."""
    try:
        theme = json.loads(_path(home).read_text("utf-8"))["theme"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return theme if isinstance(theme, str) else ""


def write_theme(home: Home, theme: str) -> None:
    """Raises OSError."""
    write_file(_path(home), json.dumps({"theme": theme}) + "\n")
