"""What a run writes, when the disk refuses: an error that says what is safe and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatbot.errors import LearningError
from chatbot.text import printable_line


@contextmanager
def explain_writing(what: str, folder: Path) -> Iterator[None]:
    """Turns the disk's refusals into a LearningError; `what` is such as `The checkpoint of step 20`."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise LearningError(
            f"{what} cannot be written to {folder}: {printable_line(reason, 200)}.",
            hint="Make room or mend the disk, then go on with --resume: what was saved before is whole.",
        ) from error
