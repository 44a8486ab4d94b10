"""A tiny model and small datasets for it, made on the spot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.models.library import ModelFolder
from tests.admin.training.samples import build_dataset, build_tiny
from tests.admin.training.trainer import Trainer, start_trainer


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """Two layers of random weights; it is read, never changed."""
    return build_tiny(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def trainer() -> Iterator[Trainer]:
    with start_trainer() as trainer:
        yield trainer


@pytest.fixture
def make_dataset(base: ModelFolder, tmp_path: Path) -> Callable[..., DatasetFolder]:
    """A dataset of a kind with so many rows, in a folder of its own."""

    numbers = itertools.count()

    def make(kind: str = "sft", rows: int = 12, **options: Any) -> DatasetFolder:
        return build_dataset(tmp_path / f"{kind}-{next(numbers)}", base, kind, rows, **options)

    return make
