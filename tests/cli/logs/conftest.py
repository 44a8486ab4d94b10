"""Every test has a log of its own, copied from one that is made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatbot.config import Home
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from tests.cli.logs.talks import fill


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "chatbot.db"
    with open_upgraded(f"sqlite:///{path}") as store:
        fill(store)
    return path


@pytest.fixture
def log(home: Home, filled: Path) -> Iterator[Store]:
    """The store that the commands read, with the conversations of `talks`."""
    home.data.mkdir(parents=True)
    shutil.copy(filled, home.data / "chatbot.db")
    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        yield store
