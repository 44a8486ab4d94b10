"""A run in a process of its own, to be killed: python -m tests.admin.training.trained_process FOLDER METHOD SEED."""

from __future__ import annotations

import sys
from pathlib import Path

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.run import train
from chatbot.models.library import ModelLibrary
from tests.admin.training.samples import small


def main(place: str, method: str, seed: str) -> None:
    folder = Path(place)
    base = ModelLibrary(folder).find("tiny")
    run = folder / "run"
    train(
        small(method=method, seed=int(seed), dropout=0.1),
        DatasetFolder.open(folder / "dataset"),
        base,
        run,
        folder / "adapter",
        resume=(run / "config.json").exists(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
