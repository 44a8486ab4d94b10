"""The same command in several processes: `accelerate launch … -m chatbot admin finetune NAME`.

Each process is the whole program with its rank in the environment, and only the first may write rows or choose the run.
It tells the others by a small file beside the runs, named after the launcher that all of them are children of; they
read the run's own folder and train along. What the first does before that may take hours, such as cutting a large text
into tokens: meanwhile it holds a lock, which the kernel frees when it dies, however it dies.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatbot.admin.training.holding import hold_run, is_held
from chatbot.admin.training.processes import PATIENCE, count_processes
from chatbot.admin.training.writing import explain_writing
from chatbot.config import Home
from chatbot.errors import LearningError
from chatbot.files import make_private_folder, write_file

_GRACE = 5.0
"""Seconds after which the first process, whose lock is free again, is taken for gone. Looking at the lock takes it for
a moment, so that one look of several processes at once may be wrong."""


@contextmanager
def announce(home: Home, run_id: str, *, resume: bool) -> Iterator[None]:
    """Tells the other processes, while the run lasts, which run they take part in."""
    if count_processes() < 2:
        yield
        return
    path = _find_place(home)
    make_private_folder(path.parent)
    write_file(path, json.dumps({"run": run_id, "resume": resume}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def prepare(home: Home) -> Iterator[None]:
    """Lets the other processes wait, while the block runs, for as long as this one needs. Raises LearningError if the
    disk refuses."""
    if count_processes() < 2:
        yield
        return
    folder = _find_preparation(home)
    with explain_writing("What the other processes wait for", folder):
        make_private_folder(folder)
    try:
        with hold_run(folder):
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def join(home: Home) -> None:
    """Takes part in the run that the first process announces. Raises LearningError if that one ends without, or
    neither prepares nor announces one in time, or as the training does."""
    from chatbot.admin.training.job import CONFIG

    path, preparation = _find_place(home), _find_preparation(home)
    end, prepared = time.monotonic() + PATIENCE, False
    while time.monotonic() < end:
        preparing = is_held(preparation)
        told = _read(path)  # after that: who ends announces nothing any more
        if told is not None:
            folder = home.runs / str(told["run"])
            if (folder / CONFIG).is_file():
                _take_part(folder, bool(told["resume"]))
                return
        if preparing:
            end, prepared = time.monotonic() + PATIENCE, True
        elif prepared:
            end = min(end, time.monotonic() + _GRACE)
        time.sleep(0.1)
    raise LearningError("The first of the launched processes began no run.", hint="Its words tell why.")


def _take_part(folder: Path, resume: bool) -> None:
    from chatbot.admin.pretraining import job as pretraining

    if pretraining.is_pretraining(folder):
        from chatbot.admin.pretraining.run import run_job as pretrain

        pretrain(pretraining.read_job(folder), folder, lambda made: made, resume=resume)
        return
    from chatbot.admin.training.job import read_job
    from chatbot.admin.training.run import run_job

    run_job(read_job(folder), folder, folder, resume=resume)


def _read(path: Path) -> dict[str, object] | None:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and "run" in told and "resume" in told else None


def _find_place(home: Home) -> Path:
    """Named after the launcher, by its number and when it was started: a number alone comes again."""
    import psutil  # type: ignore[import-untyped]  # it ships no types

    launcher = psutil.Process(os.getppid())
    return home.runs / f".launch-{launcher.pid}-{launcher.create_time():.2f}"


def _find_preparation(home: Home) -> Path:
    place = _find_place(home)
    return place.with_name(f"{place.name}.preparing")
