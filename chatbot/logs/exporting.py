"""Exporting: the conversations that a filter means, written piece by piece in one of the forms of `formats.writing`.

A file appears under its name only when it is whole, and is readable by its owner only.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from chatbot.errors import InvalidInput, NotFound
from chatbot.files import sync_folder
from chatbot.logs.formats.writing import find_writer
from chatbot.store.archive_records import ArchivedConversation
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter


def export_logs(
    store: Store, asked: LogFilter, form: str, *, on_conversation: Callable[[], object] | None = None
) -> Iterator[str]:
    """The text in pieces; what is forgotten meanwhile is left out. Raises NotFound for a form that there is not,
    StoreError."""
    write = find_writer(form).write

    def read() -> Iterator[ArchivedConversation]:
        for conversation_id in store.logs.each_id(asked):
            try:
                conversation = store.archive.read(conversation_id)
            except NotFound:
                continue
            yield conversation
            if on_conversation:
                on_conversation()

    return write(read())


def write_pieces(path: Path, pieces: Iterable[str], *, replace: bool = False) -> None:
    """Raises InvalidInput if `path` exists and is not to be replaced, or cannot be written."""
    if path.exists() and not replace:
        raise InvalidInput(f"{path} exists already.", hint="Choose another name, or give --force.")
    try:
        descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")  # private from birth
    except OSError as error:
        raise InvalidInput(f"{path.parent} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        sync_folder(path.absolute().parent)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        Path(name).unlink(missing_ok=True)
