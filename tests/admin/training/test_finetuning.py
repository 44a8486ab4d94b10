"""A fine-tuning with its trail: one trainer at a time, killed at any moment, and what its row then says."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock, Timeout

from chatbot.admin import adoption
from chatbot.admin.finetuning import Finetuned, choose_lesson, finetune, read_status, read_steps, resume
from chatbot.admin.recording import Recorder, read_metrics
from chatbot.admin.training.events import Event, HeldOut, Step, read_events
from chatbot.admin.training.holding import hold_run
from chatbot.config import Home
from chatbot.errors import DatabaseBusy, LearningError, NotFound, RunDamaged, StoreError
from chatbot.models.installation import LOCK, install_adapter
from chatbot.models.library import ModelFolder, ModelLibrary
from chatbot.store.database import Store
from tests.admin.training.samples import furnish, open_home, open_store, small
from tests.admin.training.trainer import Trainer, read_curve

KINDS = {"sft": "sft", "dpo": "preference", "kto": "label"}
FILES = ("adapter_model.safetensors", "adapter_config.json")


@pytest.fixture
def place(base: ModelFolder, tmp_path: Path) -> Home:
    home = open_home(tmp_path / "home")
    furnish(home, base)
    return home


@pytest.fixture
def store(place: Home) -> Iterator[Store]:
    with open_store(place) as store:
        yield store


def tune(
    store: Store, home: Home, report: Callable[[Event], None] = lambda _: None, *, start: str = "", **changes: Any
) -> Finetuned:
    lesson = choose_lesson(store, home, "tiny", start=start)
    return finetune(store, home, lesson, small(**changes), report, author="ada", on_begin=lambda _: None)


def read_adapter(home: Home, name: str = "tiny-1") -> list[bytes]:
    return [(home.models / name / file).read_bytes() for file in FILES]


def break_down(_: Event) -> None:
    raise ZeroDivisionError


def count_steps(home: Home) -> int:
    """Those that its runs have reported."""
    return sum(isinstance(event, Step) for folder in home.runs.glob("*") for event in read_events(folder))


def check_ended(home: Home, whole: Home) -> None:
    """`home` has one run that is complete, with the curve, the adapter and the rows of the one in `whole`."""
    with open_store(home) as store, open_store(whole) as other:
        [run], [expected] = store.runs.list(), other.runs.list()
        assert (run.status, run.model, run.failure) == ("complete", "tiny-1", "")
        assert read_curve(home.runs / run.id) == read_curve(whole.runs / expected.id)
        assert read_adapter(home) == read_adapter(whole)
        assert [one.name for one in store.model_versions.list(kind="adapter")] == ["tiny-1"]
        assert [one.name for one in ModelLibrary(home.models).list()] == ["tiny", "tiny-1"]
        assert [(one.alias, one.reached) for one in store.aliases.journal()] == [("candidate", "tiny-1")]
        for name in ("loss", "held-out loss", "margin"):
            assert store.runs.metrics(run.id, name) == other.runs.metrics(expected.id, name)


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_a_fine_tuning_killed_at_any_moment_ends_as_if_it_never_had_been(
    method: str, trainer: Trainer, base: ModelFolder, tmp_path: Path, kills: int
) -> None:
    dice = random.Random(method)
    whole, killed = (open_home(tmp_path / name) for name in ("whole", "killed"))
    for home in (whole, killed):
        furnish(home, base, KINDS[method])
    trainer.finish(whole.data, method, 1, "never")
    for number in range(max(3, kills // 3)):
        done = count_steps(killed)
        process = trainer.start(killed.data, method, 1, "never")
        deadline = time.monotonic() + 60
        while count_steps(killed) < (1, max(done, 4), 11)[number % 3] and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(dice.random() * (0.5 if number % 3 == 2 else 0.05))
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.kill(process, signal.SIGKILL)
        trainer.wait()
        with open_store(killed) as store:
            assert [read_status(killed, run) for run in store.runs.list()] in (["interrupted"], ["complete"])
            if store.runs.list()[0].status == "complete":
                break
    else:
        trainer.finish(killed.data, method, 1, "never")
    check_ended(killed, whole)


@pytest.mark.parametrize("moment", ["described", "recorded", "installed", "registered"])
def test_a_kill_between_two_steps_of_the_books_leaves_nothing_half(
    moment: str, trainer: Trainer, base: ModelFolder, tmp_path: Path
) -> None:
    whole, killed = (open_home(tmp_path / name) for name in ("whole", "killed"))
    for home in (whole, killed):
        furnish(home, base, rows=6)
    trainer.finish(whole.data, "sft", 1, "never")
    trainer.start(killed.data, "sft", 1, moment)
    assert trainer.wait() == signal.SIGKILL, (killed.data / "error").read_text()
    with open_store(killed) as store:
        runs = store.runs.list()
        assert [read_status(killed, run) for run in runs] == {
            "described": [], "recorded": ["interrupted"], "installed": ["interrupted"], "registered": ["complete"]
        }[moment]  # fmt: skip
        assert all((killed.runs / run.id / "config.json").is_file() for run in runs)
    made = read_adapter(killed) if moment in {"installed", "registered"} else None
    if moment != "registered":
        trainer.finish(killed.data, "sft", 1, "never")
        assert not list(killed.runs.glob("*/.*")), "nothing that was half written is left"
    check_ended(killed, whole)
    assert made is None or made == read_adapter(killed)


def test_only_one_process_trains_a_run(store: Store, place: Home) -> None:
    with pytest.raises(ZeroDivisionError):
        tune(store, place, break_down)
    [run] = store.runs.list()
    store.runs.change_status(run.id, "running")
    assert read_status(place, store.runs.find(run.id)) == "interrupted"
    with hold_run(place.runs / run.id):
        assert read_status(place, store.runs.find(run.id)) == "running"
        with pytest.raises(LearningError, match=f"running already, in the process {os.getpid()}"):
            resume(store, place, run, lambda _: None, author="ada")
    assert resume(store, place, run, lambda _: None, author="ada").model == "tiny-1"


def test_two_trainings_that_end_together_have_two_names(store: Store, place: Home) -> None:
    models: list[str] = []

    def train_another(event: Event) -> None:
        if isinstance(event, Step) and event.step == event.of:
            models.append(tune(store, place, epochs=0.5, seed=1).model)

    models.append(tune(store, place, train_another, epochs=0.5).model)
    assert models == ["tiny-1", "tiny-2"]
    assert {one.name for one in store.model_versions.list(kind="adapter")} == {"tiny-1", "tiny-2"}


def test_an_adapter_is_put_into_the_library_under_its_lock(
    store: Store, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def try_lock(*arguments: Any, **options: Any) -> ModelFolder:
        with pytest.raises(Timeout):
            FileLock(place.models / LOCK).acquire(timeout=0)
        return install_adapter(*arguments, **options)

    monkeypatch.setattr(adoption, "install_adapter", try_lock)
    assert tune(store, place, epochs=0.5).model == "tiny-1"
    assert store.runs.list()[0].config["hardware"]["cores"] == os.cpu_count()


def test_a_database_that_refuses_does_not_end_a_training(
    store: Store, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = store.runs.set_metrics, 0
    register = store.registration.register

    def refuse(run_id: str, values: Any) -> None:
        nonlocal refused
        values = list(values)
        if values and refused < 3:
            refused += 1
            raise DatabaseBusy("busy")
        write(run_id, values)

    def refuse_once(*arguments: Any, **options: Any) -> str:
        monkeypatch.setattr(store.registration, "register", register)
        raise DatabaseBusy("busy")

    monkeypatch.setattr(store.runs, "set_metrics", refuse)
    monkeypatch.setattr(store.registration, "register", refuse_once)
    events: list[Event] = []
    done = tune(store, place, events.append)
    assert refused == 3, "once at the first event, and not again before the end"
    expected = [(event.step, event.loss) for event in events if isinstance(event, Step)]
    assert store.runs.metrics(done.run_id, "loss") == expected
    assert store.runs.find(done.run_id).status == "complete"


def test_a_run_that_is_complete_has_all_of_its_figures(
    store: Store, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody goes on with one that is, so a kill right after would leave out what still waited."""
    write, register, refused = store.runs.set_metrics, store.registration.register, False
    events: list[Event] = []
    written: list[tuple[int, float]] = []

    def refuse_once(run_id: str, values: Any) -> None:
        nonlocal refused
        values = list(values)
        if values and not refused:
            refused = True
            raise DatabaseBusy("busy")
        write(run_id, values)

    def watch(run_id: str, *arguments: Any, **options: Any) -> str:
        written.extend(store.runs.metrics(run_id, "held-out loss"))
        return register(run_id, *arguments, **options)

    monkeypatch.setattr(store.runs, "set_metrics", refuse_once)
    monkeypatch.setattr(store.registration, "register", watch)
    tune(store, place, events.append, epochs=0.5)
    assert refused
    assert written == [(event.step, event.loss) for event in events if isinstance(event, HeldOut)]


