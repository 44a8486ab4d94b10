"""A fine-tuning with its trail: the run as a row, the training itself, the adapter as the new candidate.

`training` knows folders and no database, so that a run can be repeated on another machine; here is what ties both
together. The run's folder is there before its row, the row before the first step, and a lock in the folder is held as
long as somebody trains: a run that was killed is still there to be looked at and resumed, by one trainer at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chatbot.admin.adoption import take_in
from chatbot.admin.datasets.freezing import open_version
from chatbot.admin.joining import announce
from chatbot.admin.recording import Recorder
from chatbot.admin.training.checkpoints import find_checkpoint
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Event, Step, read_events
from chatbot.admin.training.holding import hold_run, is_held
from chatbot.admin.training.writing import explain_writing
from chatbot.config import Home
from chatbot.errors import ChatbotError, LearningError, NotFound, RunDamaged, StoreError
from chatbot.files import make_private_folder
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.store.database import Store
from chatbot.store.runs import Run, RunInput, RunStatus
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.admin.datasets.folder import DatasetFolder
    from chatbot.admin.training.job import Job
    from chatbot.admin.training.plan import Plan
    from chatbot.admin.training.run import Outcome

Report = Callable[[Event], None]
_ATTEMPTS = 6  # of writing what the database refused, at the end
RunState = RunStatus | Literal["interrupted"]


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
    to train on from. Where that is no adapter (a base model, or `champion` while nothing was promoted) the lesson has
    no parent, and the training starts from the base. Raises NotFound, DatasetDamaged, ModelError, LearningError."""
    version, folder = open_version(store, home, dataset)
    library = ModelLibrary(home.models)
    parent = None
    name = store.aliases.all().get(start, "") if start in {"champion", "previous", "candidate"} else start
    if start in {"previous", "candidate"} and not name:
        raise NotFound(f"There is no {start} to train on from.", hint="Leave --from out to start from the base.")
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


def read_status(home: Home, run: Run) -> RunState:
    """How a run stands now: its row's word, but `interrupted` where nobody trains what the row calls running, since its
    process was killed. A run whose folder is on another machine is as its row says."""
    folder = home.runs / run.id
    if run.status not in ("planned", "running") or not folder.is_dir():
        return run.status
    return "running" if is_held(folder) else "interrupted"


def read_steps(home: Home, run_id: str) -> tuple[int, int]:
    """(the step of the newest whole checkpoint, the newest step that was made), 0 where there is none."""
    folder = home.runs / run_id
    made = max((event.step for event in read_events(folder) if isinstance(event, Step)), default=0)
    try:
        checkpoint = find_checkpoint(folder)
    except RunDamaged:
        checkpoint = None
    return (checkpoint.step if checkpoint else 0), made


def finetune(
    store: Store,
    home: Home,
    lesson: Lesson,
    config: TrainingConfig,
    report: Report,
    *,
    author: str,
    on_begin: Callable[[str], None],
    on_stop: Callable[[], None] = lambda: None,
) -> Finetuned:
    """Trains from the beginning. `on_begin` hears the run's id, `on_stop` (in a signal's handler) that the run was
    asked to stop. Raises LearningError, ModelError, OutOfMemory, StoreError."""
    from chatbot.admin.training.job import settle, write_job

    job = settle(config, lesson.dataset, lesson.model, lesson.parent.path if lesson.parent else None)
    described = job.describe()
    parent_id = store.model_versions.find(lesson.parent.name).id if lesson.parent else None
    run_id = store.runs.new_id()
    folder = home.runs / run_id
    with explain_writing("The run", folder):
        make_private_folder(folder)
    with hold_run(folder):
        try:
            with explain_writing("The run", folder):
                write_job(folder, job)
            store.runs.add(
                config.method,
                run_id=run_id,
                base_model=lesson.model.name,
                parent_version_id=parent_id,
                config={name: value for name, value in described.items() if name != "versions"},
                seed=config.seed,
                versions=described["versions"],
                device=job.device,
                inputs=[RunInput(lesson.version_id, "train"), RunInput(lesson.version_id, "validation")],
            )
        except ChatbotError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        on_begin(run_id)
        return _run(store, home, run_id, job, report, author=author, resume=False, on_stop=on_stop)


def resume(
    store: Store,
    home: Home,
    run: Run,
    report: Report,
    *,
    author: str,
    recall: Report = lambda _: None,
    on_stop: Callable[[], None] = lambda: None,
) -> Finetuned:
    """Goes on where a stopped, failed or killed run was. `recall` hears what it reported up to there, `report` what is
    new. Raises LearningError if it is complete or running, RunDamaged if its folder is not whole, and as `finetune`."""
    from chatbot.admin.training.job import read_job

    folder = home.runs / run.id
    if run.status != "complete" and not folder.is_dir():
        raise RunDamaged(f"The folder of the run {run.id} is gone.", hint="Start a new one.")
    if run.status == "complete":
        raise LearningError(f"The run {run.id} is complete: it made {run.model}.", hint="Start a new one.")
    with hold_run(folder):
        run = store.runs.find(run.id)  # again: it may have ended while its trainer held it
        if run.status == "complete":
            raise LearningError(f"The run {run.id} is complete: it made {run.model}.", hint="Start a new one.")
        job = read_job(folder)
        checkpoint = find_checkpoint(folder)
        for event in read_events(folder):
            if checkpoint is not None and event.step <= checkpoint.step:
                recall(event)
        return _run(store, home, run.id, job, report, author=author, resume=True, on_stop=on_stop)


def _run(
    store: Store,
    home: Home,
    run_id: str,
    job: Job,
    report: Report,
    *,
    author: str,
    resume: bool,
    on_stop: Callable[[], None],
) -> Finetuned:
    """The caller holds the run."""
    from chatbot.admin.training.run import run_job

    folder = home.runs / run_id
    recorder = Recorder(store, run_id, report)
    name = ""

    def keep(made: Path) -> Path:
        nonlocal name
        # Before the run is complete: nobody goes on with one that is, so what is missing then is never added.
        recorder.catch_up(folder, attempts=_ATTEMPTS)
        adapter = take_in(store, home, run_id, job, made, author=author)
        name = adapter.name
        return adapter.path

    store.runs.change_status(run_id, "running")
    recorder.catch_up(folder)
    with note_end(store, run_id), announce(home, run_id, resume=resume):
        outcome = run_job(job, folder, keep, recorder.hear, resume=resume, on_stop=on_stop)
    recorder.catch_up(folder, attempts=_ATTEMPTS)
    if outcome.status == "stopped":
        change_status(store, run_id, "stopped")
    return Finetuned(run_id, name, outcome)


@contextmanager
def note_end(store: Store, run_id: str) -> Iterator[None]:
    """Notes how a run ended that did not end well."""
    try:
        yield
    except KeyboardInterrupt:
        change_status(store, run_id, "stopped")
        raise
    except BaseException as error:
        reason = str(error) if isinstance(error, ChatbotError) else f"{type(error).__name__}: {error}"
        change_status(store, run_id, "failed", printable_line(reason, 500))
        raise


def change_status(store: Store, run_id: str, status: RunStatus, reason: str = "") -> None:
    """Without what the database may say against it: it would hide how the run ended, and a run that nobody holds shows
    as interrupted anyway."""
    with suppress(StoreError):
        store.runs.change_status(run_id, status, reason=reason)
