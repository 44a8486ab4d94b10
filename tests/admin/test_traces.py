"""What is forgotten is gone from the samples of runs and from the answers of evaluations too."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbot.admin.traces import forget_traces
from chatbot.admin.training.events import MetricsLog, Sample, Step, read_events
from chatbot.config import Home
from chatbot.errors import DatabaseBusy
from chatbot.store.database import Store
from chatbot.store.evaluations import Score
from tests.store.test_aliases import add_adapter, add_base


def test_samples_and_answers_to_a_forgotten_prompt_go_with_it(tmp_path: Path) -> None:
    home = Home(config=tmp_path, data=tmp_path, state=tmp_path, runtime=tmp_path)
    folder = home.runs / "one"
    folder.mkdir(parents=True)
    log = MetricsLog(folder)
    step = Step(1, 2, 0.5, 10.0, 1.0, 1e-3)
    for event in (step, Sample(1, "My secret?", "What secret"), Sample(1, "Hello", "Hi")):
        log.append(event)
    with Store.in_memory() as store:
        items: tuple[tuple[str, str, dict[str, object]], ...] = (("My secret?", "It is 7.", {}), ("Hello", "Hi", {}))
        score = Score("replies", "1", "chrF", 1.0, 0.0, None, 2, items)
        store.evaluations.add(store.evaluations.new_id(), add_adapter(store, "one"), add_base(store), [score])
        assert forget_traces(store, home, ["My secret?", "", " "]) == 2
        assert forget_traces(store, home, ["My secret?"]) == 0
    assert list(read_events(folder)) == [step, Sample(1, "Hello", "Hi")]
    assert "secret" not in log.path.read_text("utf-8")


def test_samples_are_cleared_though_the_database_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(config=tmp_path, data=tmp_path, state=tmp_path, runtime=tmp_path)
    (home.runs / "one").mkdir(parents=True)
    log = MetricsLog(home.runs / "one")
    log.append(Sample(1, "My secret?", "What secret"))

    def refuse(_: object) -> int:
        raise DatabaseBusy("busy")

    with Store.in_memory() as store:
        monkeypatch.setattr(store.evaluations, "forget_texts", refuse)
        with pytest.raises(DatabaseBusy):
            forget_traces(store, home, ["My secret?"])
    assert list(read_events(home.runs / "one")) == []
