"""A home and a database for what is pretrained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatbot.config import Home
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(config=tmp_path, data=tmp_path / "data", state=tmp_path, runtime=tmp_path)


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    home.data.mkdir()
    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        yield store