def test_figures_that_could_not_be_written_are_written_with_the_next(store: Store, place: Home) -> None:
    run_id = tune(store, place, epochs=0.5).run_id
    recorder = Recorder(store, run_id, lambda _: None, pause=0.0)
    write = store.runs.set_metrics

    def refuse(*_: Any) -> None:
        raise StoreError("full")

    store.runs.set_metrics = refuse  # type: ignore[method-assign,assignment]
    recorder.hear(Step(50, 90, 1.5, 1.0, 1.0, 0.1, gradient=float("nan")))
    store.runs.set_metrics = write  # type: ignore[method-assign]
    recorder.hear(HeldOut(51, 1.25))
    assert store.runs.metrics(run_id, "loss")[-1] == (50, 1.5)
    assert store.runs.metrics(run_id, "held-out loss")[-1] == (51, 1.25)
    assert all(name != "gradient" for name, *_ in read_metrics(Step(1, 2, 1.0, 1.0, 1.0, 0.1, float("inf"))))


def test_a_failed_run_keeps_its_reason_until_it_goes_on(store: Store, place: Home) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, Step):
            raise ValueError("odd\x1b[2J\nthing")

    with pytest.raises(ValueError, match="odd"):
        tune(store, place, fail)
    [run] = store.runs.list()
    assert run.status == "failed"
    assert run.failure.startswith("ValueError: odd")
    assert "\x1b" not in run.failure
    assert run.config["config"]["rank"] == 4
    resume(store, place, run, lambda _: None, author="ada")
    assert store.runs.find(run.id).failure == ""


