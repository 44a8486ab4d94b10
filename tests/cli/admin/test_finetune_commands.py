"""`finetune` and `watch` as a person meets them: what they say of runs that stop, fail or are killed."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from chatbot.admin.finetuning import choose_lesson, finetune
from chatbot.admin.training.events import Data, Event, HeldOut, Step
from chatbot.admin.training.holding import hold_run
from chatbot.cli.admin.board import STOPPING, Board, describe_data, show_board
from chatbot.config import Home
from chatbot.models.library import ModelLibrary
from tests.admin.training.samples import build_tiny, furnish, open_store, small
from tests.cli.admin.test_cycle_commands import run


@pytest.fixture
def tiny(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with the tiny model and a dataset of it."""
    monkeypatch.setenv("CHATBOT_MODEL", "tiny")
    furnish(home, build_tiny(tmp_path / "tiny"))
    assert ModelLibrary(home.models).find("tiny")
    return home


def break_off(home: Home, at: int, error: type[BaseException]) -> str:
    """A run that ended with `error` at a step; its id."""

    def fail(event: Event) -> None:
        if isinstance(event, Step) and event.step == at:
            raise error("a cosmic ray")

    with open_store(home) as store:
        lesson = choose_lesson(store, home, "tiny")
        with pytest.raises(error):
            finetune(store, home, lesson, small(), fail, author="ada", on_begin=lambda _: None)
        return store.runs.list()[0].id


def test_a_plan_takes_alpha_and_lengths_from_where_they_belong_and_says_where_it_starts(tiny: Home) -> None:
    plan = run("finetune", "tiny", "--plan", "--rank", "64", "--max-tokens", "60", "--from", "champion", "--json")
    assert plan.json["config"]["alpha"] == 8, "rsLoRA: another rank needs no other alpha"
    assert plan.json["config"]["max_length"] == 60
    assert plan.json["left_out"] > 0
    assert "Nothing was promoted yet, so the training starts from tiny." in plan.err
    told = run("finetune", "tiny", "--plan", "--max-tokens", "60").out
    assert "the quickest of a few" in told
    assert f"{plan.json['left_out']} rows longer than 60 tokens" in told
    refused = run("finetune", "tiny", "--plan", "--learning-rate", "inf")
    assert refused.code == 9
    assert "learning_rate = inf makes no sense" in refused.err
    assert run("finetune", "tiny", "--plan", "--learning-rate", "nan").code == 2


def test_what_a_run_began_with_is_not_given_again(tiny: Home) -> None:
    run_id = break_off(tiny, 3, ValueError)
    for options in (
        ["--plan"], ["--rank", "64"], ["--rank", "16"], ["--learning-rate", "1e-4"], ["--from", "champion"],
        ["--exact"], ["--method", "sft"], ["--epochs", "9"], ["--seed", "3"], ["--max-tokens", "64"],
    ):  # fmt: skip
        refused = run("finetune", "tiny", "--resume", run_id, *options)
        assert refused.code == 8
        assert f"{options[0]} cannot be given with --resume" in refused.err
    with open_store(tiny) as store:
        assert store.runs.find(run_id).status == "failed", "nothing was trained"
    assert run("finetune", "tiny", "--resume", run_id, "--json").json["model"] == "tiny-1"


def test_a_run_goes_on_with_the_version_that_it_was_begun_with(tiny: Home) -> None:
    run_id = break_off(tiny, 3, ValueError)
    for name in ("tiny/2", "other", "other/1"):
        refused = run("finetune", name, "--resume", run_id)
        assert refused.code == 8
        assert f"trained on tiny/1, not on {name}." in refused.err
    assert run("finetune", "tiny/1", "--resume", run_id).code == 0


def test_an_adapter_that_is_trained_on_keeps_its_rank_and_the_plan_says_so(tiny: Home) -> None:
    assert run("finetune", "tiny", "--epochs", "1", "--rank", "3").code == 0
    refused = run("finetune", "tiny", "--from", "tiny-1", "--rank", "64")
    assert refused.code == 8
    assert "tiny-1 keeps its rank" in refused.err
    config = run("finetune", "tiny", "--from", "tiny-1", "--plan", "--json").json["config"]
    assert (config["rank"], config["alpha"]) == (3, 8)


def test_watching_a_run_whose_process_was_killed_ends_with_how_to_go_on(tiny: Home) -> None:
    run_id = break_off(tiny, 3, ValueError)
    failed = run("watch")
    assert failed.out == (
        f"The run is failed: ValueError: a cosmic ray. `chatbot admin finetune tiny --resume {run_id}` goes on.\n"
    )
    with open_store(tiny) as store:
        store.runs.change_status(run_id, "running")  # as a killed process leaves it
    killed = run("watch")
    assert killed.out == f"The run is interrupted. `chatbot admin finetune tiny --resume {run_id}` goes on.\n"
    with hold_run(tiny.runs / run_id):
        refused = run("finetune", "tiny", "--resume", run_id)
        assert refused.code == 9
        assert f"in the process {os.getpid()}" in refused.err
        assert "goes on" not in refused.err
    done = run("finetune", "tiny", "--resume", run_id)
    assert done.code == 0, done.err
    assert "tiny-1 is trained" in done.out
    assert run("watch").out == "The run is complete: it made tiny-1.\n"


def test_a_stop_says_what_is_saved_and_what_is_not(tiny: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_at(step: int) -> None:
        def fail(self: Board, event: Event) -> None:
            if isinstance(event, Step) and event.step == step:
                raise KeyboardInterrupt

        monkeypatch.setattr(Board, "hear", fail)

    stop_at(1)
    begun = run("finetune", "tiny", "--exact", "--epochs", "8")
    assert begun.code == 130
    assert "Stopped before anything was saved. `chatbot admin finetune tiny --resume" in begun.err
    run_id = begun.err.split("--resume ")[1].split("`")[0]
    stop_at(3)
    stopped = run("finetune", "tiny", "--resume", run_id)
    assert stopped.code == 130
    assert "Stopped and saved at step" in stopped.err
    assert "after it are made again" in stopped.err


def test_a_reader_who_has_left_does_not_end_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1) as gone, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", gone)
        board = Board("tiny")
        with show_board(board) as screen:
            for step in range(3):
                screen.hear(HeldOut(step, 1.0 + step))
            screen.announce_stop()
        assert [look.step for look in board.looks] == [0, 1, 2]


def test_a_board_says_that_it_stops_and_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "words").open("w") as words, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", words)
        with show_board(Board("tiny")) as screen:
            screen.hear(Data(0, rows=9, left_out=2, max_length=64, held_out=4, held_out_left_out=1, missing="bad"))
            screen.announce_stop()
    told = (tmp_path / "words").read_text()
    assert "2 rows and 1 held-out ones longer than 64 tokens are left out." in told
    assert "No held-out reply is bad" in told
    assert STOPPING in told
    assert describe_data(Data(0, rows=9, left_out=0, max_length=64, held_out=4, held_out_left_out=0)) == ""
    assert isinstance(sys.stderr, io.TextIOBase)


def test_a_board_that_began_later_does_not_call_its_first_look_the_first() -> None:
    board = Board("tiny")
    board.hear(HeldOut(6, 1.5))
    assert "at first" not in board.describe()
    board.forget()
    board.hear(HeldOut(0, 2.5))
    board.hear(HeldOut(6, 1.5))
    assert "held-out 1.500 (at first 2.500)" in board.describe()
