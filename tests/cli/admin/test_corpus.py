"""`chatbot admin corpus`: what the commands print, and how they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chatbot.cli.admin.corpus import app
from chatbot.config import Home
from chatbot.errors import ChatbotError
from chatbot.store.migrations import open_upgraded
from tests.admin.corpus.samples import make_text, write_lines
from tests.admin.datasets.samples import talk
from tests.cli.logs.talks import Done


def run(*arguments: object) -> Done:
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "100"})
    if isinstance(result.exception, ChatbotError):
        return Done(result.exception.exit_code, result.stdout, result.stderr + str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "one.txt").write_text(make_text(1))
    (folder / "two.md").write_text("\x1b]0;owned\x07\u202e" + make_text(2))
    (folder / "same.txt").write_text(make_text(1))
    (folder / "bad\x1b[31m.bin").write_bytes(bytes(50))
    return folder


def test_a_corpus_is_built_and_what_each_step_did_is_told(texts: Path) -> None:
    done = run("build", "books", "--from", texts, "--licence", "CC0-1.0", "--unit", "document")
    assert done.code == 0
    assert "books/1 is made" in done.out
    assert "read        3 files, 3 documents" in done.out
    assert "passed over is binary 1" in done.out
    assert "duplicate: exact           1 text, 1,5" in done.out
    assert "licences    CC0-1.0 2" in done.out
    assert "chatbot admin tokenizer train books --corpus books" in done.out
    assert "Passed over: bad␛[31m.bin is binary" in done.err
    assert not {"\x1b", "\x07", "\u202e"} & set(done.out + done.err)
    again = run("build", "books", "--from", texts, "--licence", "CC0-1.0", "--unit", "document")
    assert "Nothing has changed: books/1" in again.out
    assert "held out    by section, because" in run("build", "sections", "--from", texts).out
    assert "held out    nothing" in run("build", "all", "--from", texts, "--holdout", "0").out
    told = run("build", "books", "--from", texts, "--json").json
    assert (told["number"], told["new"], told["counts"]["licences"]) == (2, True, {"unknown": 2})
    assert not run("build", "books", "--from", texts, "--json").json["new"]


def test_versions_are_listed_shown_and_deleted(texts: Path, home: Home) -> None:
    assert "There are no corpora yet" in run("list").err
    run("build", "books", "--from", texts, "--unit", "document")
    run("build", "books", "--from", texts, "--unit", "document", "--keep-duplicates")
    told = run("list", "--json").json
    assert [(one["name"], one["number"], one["documents"], one["problems"]) for one in told] == [
        ("books", 1, 2, []),
        ("books", 2, 3, []),
    ]
    assert "books/2" in run("list", "books").out
    shown = run("show", "books/1", "--documents", 3, "--verify")
    assert "source      two.md: 1 document" in shown.out
    assert " · whole" in shown.out
    every: list[dict[str, Any]] = []
    for split in ("train", "validation"):
        every += run("show", "books/1", "--documents", 3, "--split", split, "--json").json["documents"]
    assert {one["source"] for one in every} == {"one.txt", "two.md"}
    assert run("delete", "books", "--yes").code == 2
    assert run("delete", "books/1").code == 8
    assert run("delete", "books/1", "--yes").code == 0
    assert [one["number"] for one in run("list", "--json").json] == [2]
    (home.corpora / "books" / "2" / "train.jsonl.zst").write_bytes(b"")
    assert run("list", "--json").json[0]["problems"] == ["damaged"]
    assert run("show", "books").code == 9


def test_what_is_shown_of_documents_obeys_nothing(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\u202e[bold]text"
    path = write_lines(tmp_path / "a.jsonl", [{"text": evil, "source": f"s{evil}", "licence": evil}])
    run("build", "evil", "--from", path, "--raw", "--holdout", 0)
    shown = run("show", "evil", "--documents", 1).out
    assert "[bold]text" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_the_log_is_taken_redacted(home: Home) -> None:
    with open_upgraded(f"sqlite:///{home.data / 'chatbot.db'}") as store:
        talk(store, "Who is ada@example.org?", "She is a friend of Bob.", decisions="+")
    names = home.data / "names.txt"
    names.write_text("Bob\n")
    told = run("build", "talks", "--from-logs", "--holdout", 0, "--names", names, "--json").json
    assert told["counts"]["redacted"] == {"email": 1, "name": 1}
    (document,) = run("show", "talks", "--documents", 5, "--json").json["documents"]
    assert document["text"].startswith("User: Who is [e-mail]?")
    assert "Bob" not in document["text"]
    assert document["conversation"]


def test_a_play_is_split_as_others_split_it(tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text(make_text(1, 10_000))
    told = run("build", "play", "--from", path, "--raw", "--split-at", 0.9, "--json").json
    size = path.stat().st_size
    assert told["counts"]["bytes"] == {"train": int(size * 0.9), "validation": size - int(size * 0.9)}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("build", "../x", "--from", "."), 8),
        (("build", "x"), 8),
        (("build", "x", "--from", "/nowhere"), 8),
        (("build", "x", "--from", "/dev/null"), 8),
        (("build", "x", "--from", ".", "--holdout", "2"), 8),
        (("build", "x", "--from", ".", "--split-at", "0.9"), 8),
        (("build", "x", "--from", ".", "--language", "English"), 8),
        (("build", "x", "--from-logs"), 9),
        (("show", "x"), 5),
        (("delete", "x/1", "--yes"), 5),
        (("list", "../x"), 8),
    ],
)
def test_what_makes_no_sense_is_named(arguments: tuple[str, ...], code: int) -> None:
    done = run(*arguments)
    assert done.code == code
    assert done.err
