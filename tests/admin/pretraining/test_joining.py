"""Processes that wait for the first: as long as it prepares, and no longer."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from chatbot.admin import joining
from chatbot.config import Home
from chatbot.errors import LearningError


@pytest.fixture(autouse=True)
def _launched(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(joining, "PATIENCE", 0.3)
    monkeypatch.setattr(joining, "_GRACE", 0.3)
    home.runs.mkdir(parents=True)


def test_they_wait_while_the_first_prepares(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[Path] = []
    monkeypatch.setattr(joining, "_take_part", lambda folder, _resume: joined.append(folder))
    with joining.prepare(home):
        other = threading.Thread(target=joining.join, args=(home,))
        other.start()
        time.sleep(1)  # thrice the patience
        assert other.is_alive()
        (home.runs / "run").mkdir()
        (home.runs / "run" / "config.json").write_text("{}")
        with joining.announce(home, "run", resume=False):
            other.join(5)
    assert joined == [home.runs / "run"]
    assert [path.name for path in home.runs.iterdir()] == ["run"]


def test_they_end_when_the_first_ends_without_a_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "PATIENCE", 60)
    found: list[BaseException] = []

    def join() -> None:
        try:
            joining.join(home)
        except LearningError as error:
            found.append(error)

    with joining.prepare(home):
        other = threading.Thread(target=join)
        other.start()
        time.sleep(0.5)
    other.join(5)
    assert "began no run" in str(found[0])


def test_they_do_not_wait_for_ever_for_one_that_never_came(home: Home) -> None:
    with pytest.raises(LearningError, match="began no run"):
        joining.join(home)
