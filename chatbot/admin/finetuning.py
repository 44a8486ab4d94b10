"""A fine-tuning with its trail: the run as a row, the training itself, the adapter as the new candidate.

`training` knows folders and no database, so that a run can be repeated on another machine; here is what ties both
together. The row is written before the first step and brought up to date with every event, so that a run that was
killed is still there to be looked at and resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatbot.admin.datasets.freezing import open_version
from chatbot.admin.joining import announce
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Event, HeldOut, Step
from chatbot.config import Home
from chatbot.errors import LearningError, RunDamaged
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.store.database import Store
from chatbot.store.runs import Run, RunInput, RunStatus

if TYPE_CHECKING:
    from chatbot.admin.datasets.folder import DatasetFolder
    from chatbot.admin.training.plan import Plan
    from chatbot.admin.training.run import Outcome

Report = Callable[[Event], None]
_STATUS: dict[str, RunStatus] = {"finished": "complete", "early": "complete", "stopped": "stopped"}


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a run is to learn, and from where it starts."""

    dataset: DatasetFolder
    version_id: str
    """The dataset version's row."""
    model: ModelFolder
    parent: ModelFolder | None


@dataclass(frozen=True, slots=True)
class Finetuned:
    """How a fine-tuning ended. `model` is the new adapter's name, empty if it was stopped."""

    run_id: str
    model: str
    outcome: Outcome


def choose_lesson(store: Store, home: Home, dataset: str, *, start: str = "") -> Lesson:
    """The dataset NAME or NAME/NUMBER on the base model that it was built for; `start` names a model version or alias
    to train on from. Raises NotFound, DatasetDamaged, ModelError, LearningError."""
    version, folder = open_version(store, home, dataset)
    library = ModelLibrary(home.models)
    parent = None
    if start:
        name = store.aliases.all().get(start, "") if start in {"champion", "previous", "candidate"} else start
        if name:
            found = library.find_verified(name)
            parent = found if found.kind == "adapter" else None
            if found.foundation.name != folder.manifest.model:
                raise LearningError(
                    f"{found.name} stands on {found.foundation.name}, and {version.title} was built for "
                    f"{folder.manifest.model}.",
                    hint=f"Build the dataset with --model {found.foundation.name}.",
                )
    return Lesson(folder, version.id, library.find_verified(folder.manifest.model), parent)


def plan_finetuning(lesson: Lesson, config: TrainingConfig) -> Plan:
    """What a run would take, from one step that is really made. Raises LearningError, ModelError."""
    from chatbot.admin.training.plan import make_plan

    parent = lesson.parent.path if lesson.parent else None
    return make_plan(config, lesson.dataset, lesson.model, parent=parent)


def finetune(
    store: Store,
    home: Home,
    lesson: Lesson,
    config: TrainingConfig,
    report: Report,
    *,
    author: str,
    on_begin: Callable[[str], None],
) -> Finetuned:
    """Trains from the beginning. `on_begin` hears the run's id. Raises LearningError, ModelError, OutOfMemory."""
    from chatbot.admin.training.job import settle

    job = settle(config, lesson.dataset, lesson.model, lesson.parent.path if lesson.parent else None)
    described = job.describe()
    parent_id = store.model_versions.find(lesson.parent.name).id if lesson.parent else None
    run_id = store.runs.add(
        config.method,
        base_model=lesson.model.name,
        parent_version_id=parent_id,
        config={name: value for name, value in described.items() if name != "versions"},
        seed=config.seed,
        versions=described["versions"],
        device=job.device,
        inputs=[RunInput(lesson.version_id, "train"), RunInput(lesson.version_id, "validation")],
    )
    on_begin(run_id)
    return _run(store, home, run_id, lesson, config, report, author=author, resume=False)


