"""A store for each test, and corpora built with few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.corpus.building import build
from chatbot.admin.corpus.folder import CorpusFolder
from chatbot.admin.corpus.request import CorpusRequest
from chatbot.config import Home
from chatbot.store.database import Store
from tests.admin.corpus.samples import make_text

Make = Callable[..., CorpusFolder]


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


@pytest.fixture
def make(store: Store, home: Home) -> Make:
    """Builds from paths."""

    def run(*paths: Path, name: str = "books", **more: Any) -> CorpusFolder:
        return build(store, home, CorpusRequest(name, tuple(paths), **more))

    return run


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A folder of twelve texts, some below another folder."""
    folder = tmp_path / "books"
    (folder / "more").mkdir(parents=True)
    for number in range(12):
        name = f"more/{number:02}.md" if number % 2 else f"{number:02}.txt"
        (folder / name).write_text(make_text(number) + "\n", "utf-8")
    return folder
