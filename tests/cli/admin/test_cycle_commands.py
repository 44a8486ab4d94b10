"""The five commands of the learning cycle, as an admin types them, with a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chatbot.admin.finetuning import Lesson
from chatbot.cli.admin import finetuning
from chatbot.cli.main import app
from chatbot.config import Home
from chatbot.engine.scripted import ScriptedEngine
from chatbot.errors import ChatbotError, LearningError
from chatbot.store.migrations import open_upgraded
from tests.admin.datasets.samples import make_pairs, talk, write_alpaca
from tests.admin.training.samples import build_tiny
from tests.cli.logs.talks import Done


@pytest.fixture
def file(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHATBOT_MODEL", "tiny")
    build_tiny(home.models / "tiny")
    return write_alpaca(tmp_path / "me.json", make_pairs(60))


def run(*arguments: str) -> Done:
    result = CliRunner().invoke(app, ["admin", *arguments], env={"COLUMNS": "100"})
    if isinstance(result.exception, ChatbotError):
        return Done(result.exception.exit_code, result.stdout, result.stderr + str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


@pytest.mark.slow
def test_from_a_file_to_a_rollback(
    file: Path, home: Home, serve_script: Callable[..., ScriptedEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("runs", "list").out.startswith("Nothing was trained yet.")
    assert run("journal").out == "Nothing was promoted yet.\n"
    assert run("promote").code == 5
    assert run("rollback").code == 5
    assert run("finetune", "me").code == 5
    assert run("dataset", "build", "me", "--file", str(file)).code == 0

    plan = run("finetune", "me", "--plan", "--epochs", "1", "--json").json
    assert plan["steps"] > 0
    assert "Memory" in run("finetune", "me", "--plan", "--epochs", "1").out
    assert run("runs", "list", "--json").json == [], "a plan leaves nothing behind"

    trained = run("finetune", "me", "--epochs", "1", "--exact", "--json").json
    assert trained["model"] == "me-1"
    shown = run("runs", "show", "me-1", "--json").json
    assert (shown["id"], shown["status"], shown["seed"]) == (trained["run"], "complete", 0)
    assert shown["versions"]["torch"]
    assert "me/1" in run("runs", "list").out
    assert "candidate" in run("models", "list").out
    assert run("models", "show", "candidate", "--json").json["gate"] is None
    assert run("finetune", "me", "--resume", "").code == 5, "a variable that was never set trains nothing anew"
    again = run("finetune", "me", "--resume", trained["run"])
    assert again.code == 9
    assert "is complete" in again.err

    assert run("promote", "candidate").code == 9
    refused = run("evaluate", "--html", "/dev/null/report.html")
    assert (refused.code, refused.out) == (8, ""), "before anything is measured"
    assert "/dev/null/report.html cannot be written" in refused.err
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    report = run("evaluate", "--replies", "2", "--html", str(page), "--markdown", str(text), "--json").json
    assert report["candidate"] == "me-1"
    assert report["champion"] == "tiny"
    assert page.read_text().startswith("<!doctype html>")
    assert "me-1" in text.read_text()
    if report["verdict"] != "better":
        refused = run("promote", "candidate")
        assert refused.code == 9
        assert f"The gate says {report['verdict']}" in refused.err
    serve_script([["I am new."]])
    monkeypatch.setenv("CHATBOT_MODEL", "tiny")
    moved = run("promote", "candidate", "--force", "--reason", "a test", "--json").json
    assert moved == {"left": "tiny", "reached": "me-1", "smoke": "I am new.", "forgotten": []}
    journal = run("journal", "--json").json
    assert {one["reason"] for one in journal if one["alias"] == "champion"} == {"forced: a test"}
    monkeypatch.delenv("CHATBOT_ENGINE_URL")  # a remote server's models are not for this doctor
    kept = CliRunner().invoke(app, ["models", "remove", "me-1", "--yes"])
    assert isinstance(kept.exception, ChatbotError)
    assert "me-1 is the champion" in str(kept.exception)
    assert (home.models / "me-1").is_dir()
    weights = home.models / "me-1" / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert run("models", "show", "me-1", "--json").json["fault"] == "", "the size is right, and bytes are not read"
    found = CliRunner().invoke(app, ["doctor", "--json"])
    assert found.exit_code == 1
    (told,) = [one for one in json.loads(found.stdout) if one["name"] == "model"]
    assert (told["status"], "adapter_model.safetensors differs" in told["detail"]) == ("failed", True)
    weights.write_bytes(whole)
    assert run("rollback").out == "tiny answers again, in place of me-1.\n"
    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        version = store.datasets.find("me")
        counts = {**version.counts, "struck": 1}
        store.datasets.replace_content(version.id, sha256="0" * 64, counts=counts)
    back = run("rollback")
    assert back.out == "me-1 answers again, in place of tiny.\n"
    assert "me-1 learnt what was since forgotten, in me/1" in back.err
    assert run("watch", "me-1").out == "The run is complete: it made me-1.\n"


@pytest.mark.parametrize("command", [["cycle", "me"], ["evaluate"], ["promote"], ["rollback"]])
def test_launched_processes_do_nothing_that_one_does(
    home: Home, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    done = run(*command)
    assert done.code == 8
    assert f"`chatbot admin {command[0]}` is done by one process" in done.err
    assert not home.data.exists()


def test_a_cycle_takes_an_imported_dataset_as_it_is(
    file: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its recipe says how to build it of a log, but of whose, and whether masked, is a stranger's choice."""
    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        for asked, answered in make_pairs(10):
            talk(store, asked, answered, decisions="+")
    archive = str(tmp_path / "me.zip")
    assert run("dataset", "build", "me", "--unreviewed").code == 0
    assert run("dataset", "export", "me", archive).code == 0
    assert run("dataset", "import", archive, "--name", "theirs").code == 0
    trained: list[str] = []

    def train(_: object, lesson: Lesson, *__: object) -> None:
        trained.append(lesson.dataset.title)
        raise LearningError("That is enough.")

    monkeypatch.setattr(finetuning, "run", train)
    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        talk(store, "something altogether new", "indeed", decisions="+")
    done = run("cycle", "theirs")
    assert "theirs/1 was imported, so it is taken as it is." in done.err
    assert "That is enough." in run("cycle", "me").err
    assert trained == ["theirs 1", "me 2"]


@pytest.mark.slow
def test_a_cycle_stops_at_the_gate(file: Path) -> None:
    same = json.loads(file.read_text())
    file.write_text(json.dumps([{**row, "output": "banana"} for row in same]))
    assert run("dataset", "build", "me", "--file", str(file), "--near", "2").code == 0
    done = run("cycle", "me")
    assert done.code == 9
    assert "is taken as it is" in done.err
    assert "It stops at the gate: me-1 is worse" in done.err
    assert "The data is spoiled" in done.out
    assert {one["name"]: one["aliases"] for one in run("models", "list", "--json").json} == {
        "me-1": ["candidate"],
        "tiny": [],
    }