def resume(store: Store, home: Home, run: Run, report: Report, *, author: str) -> Finetuned:
    """Goes on where a stopped or killed run was. Raises LearningError if it is complete, RunDamaged if its folder is
    not whole."""
    from chatbot.admin.training.job import read_job

    if run.status == "complete":
        raise LearningError(f"The run {run.id} is complete: it made {run.model}.", hint="Start a new one.")
    folder = home.runs / run.id
    if not folder.is_dir():
        raise RunDamaged(f"The folder of the run {run.id} is gone.", hint="Start a new one.")
    job = read_job(folder)
    manifest = job.dataset.manifest
    version = store.datasets.find(manifest.name, manifest.number)
    parent = ModelLibrary(home.models).find_verified(job.parent.name) if job.parent else None
    lesson = Lesson(job.dataset, version.id, job.model, parent)
    return _run(store, home, run.id, lesson, job.config, report, author=author, resume=True)


def _run(
    store: Store,
    home: Home,
    run_id: str,
    lesson: Lesson,
    config: TrainingConfig,
    report: Report,
    *,
    author: str,
    resume: bool,
) -> Finetuned:
    from chatbot.admin.training.run import train

    library = ModelLibrary(home.models)
    name = ""

    def choose_place() -> Path:
        nonlocal name
        name = choose_name(store, library, lesson.dataset.manifest.name)
        return home.models / name

    if resume:
        drop_orphans(store, library, run_id)

    def hear(event: Event) -> None:
        store.runs.set_metrics(run_id, read_metrics(event))
        report(event)

    store.runs.change_status(run_id, "running")
    try:
        with announce(home, run_id, resume=resume):
            outcome = train(
                config,
                lesson.dataset,
                lesson.model,
                home.runs / run_id,
                choose_place,
                hear,
                resume=resume,
                parent=lesson.parent.path if lesson.parent else None,
            )
    except KeyboardInterrupt:
        store.runs.change_status(run_id, "stopped")
        raise
    except BaseException:
        store.runs.change_status(run_id, "failed")
        raise
    if outcome.adapter is not None:
        _register(store, library, run_id, name, author)
    store.runs.change_status(run_id, _STATUS[outcome.status])
    return Finetuned(run_id, name if outcome.adapter is not None else "", outcome)


def _register(store: Store, library: ModelLibrary, run_id: str, name: str, author: str) -> None:
    """The adapter on disk as a model version, and as the candidate."""
    adapter = library.find(name)
    version_id = store.model_versions.add_adapter(
        name,
        run_id=run_id,
        path=str(adapter.path),
        sha256=adapter.sha256,
        base_sha=adapter.manifest.base_sha256,
        template_sha=adapter.template_sha,
        tokenizer_sha=adapter.manifest.tokenizer_sha256,
    )
    store.aliases.nominate(version_id, author=author, reason=f"trained by the run {run_id}")


def drop_orphans(store: Store, library: ModelLibrary, run_id: str) -> None:
    """Deletes the adapter that a run wrote before it was killed, before it had a row: resuming writes it again."""
    known = {one.name for one in store.model_versions.list()}
    for folder in library.list():
        if folder.manifest.source == f"run:{run_id}" and folder.name not in known:
            library.remove(folder.name)


def choose_name(store: Store, library: ModelLibrary, dataset: str) -> str:
    """DATASET-K with the first K that neither a folder nor a row has: names are never used twice."""
    taken = {one.name for one in store.model_versions.list()}
    number = 1
    while f"{dataset}-{number}" in taken or (library.folder / f"{dataset}-{number}").exists():
        number += 1
    return f"{dataset}-{number}"


def read_metrics(event: Event) -> list[tuple[str, int, float]]:
    """(name, step, value) of what an event tells."""
    if not isinstance(event, Step | HeldOut):
        return []
    prefix = "held-out " if isinstance(event, HeldOut) else ""
    values: dict[str, Any] = asdict(event)
    names = ("loss", "tokens_per_second", "learning_rate", "gradient", "margin", "accuracy")
    return [(f"{prefix}{name}", event.step, float(values[name])) for name in names if values.get(name) is not None]
