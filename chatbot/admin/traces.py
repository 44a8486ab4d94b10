"""What runs and evaluations keep of a conversation beside its dataset items, to be deleted with it.

An evaluation keeps prompts and replies for paired tests, a run keeps the sample that it shows at each look. Both are
found by their text: a prompt that is word for word one of those forgotten goes with all that was answered to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from chatbot.admin.training.events import METRICS
from chatbot.config import Home
from chatbot.errors import ChatbotError, LearningError, StoreError
from chatbot.files import write_file
from chatbot.store.database import Store


def forget_traces(store: Store, home: Home, texts: Iterable[str]) -> int:
    """Deletes what is kept of these texts; returns how many pieces. Each place is tried even if one before has failed.
    Raises StoreError, LearningError."""
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
            count += _strike_samples(path, wanted)
        except LearningError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return count


def _strike_samples(path: Path, texts: set[str]) -> int:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not _holds(line, texts)]
        if len(kept) < len(lines):
            write_file(path, b"".join(kept))
    except OSError as error:
        raise LearningError(f"{path} cannot be cleared: {error.strerror}.", hint="Delete it by hand.") from None
    return len(lines) - len(kept)


def _holds(line: bytes, texts: set[str]) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and bool({str(record.get("prompt")), str(record.get("reply"))} & texts)
