"""Runs in processes of their own, to be killed: python -m tests.admin.training.trained_process.

Each line of its input, FOLDER METHOD SEED, is trained in a fork, so that the libraries are imported only once. It
answers with a line: the fork's process id, and when that has ended another: its exit status. With a fourth word FOLDER
is a home, where the whole fine-tuning is begun, or gone on with; the word names a moment at which the process dies.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import chatbot.admin.training.job
import chatbot.admin.training.preference
import chatbot.admin.training.sft
from chatbot.admin import adoption, finetuning
from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.models.library import ModelLibrary
from chatbot.store.registration import Registration
from chatbot.store.runs import Runs
from tests.admin.training.samples import go_on, open_home, open_store, small, train


def run(place: str, method: str, seed: str) -> None:
    folder = Path(place)
    if (folder / "run" / "config.json").exists():
        go_on(folder / "run", folder / "adapter")
        return
    train(
        small(method=method, seed=int(seed), dropout=0.1),
        DatasetFolder.open(folder / "dataset"),
        ModelLibrary(folder).find("tiny"),
        folder / "run",
        folder / "adapter",
    )


def tune(place: str, method: str, seed: str, moment: str) -> None:
    home = open_home(Path(place))
    _die_at(moment)
    with open_store(home) as store:
        if runs := store.runs.list():
            finetuning.resume(store, home, runs[0], lambda _: None, author="ada")
            return
        finetuning.finetune(
            store,
            home,
            finetuning.choose_lesson(store, home, "tiny"),
            small(method=method, seed=int(seed), dropout=0.1),
            lambda _: None,
            author="ada",
            on_begin=lambda _: None,
        )


def _die_at(moment: str) -> None:
    """`described`, `recorded`, `installed` or `registered`: right after that was done; anything else is never."""
    places: dict[str, tuple[Any, str]] = {
        "described": (chatbot.admin.training.job, "write_job"),
        "recorded": (Runs, "add"),
        "installed": (adoption, "install_adapter"),
        "registered": (Registration, "register"),
    }
    if moment in places:
        owner, name = places[moment]
        do = getattr(owner, name)

        def do_and_die(*arguments: Any, **options: Any) -> None:
            do(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(owner, name, do_and_die)


def main() -> None:
    for line in sys.stdin:
        words = line.split()
        if child := os.fork():
            print(child, flush=True)  # noqa: T201
            print(os.waitpid(child, 0)[1], flush=True)  # noqa: T201
            continue
        try:
            tune(*words) if len(words) > 3 else run(*words)
        except BaseException:  # noqa: BLE001
            (Path(words[0]) / "error").write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)


if __name__ == "__main__":
    main()
