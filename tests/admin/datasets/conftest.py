"""A store and a base model for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatbot.admin.datasets.building import build
from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.datasets.request import BuildRequest
from chatbot.config import Home
from chatbot.models.library import ModelFolder
from chatbot.models.template import ChatTemplate
from chatbot.store.database import Store
from chatbot.store.filters import LogFilter
from tests.admin.datasets.samples import make_base, make_pairs, write_alpaca


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.in_memory() as opened:
        yield opened


@pytest.fixture
def base(home: Home) -> ModelFolder:
    return make_base(home)


@pytest.fixture
def template(base: ModelFolder) -> ChatTemplate:
    return base.load_template()


Build = Callable[..., DatasetFolder]


@pytest.fixture
def make(store: Store, home: Home, base: ModelFolder, template: ChatTemplate) -> Build:
    """Builds from the log unless files are given."""

    def run(name: str = "talks", kind: Any = "sft", **more: Any) -> DatasetFolder:
        if "files" not in more:
            more.setdefault("log", LogFilter())
        return build(store, home, template, base, BuildRequest(name, kind, **more))

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Forty questions that have nothing to do with each other."""
    return write_alpaca(tmp_path / "facts.json", make_pairs(40))
