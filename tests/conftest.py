"""What every room's tests share: a home of their own, and the real model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatbot.config import Home, find_home

REPOSITORY = Path(__file__).parent.parent
MODEL_HOME = REPOSITORY / ".cache" / "home"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=10, help="how often the reliability tests kill -9 (default: 10)")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--kills"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Every test lives in its own folders, whatever the machine's owner has set."""
    for name in list(os.environ):
        if name.startswith("CHATBOT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CHATBOT_HOME", str(tmp_path / "home"))
    return find_home()


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of the real SmolLM2, pulled once into the repository's own cache as `chatbot models pull` does."""
    from chatbot.models.library import ModelLibrary
    from chatbot.models.pull import pull_model

    return pull_model(ModelLibrary(MODEL_HOME / "models"), "smollm2-135m-instruct").path


@pytest.fixture
def model_home(home: Home, smollm2: Path) -> Home:
    """`home` with the real model in it."""
    home.data.mkdir(parents=True)
    home.models.symlink_to(smollm2.parent)
    return home
