"""What is forgotten is gone from the samples of runs and from the answers of evaluations too."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbot.admin import traces
from chatbot.admin.traces import forget_traces
from chatbot.admin.training.events import EventTail, MetricsLog, Sample, Step, read_events
from chatbot.admin.training.holding import hold_run
from chatbot.config import Home
from chatbot.errors import DatabaseBusy, LearningError
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


def test_what_a_run_appends_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(config=tmp_path, data=tmp_path, state=tmp_path, runtime=tmp_path)
    (home.runs / "one").mkdir(parents=True)
    log, tail = MetricsLog(home.runs / "one"), EventTail(home.runs / "one")
    for event in (Sample(0, "My secret?", "What"), Sample(0, "Hello", "Hi")):
        log.append(event)
    tail.read()
    holds, step = traces._holds, Step(1, 2, 0.5, 10.0, 1.0, 1e-3)

    def append_first(line: bytes, texts: set[str]) -> bool:
        if step not in read_events(home.runs / "one"):
            log.append(step)
        return holds(line, texts)

    monkeypatch.setattr(traces, "_holds", append_first)
    with Store.in_memory() as store:
        assert forget_traces(store, home, ["My secret?"]) == 1
    assert list(read_events(home.runs / "one")) == [Sample(0, "Hello", "Hi"), step]
    assert tail.read() == (False, [step]), "whoever watches the run goes on where they were"
    assert "secret" not in log.path.read_text("utf-8")


def test_that_a_running_run_may_show_it_again_is_told(tmp_path: Path) -> None:
    home = Home(config=tmp_path, data=tmp_path, state=tmp_path, runtime=tmp_path)
    for name in ("one", "two", "three"):
        (home.runs / name).mkdir(parents=True)
        MetricsLog(home.runs / name).append(Sample(0, "Hello" if name == "one" else "My secret?", "Hi"))
    with (
        Store.in_memory() as store,
        hold_run(home.runs / "one"),
        hold_run(home.runs / "two"),
        pytest.raises(LearningError, match="The run two is training") as told,
    ):
        forget_traces(store, home, ["My secret?"])
    assert str(home.runs / "two") in told.value.hint
    assert [len(list(read_events(home.runs / name))) for name in ("one", "two", "three")] == [1, 0, 0]
