"""A model out of a repository of the Hugging Face hub, through its own client.

The client honours HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE. Its own retries can take minutes when there is no network,
so one question with a deadline goes first: what is in the repository? The answer names the commit, and every file is
then taken from that commit. When a connection breaks the client goes on where it stopped; when it gives up, or the
process is killed, the files that had come whole are kept for the next try.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chatbot.errors import ModelDamaged, ModelError, ModelNotFound, SourceUnreachable
from chatbot.files import hash_file
from chatbot.models.catalogue import HubSource
from chatbot.models.inspection import choose_files, inspect_settings
from chatbot.models.progress import Reporter, report_growth, report_step
from chatbot.text import printable_line

_ANSWER = 6.0  # seconds for the first answer, name resolution included
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Repository:
    """What the hub says of a repository."""

    commit: str
    licence: str
    files: dict[str, int]
    """The files that make up the model, with their sizes in bytes."""

    @property
    def size(self) -> int:
        return sum(self.files.values())


def ask_hub(source: HubSource, *, endpoint: str | None = None) -> Repository:
    """Raises SourceUnreachable, ModelNotFound for an unknown repository, ModelRefused for pickled weights."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(endpoint=endpoint, library_name="chatbot")

    def ask() -> Any:
        return api.model_info(source.repository, revision=source.revision, timeout=_ANSWER, files_metadata=True)

    try:
        answer = _call_with_deadline(ask, _ANSWER)
    except RevisionNotFoundError:
        raise ModelNotFound(f"{source.repository} has no revision {source.revision}.") from None
    except RepositoryNotFoundError:
        raise ModelNotFound(
            f"The hub has no repository {source.repository}, or not for you.",
            hint="For a gated or private one, set HF_TOKEN.",
        ) from None
    except Exception as error:  # noqa: BLE001  the client lets many kinds of httpx and its own through
        raise SourceUnreachable(f"The hub cannot be reached: {_explain(error)}.") from None
    sizes = {file.rfilename: int(file.size or 0) for file in answer.siblings or []}
    chosen = choose_files(list(sizes), source.repository)
    card = answer.card_data
    licence = str(getattr(card, "license", None) or "") if card else ""
    return Repository(str(answer.sha), licence, {name: sizes[name] for name in chosen})


def fetch_repository(
    source: HubSource,
    repository: Repository,
    folder: Path,
    partial: Path,
    reporter: Reporter,
    *,
    endpoint: str | None = None,
) -> None:
    """Downloads the files by way of `partial`, where they stay if it is interrupted, into `folder`.

    Raises SourceUnreachable, ModelRefused before the weights are fetched, or ModelDamaged if a file is not the one that
    the catalogue names.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it tells of each retry in the middle of the bar
    partial.mkdir(parents=True, exist_ok=True, mode=0o700)
    for half in partial.rglob("*.incomplete"):  # the client takes none up that another process began
        half.unlink()
    try:
        with report_growth(reporter, "Downloading", partial, repository.size):
            for name in repository.files:
                if name.endswith(".safetensors"):
                    inspect_settings(partial)  # the small files came first: refuse before the large ones come
                hf_hub_download(
                    source.repository,
                    name,
                    revision=repository.commit,
                    local_dir=partial,
                    endpoint=endpoint,
                    library_name="chatbot",
                    tqdm_class=_quiet_bar(),
                )
    except ModelError:
        raise
    except OSError as error:
        if error.errno is not None and error.filename is not None:
            raise  # the disk, not the network
        raise SourceUnreachable(f"The download broke off: {_explain(error)}.", hint="Run it again to go on.") from None
    except Exception as error:  # noqa: BLE001
        raise SourceUnreachable(f"The download broke off: {_explain(error)}.", hint="Run it again to go on.") from None
    with report_step(reporter, "Checking", repository.size):
        for name, digest in source.files.items():
            if hash_file(partial / name) != digest:
                (partial / name).unlink()
                raise ModelDamaged(f"{name} of {source.repository} is not the file that the catalogue names.")
    for name in repository.files:
        (partial / name).rename(folder / name)


def _call_with_deadline(call: Callable[[], _T], seconds: float) -> _T:
    """`call()` in a thread that is left behind when it takes too long: looking up a name cannot be interrupted."""
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001  raised again below
            failure.append(error)

    thread = threading.Thread(target=run, name="hub", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise TimeoutError(f"no answer in {seconds:.0f} s")
    return outcome[0]


def _quiet_bar() -> type[Any]:
    from huggingface_hub.utils.tqdm import tqdm

    class Quiet(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    return Quiet


def _explain(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable_line(lines[0], 160).rstrip(".")
