"""A pretraining with its trail: the run as a row, the training itself, the model as the new candidate.

It is to `pretraining` what `finetuning` is to `training`: the packages know folders, these know the store. A run's
folder is there before its row, its row before the first step, and whoever trains holds a lock in the folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chatbot.admin.adoption import choose_name, find_made, register
from chatbot.admin.finetuning import change_status, note_end
from chatbot.admin.joining import announce
from chatbot.admin.pretraining.job import KIND, PretrainingJob, read_job, write_job
from chatbot.admin.recording import Recorder
from chatbot.admin.training.checkpoints import find_checkpoint
from chatbot.admin.training.events import Event, read_events
from chatbot.admin.training.holding import hold_run
from chatbot.admin.training.writing import explain_writing
from chatbot.config import Home
from chatbot.errors import InvalidInput, LearningError, RunDamaged
from chatbot.files import make_private_folder
from chatbot.models.installation import Origin, install_adapter, install_model, lock_library
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.models.progress import SilentReporter
from chatbot.store.database import Store
from chatbot.store.runs import Run, RunInput

if TYPE_CHECKING:
    from chatbot.admin.pretraining.run import Outcome

Report = Callable[[Event], None]
Progress = Callable[[str, int, int], None]
_NAME = "name"
"""Under which a run's configuration keeps what the model is to be called."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """How a pretraining ended. `model` is the new model's name, empty if it was stopped."""

    run_id: str
    model: str
    outcome: Outcome


def pretrain(
    store: Store,
    home: Home,
    job: PretrainingJob,
    corpus_id: str,
    report: Report,
    *,
    name: str,
    author: str,
    on_begin: Callable[[str], None],
    on_progress: Progress = lambda _title, _done, _total: None,
    on_stop: Callable[[], None] = lambda: None,
) -> Pretrained:
    """Trains from the beginning; the model will be called `name`-K. `corpus_id` is the corpus version's row. Raises
    LearningError, ModelError, OutOfMemory, StoreError."""
    described = job.describe()
    run_id = store.runs.new_id()
    folder = home.runs / run_id
    with explain_writing("The run", folder):
        make_private_folder(folder)
    with hold_run(folder):
        with explain_writing("The run", folder):
            write_job(folder, job)
        store.runs.add(
            KIND,
            run_id=run_id,
            base_model=job.base.name if job.base else "",
            parent_version_id=None,
            config={_NAME: name, **{key: value for key, value in described.items() if key != "versions"}},
            seed=job.config.seed,
            versions=described["versions"],
            device=job.device,
            inputs=[RunInput(corpus_id, "train"), RunInput(corpus_id, "validation")],
        )
        on_begin(run_id)
        return _run(store, home, run_id, name, job, report, author, False, on_progress, on_stop)


def resume(
    store: Store,
    home: Home,
    run: Run,
    report: Report,
    *,
    author: str,
    recall: Report = lambda _: None,
    on_progress: Progress = lambda _title, _done, _total: None,
    on_stop: Callable[[], None] = lambda: None,
) -> Pretrained:
    """Goes on where a stopped, failed or killed run was. `recall` hears what it reported up to there. Raises
    LearningError if it is complete, running or no pretraining; RunDamaged if its folder is not whole."""
    folder = home.runs / run.id
    if run.kind != KIND:
        raise LearningError(
            f"The run {run.id} is no pretraining.", hint="`chatbot admin finetune NAME --resume` goes on with it."
        )
    if run.status != "complete" and not folder.is_dir():
        raise RunDamaged(f"The folder of the run {run.id} is gone.", hint="Start a new one.")
    with hold_run(folder):
        run = store.runs.find(run.id)  # it may have ended while its trainer held it
        if run.status == "complete":
            raise LearningError(f"The run {run.id} is complete: it made {run.model}.", hint="Start a new one.")
        job = read_job(folder)
        checkpoint = find_checkpoint(folder)
        for event in read_events(folder):
            if checkpoint is not None and event.step <= checkpoint.step:
                recall(event)
        name = str(run.config.get(_NAME) or job.corpus.manifest.name)
        return _run(store, home, run.id, name, job, report, author, True, on_progress, on_stop)


def _run(
    store: Store,
    home: Home,
    run_id: str,
    name: str,
    job: PretrainingJob,
    report: Report,
    author: str,
    resume: bool,
    on_progress: Progress,
    on_stop: Callable[[], None],
) -> Pretrained:
    """The caller holds the run."""
    from chatbot.admin.pretraining.run import run_job

    folder = home.runs / run_id
    recorder = Recorder(store, run_id, report)
    made = ""

    def take(place: Path) -> Path:
        nonlocal made
        recorder.catch_up(folder, attempts=6)  # a run that is registered is complete, and nobody resumes it
        model = _take_in(store, home, run_id, name, job, place, author)
        made = model.name
        return model.path

    store.runs.change_status(run_id, "running")
    recorder.catch_up(folder)
    with note_end(store, run_id), announce(home, run_id, resume=resume):
        outcome = run_job(job, folder, take, recorder.hear, resume=resume, on_progress=on_progress, on_stop=on_stop)
    recorder.catch_up(folder, attempts=6)
    if outcome.status == "stopped":
        change_status(store, run_id, "stopped")
    return Pretrained(run_id, made, outcome)


def _take_in(
    store: Store, home: Home, run_id: str, name: str, job: PretrainingJob, place: Path, author: str
) -> ModelFolder:
    """What lies in `place` as a model of the library, as a row, and as the candidate."""
    library = ModelLibrary(home.models)
    source = f"run:{run_id}"
    with lock_library(library, SilentReporter()):
        model = find_made(library, source)
        if model is None:
            chosen = choose_name(store, library, name)
            if job.config.lora_rank:
                assert job.base is not None
                answers = job.base.manifest.answers
                model = install_adapter(library, chosen, place, base=job.base, source=source, answers=answers)
            else:
                model = install_model(
                    library, chosen, lambda folder: _fill(job, place, folder, source), SilentReporter()
                )
        register(store, run_id, model, author)
    return model


def _fill(job: PretrainingJob, place: Path, folder: Path, source: str) -> Origin:
    for file in sorted(place.iterdir()):
        file.rename(folder / file.name)
    if job.base is None:
        return Origin(source, answers="text")
    about = job.base.manifest
    return Origin(source, licence=about.licence, answers=about.answers)


def check_name(name: str) -> str:
    """A name for what a pretraining makes, to which a number will be added. Raises InvalidInput."""
    from chatbot.models.manifest import check_name as check

    if len(name) > 80:
        raise InvalidInput("The name of a model has at most 80 letters.")
    return check(name)