def test_a_loss_that_is_no_number_ends_the_run_with_what_to_do(
    store: Store, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatbot.admin.training.sft import SftLoop

    compute = SftLoop.compute_loss

    def go_astray(self: Any, model: Any, *rest: Any, **options: Any) -> Any:
        found = compute(self, model, *rest, **options)
        return found * torch.nan if model.training and self.state.global_step == 3 else found

    monkeypatch.setattr(SftLoop, "compute_loss", go_astray)
    with pytest.raises(LearningError, match=r"no number at step 4.*--learning-rate"):
        tune(store, place)
    [run] = store.runs.list()
    assert "no number at step 4" in run.failure
    assert b"NaN" not in (place.runs / run.id / "metrics.jsonl").read_bytes()


def refuse_to_write(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("saving.write_checkpoint", "The checkpoint of step 2 cannot be written"),
        ("adapters.write_file", "The adapter cannot be written"),
        ("events.os.write", "The figures of the run cannot be written"),
        ("job.write_file", "The run cannot be written"),
    ],
)
def test_a_full_disk_is_an_error_that_says_how_to_go_on(
    name: str, what: str, store: Store, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(LearningError, match=f"{what}.*No space.*--resume"):
        patch.setattr(f"chatbot.admin.training.{name}", refuse_to_write)
        tune(store, place)
    assert [path.name for path in place.models.iterdir() if path.name != ".lock"] == ["tiny"]
    if name.startswith("job."):
        assert store.runs.list() == []
        assert not list(place.runs.iterdir()), "a run without a row leaves no folder"
        return
    [run] = store.runs.list()
    assert (run.status, "No space left" in run.failure) == ("failed", True)
    assert resume(store, place, run, lambda _: None, author="ada").model == "tiny-1"


def test_a_run_whose_folder_or_job_is_gone_says_what_to_do(store: Store, place: Home) -> None:
    with pytest.raises(ZeroDivisionError):
        tune(store, place, break_down)
    [run] = store.runs.list()
    (place.runs / run.id / "config.json").unlink()
    with pytest.raises(RunDamaged, match="Start a new run"):
        resume(store, place, run, lambda _: None, author="ada")
    (place.runs / run.id).rename(place.runs / "elsewhere")
    with pytest.raises(RunDamaged, match="Start a new one"):
        resume(store, place, run, lambda _: None, author="ada")
    store.runs.change_status(run.id, "running")
    assert read_status(place, store.runs.find(run.id)) == "running", "of another machine's run nothing is known"


def test_a_first_ctrl_c_is_heard_at_once_and_a_second_tells_what_is_lost(store: Store, place: Home) -> None:
    told: list[str] = []

    def interrupt(event: Event) -> None:
        if isinstance(event, Step) and event.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            assert told == ["stop"], "before the step's checkpoint is written"

    lesson = choose_lesson(store, place, "tiny")
    done = finetune(
        store, place, lesson, small(), interrupt, author="ada", on_begin=lambda _: None,
        on_stop=lambda: told.append("stop"),
    )  # fmt: skip
    assert (done.outcome.status, done.model) == ("stopped", "")
    saved, made = read_steps(place, done.run_id)
    assert saved == made >= 3

    def interrupt_twice(event: Event) -> None:
        if isinstance(event, Step) and event.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        tune(store, place, interrupt_twice)
    run = store.runs.list()[0]
    assert run.status == "stopped"
    assert read_steps(place, run.id) == (2, 3)


def test_what_a_run_reported_is_told_again_when_it_goes_on(store: Store, place: Home) -> None:
    def fail(event: Event) -> None:
        if isinstance(event, Step) and event.step == 5:
            raise ValueError

    with pytest.raises(ValueError):
        tune(store, place, fail)
    [run] = store.runs.list()
    earlier: list[Event] = []
    later: list[Event] = []
    done = resume(store, place, run, later.append, author="ada", recall=earlier.append)
    steps = [event.step for event in [*earlier, *later] if isinstance(event, Step)]
    assert steps == list(range(1, done.outcome.steps + 1))
    first = next(event for event in earlier if isinstance(event, HeldOut))
    assert first.step == 0
    assert done.outcome.first_loss == first.loss


def test_training_on_from_an_alias_of_nothing(store: Store, place: Home) -> None:
    assert choose_lesson(store, place, "tiny", start="champion").parent is None
    with pytest.raises(NotFound, match="no candidate"):
        choose_lesson(store, place, "tiny", start="candidate")
    tune(store, place, epochs=0.5)
    parent = choose_lesson(store, place, "tiny", start="candidate").parent
    assert parent is not None
    assert parent.name == "tiny-1"
