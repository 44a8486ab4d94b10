"""Memory that does not suffice, as an error that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chatbot.engine.loading import is_out_of_memory
from chatbot.errors import OutOfMemory


@contextmanager
def explain_memory(what: str, hint: str) -> Iterator[None]:
    """Turns the allocators' refusals into an OutOfMemory; `what` is such as `The base model does`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"{what} not fit into memory.", hint=hint) from error
