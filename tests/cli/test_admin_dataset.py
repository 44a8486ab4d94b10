"""`chatbot admin dataset`, and that `chatbot logs forget` reaches the datasets' files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chatbot.cli.main import app
from chatbot.config import Home
from chatbot.errors import ChatbotError, DatabaseUnwritable
from chatbot.models.library import ModelFolder
from chatbot.store.database import Store
from chatbot.store.migrations import open_upgraded
from chatbot.store.sessions import Database
from tests.admin.datasets.samples import make_base, make_pairs, talk, write_alpaca
from tests.cli.logs.talks import Done
from tests.store.sample import Cycle


@pytest.fixture
def base(home: Home, monkeypatch: pytest.MonkeyPatch) -> ModelFolder:
    monkeypatch.setenv("CHATBOT_MODEL", "tiny")
    return make_base(home)


@pytest.fixture
def log(home: Home, base: ModelFolder) -> Iterator[Store]:
    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        for asked, answered in make_pairs(10):
            talk(store, asked, answered, decisions="+")
        talk(store, "\x1b]0;owned\x07 evil", "\x1b[31mzyxomatic \u202e[bold]", decisions="+")
        yield store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_alpaca(tmp_path / "me.json", [*make_pairs(20), ("Who are you?", "I am {{name}}, by {{author}}.")])


def run(*arguments: str, group: str = "admin") -> Done:
    parts = ["dataset", *arguments] if group == "admin" else list(arguments)
    result = CliRunner().invoke(app, [group, *parts], env={"COLUMNS": "100"})
    if isinstance(result.exception, ChatbotError):
        return Done(result.exception.exit_code, result.stdout, result.stderr + str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def build(file: Path, *more: str) -> Done:
    return run("build", "me", "--file", str(file), "--fill", "name=Ada, the first,author=Lab", *more)


def test_a_dataset_is_built_from_a_file_and_its_figures_are_told(base: ModelFolder, file: Path) -> None:
    done = build(file, "--replay", "0.2")
    assert done.code == 0
    assert "me/1 is made" in done.out
    assert "file:me.json 21, replay:general" in done.out
    again = build(file, "--replay", "0.2", "--json").json
    assert (again["number"], again["new"]) == (1, False)
    assert "Nothing has changed: me/1" in build(file, "--replay", "0.2").out
    assert again["counts"]["filled"] == {"name": 1, "author": 1}
    rows = Path(again["path"], "train.jsonl").read_text() + Path(again["path"], "validation.jsonl").read_text()
    rows += Path(again["path"], "test.jsonl").read_text()
    assert "I am Ada, the first, by Lab." in rows
    # What the chat sends above every conversation is what file rows are learnt under.
    assert json.loads(rows.splitlines()[0])["turns"][0]["content"].startswith("You are a helpful assistant.")


def test_the_log_is_taken_without_a_file_or_with_a_filter(log: Store, file: Path) -> None:
    assert run("build", "talks", "--json").json["counts"]["sources"] == {"chat": 11}
    both = build(file, "--state", "approved", "--json").json
    # Ten of the file's questions stand in the log, too.
    assert both["counts"]["sources"] == {"chat": 11, "file:me.json": 11}
    assert both["counts"]["left_out"] == {"nearly another item": 10}
    assert both["recipe"]["log"] == {"state": "approved"}
    assert set(build(file, "--json").json["counts"]["sources"]) == {"file:me.json"}


def test_placeholders_without_words_are_told(base: ModelFolder, file: Path) -> None:
    done = run("build", "me", "--file", str(file), "--fill", "nobody=x")
    assert "not filled  {{name}} 1, {{author}} 1: give --fill" in done.out
    assert "fills       nothing: nobody" in done.out


def test_versions_are_listed_compared_and_deleted(base: ModelFolder, file: Path, home: Home) -> None:
    assert "There are no datasets yet" in run("list").err
    build(file)
    build(file, "--cap", "15")
    told = run("list", "--json").json
    assert [(one["number"], sum(one["items"].values()), one["problems"]) for one in told] == [(1, 21, []), (2, 15, [])]
    assert "me/2" in run("list").out
    assert "6 items removed:" in run("diff", "me/1", "me").out
    assert run("diff", "me/1", "me/2", "--json").json["counts"]["same"] == 15
    assert run("delete", "me", "--yes").code == 2
    assert run("delete", "me/1").code == 8
    assert run("delete", "me/1", "--yes").code == 0
    assert run("delete", "me/1", "--yes").code == 5
    assert [one["number"] for one in run("list", "--json").json] == [2]
    (home.datasets / "me" / "2" / "manifest.json").unlink()
    assert run("list", "--json").json[0]["problems"] == ["damaged"]


def test_rows_are_shown_token_by_token_and_obey_nothing(log: Store) -> None:
    run("build", "talks")
    shown = "".join(run("show", "talks", "--split", split, "--limit", "20").out for split in ("train", "validation"))
    shown += run("show", "talks", "--split", "test", "--limit", "20").out
    assert shown.count("⟦") == shown.count("⟧") == 11
    assert "<|im_end|>⟧" in shown
    assert "zyxomatic" in shown.replace("│", "")
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    told = run("show", "talks", "--limit", "1", "--json").json["rows"][0]
    row = told["rows"][0]
    assert row["learnt"] == sum(len(piece["tokens"]) for piece in row["pieces"] if piece["learned"]) > 0
    assert run("show", "talks", "--item", told["item"]["id"], "--json").json["rows"] == [told]
    assert run("show", "talks", "--item", "nothing").code == 5


def test_what_a_run_used_is_deleted_only_by_force_damaged_or_not(log: Store, home: Home) -> None:
    run("build", "talks")
    Cycle(log).train("learner", {log.datasets.find("talks").id: "train"})
    (home.datasets / "talks" / "1" / "train.jsonl").unlink()
    again = run("build", "talks")
    assert "talks/2 is made" in again.out
    assert "version 1 holds the same, but its files are damaged" in again.out
    refused = run("delete", "talks/1", "--yes")
    assert refused.code == 8
    assert "used by 1 run (run of learner); of them came learner" in refused.err
    assert run("delete", "talks/1", "--force").code == 8  # nobody is here to answer
    assert run("delete", "talks/1", "--force", "--yes").code == 0
    assert not (home.datasets / "talks" / "1").exists()
    assert [one["number"] for one in run("list", "--json").json] == [2]
    assert log.lineage.of_model("learner").datasets[0].name == "talks"


def test_what_speaks_against_an_approval_is_told_when_built_and_when_shown(log: Store) -> None:
    talk(log, "a question of mine", "a poor answer", decisions="+", ratings="-")
    for told in (run("build", "talks").out, run("show", "talks", "--limit", "1").out):
        assert "look again  approved but rated down 1: such a reply carries no loss" in told


def test_showing_from_beyond_the_end_says_how_many_there_are(log: Store) -> None:
    run("build", "talks")
    done = run("show", "talks", "--offset", "999")
    assert "so there is nothing to show from 999 on" in done.err
    assert run("show", "talks", "--offset", "999", "--json").json["rows"] == []


def test_a_version_goes_out_and_comes_back(base: ModelFolder, file: Path, tmp_path: Path) -> None:
    build(file)
    path = tmp_path / "me.zip"
    assert run("export", "me", str(path)).code == 0
    assert run("export", "me", str(path)).code == 8
    assert "It is here already: me/1" in run("import", str(path)).out
    assert "theirs/1 is here" in run("import", str(path), "--name", "theirs").out
    assert run("import", str(file)).code == 8


def test_forgetting_a_conversation_takes_it_out_of_the_files(log: Store, home: Home) -> None:
    run("build", "talks")
    (secret,) = (one.id for one in log.conversations.list(limit=50) if "evil" in log.logs.tree(one.id)[0].content)
    told = run("forget", secret, "--yes", "--json", group="logs").json
    assert told["struck"] == [{"name": "talks", "number": 1, "items": 1}]
    assert not [path for path in home.datasets.rglob("*.jsonl") if b"zyxomatic" in path.read_bytes()]
    assert run("list", "--json").json[0]["problems"] == ["1 forgotten"]
    assert "forgotten   1 item" in run("show", "talks").out


def test_files_are_struck_though_the_database_fails_at_the_end(
    log: Store, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("build", "talks")
    (secret,) = (one.id for one in log.conversations.list(limit=50) if "evil" in log.logs.tree(one.id)[0].content)

    def fail(*_: object) -> None:
        raise DatabaseUnwritable("no room")

    monkeypatch.setattr(Database, "vacuum", fail)
    done = run("forget", secret, "--yes", group="logs")
    assert done.code == 4
    assert not [path for path in home.datasets.rglob("*.jsonl") if b"zyxomatic" in path.read_bytes()]


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "../x"),
        ("build", "x", "--shares", "80/20"),
        ("build", "x", "--shares", "80/10/20"),
        ("build", "x", "--shares", "a/b/c"),
        ("build", "x", "--fill", "name", "--file", "y"),
        ("build", "x", "--file", "/nowhere"),
        ("show", "a/b"),
        ("import", "/nowhere.zip"),
    ],
)
def test_what_makes_no_sense_is_named(base: ModelFolder, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.code == 8
    assert done.err


def test_what_is_not_there_is_not_found(base: ModelFolder) -> None:
    for arguments in (("show", "x"), ("diff", "x", "y"), ("delete", "x/1", "--yes"), ("export", "x", "y.zip")):
        assert run(*arguments).code == 5
    assert run("build", "x", "--base", "nosuch").code == 6
    assert run("build", "x").code == 9
