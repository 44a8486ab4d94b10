"""Runs in processes of their own, to be killed: python -m tests.admin.training.trained_process.

Each line of its input, FOLDER METHOD SEED, is trained in a fork, so that the libraries are imported only once. It
answers with a line: the fork's process id, and when that has ended another: its exit status.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import chatbot.admin.training.preference
import chatbot.admin.training.sft  # noqa: F401
from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.run import train
from chatbot.models.library import ModelLibrary
from tests.admin.training.samples import small


def run(place: str, method: str, seed: str) -> None:
    folder = Path(place)
    train(
        small(method=method, seed=int(seed), dropout=0.1),
        DatasetFolder.open(folder / "dataset"),
        ModelLibrary(folder).find("tiny"),
        folder / "run",
        folder / "adapter",
        resume=(folder / "run" / "config.json").exists(),
    )


def main() -> None:
    for line in sys.stdin:
        words = line.split()
        if child := os.fork():
            print(child, flush=True)  # noqa: T201
            print(os.waitpid(child, 0)[1], flush=True)  # noqa: T201
            continue
        try:
            run(*words)
        except BaseException:  # noqa: BLE001
            (Path(words[0]) / "error").write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)


if __name__ == "__main__":
    main()
