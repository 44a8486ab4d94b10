"""What a run made becomes a model: one that answers, has a row, and is the candidate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chatbot.config import Home
from chatbot.errors import DatabaseBusy, ModelError
from chatbot.models.installation import install_adapter, lock_library
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.progress import SilentReporter
from chatbot.store.database import Store

if TYPE_CHECKING:
    from chatbot.admin.training.job import Job

_ATTEMPTS = 12
"""Of writing the row while the database is busy; each waits some seconds for it."""


def take_in(store: Store, home: Home, run_id: str, job: Job, made: Path, *, author: str) -> ModelFolder:
    """The adapter in the folder `made` as a model of the library, as a row, and as the candidate: under the library's
    lock, so that two trainings that end together choose different names. What the run put there before it was killed is
    taken as it is. Raises ModelError, StoreError."""
    library = ModelLibrary(home.models)
    with lock_library(library, SilentReporter()):
        source = f"run:{run_id}"
        adapter = find_made(library, source)
        if adapter is None:
            name = choose_name(store, library, job.dataset.manifest.name)
            adapter = install_adapter(library, name, made, base=job.model, source=source)
        register(store, run_id, adapter, author)
    return adapter


def register(store: Store, run_id: str, model: ModelFolder, author: str) -> None:
    """The row of what a run made, the candidate, and the run's end. Raises StoreError."""
    for attempt in range(_ATTEMPTS):
        try:
            store.registration.register(
                run_id,
                model.name,
                path=str(model.path),
                sha256=model.sha256,
                base_sha=model.manifest.base_sha256 or model.sha256,
                template_sha=model.template_sha,
                tokenizer_sha=model.manifest.tokenizer_sha256,
                author=author,
                kind=model.kind,
            )
            return
        except DatabaseBusy:
            if attempt == _ATTEMPTS - 1:
                raise


def find_made(library: ModelLibrary, source: str) -> ModelFolder | None:
    """The model that a run put into the library before it was killed; one that is not whole is deleted."""
    for found in library.list():
        if found.manifest.source == source:
            try:
                return library.find_verified(found.name)
            except ModelError:
                library.remove(found.name)
    return None


def choose_name(store: Store, library: ModelLibrary, dataset: str) -> str:
    """DATASET-K with the first K that neither a folder nor a row has: names are never used twice."""
    taken = {one.name for one in store.model_versions.list()}
    number = 1
    while f"{dataset}-{number}" in taken or (library.folder / f"{dataset}-{number}").exists():
        number += 1
    return f"{dataset}-{number}"
