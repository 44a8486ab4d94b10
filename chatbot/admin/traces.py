"""What runs and evaluations keep of a conversation beside its dataset items, to be deleted with it.

An evaluation keeps prompts and replies for paired tests, a run keeps the sample that it shows at each look. Both are
found by their text: a prompt that is word for word one of those forgotten goes with all that was answered to it.

A run may still be training while its samples are struck, and appends to the same file. So they are overwritten where
they stand: a file that is written anew and renamed would lose what was appended meanwhile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from chatbot.admin.training.events import METRICS
from chatbot.admin.training.holding import is_held
from chatbot.config import Home
from chatbot.errors import ChatbotError, LearningError, StoreError
from chatbot.store.database import Store


def forget_traces(store: Store, home: Home, texts: Iterable[str]) -> int:
    """Deletes what is kept of these texts; returns how many pieces. Each place is tried even if one before has failed.
    Raises StoreError, and LearningError for a file that cannot be cleared or that a run may write the texts to again:
    what it learns from was read when it began."""
    wanted = {text for text in texts if text.strip()}
    failures: list[ChatbotError] = []
    count = 0
    if not wanted:
        return count
    try:
        count += store.evaluations.forget_texts(sorted(wanted))
    except StoreError as error:
        failures.append(error)
    for path in sorted(home.runs.glob(f"*/{METRICS}")):
        try:
            struck = _strike_samples(path, wanted)
        except LearningError as error:
            failures.append(error)
            continue
        count += struck
        if struck and is_held(path.parent):
            failures.append(
                LearningError(
                    f"The run {path.parent.name} is training, and its next sample may show again what was forgotten.",
                    hint=f"Stop it, and then delete {path}.",
                )
            )
    if failures:
        raise failures[0]
    return count


def _strike_samples(path: Path, texts: set[str]) -> int:
    """Makes blanks of the lines, which no reader takes for an event; returns how many."""
    count = 0
    try:
        while _find_lines(path.read_bytes(), texts):  # and once more: a run that goes on puts another file in its place
            with path.open("r+b") as file:
                found = _find_lines(file.read(), texts)
                for place, length in found:
                    os.pwrite(file.fileno(), b" " * length, place)
                os.fsync(file.fileno())
            count += len(found)
    except OSError as error:
        raise LearningError(f"{path} cannot be cleared: {error.strerror}.", hint="Delete it by hand.") from None
    return count


def _find_lines(content: bytes, texts: set[str]) -> list[tuple[int, int]]:
    """Where each line begins that holds one of the texts, and its length without its end."""
    found, place = [], 0
    for line in content.split(b"\n"):
        if _holds(line, texts):
            found.append((place, len(line)))
        place += len(line) + 1
    return found


def _holds(line: bytes, texts: set[str]) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and bool({str(record.get("prompt")), str(record.get("reply"))} & texts)
