"""`chatbot admin tokenizer` on a corpus of the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from chatbot.admin.corpus import versions
from chatbot.cli.admin.tokenizer import app
from chatbot.config import Home
from chatbot.errors import InvalidInput, NotFound
from tests.admin.datasets.samples import make_base
from tests.admin.tokenizing.samples import make_corpus

runner = CliRunner()


def run(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store would find under any name."""
    made = make_corpus(tmp_path / "corpus")
    monkeypatch.setattr(versions, "open_corpus", lambda *_: (None, made))
    monkeypatch.setenv("COLUMNS", "80")


def test_one_is_trained_listed_shown_and_deleted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_MODEL", "tiny")
    make_base(home)
    told = run("train", "novels", "--corpus", "novels", "--vocab", "50000")
    assert "50,000 were asked for" in told.stdout
    assert "TINY" in told.stdout
    assert "novels" in run("list").stdout
    assert json.loads(run("list", "--json").stdout)[0]["report"]["base"] == "tiny"
    shown = run("show", "novels").stdout
    assert "Some tokens by their length" in shown
    assert all(cell_len(line) <= 80 for line in shown.splitlines())
    assert json.loads(run("show", "novels", "--json").stdout)["samples"]
    assert "is deleted" in run("delete", "novels", "--yes").stdout
    assert json.loads(run("list", "--json").stdout) == []
    with pytest.raises(NotFound):
        run("show", "novels")


def test_it_says_when_there_is_nothing_to_compare_with(home: Home) -> None:
    told = run("train", "letters", "--corpus", "novels", "--characters")
    assert "no base model to compare with" in told.stderr
    assert "UNKNOWN" in told.stdout
    assert home.tokenizers.joinpath("letters", "tokenizer.json").is_file()


def test_a_text_is_shown_as_it_is_cut() -> None:
    run("train", "novels", "--corpus", "novels", "--vocab", "400")
    told = run("show", "novels", "--text", "the best 你\n\x1b[31m").stdout
    assert "·best" in told
    assert "\x1b" not in told
    assert "bytes a token" in told
    tokens = json.loads(run("show", "novels", "--text", "the 你", "--json").stdout)["tokens"]
    assert bytes.fromhex("".join(token["bytes"] for token in tokens)).decode() == "the 你"
    assert "0 tokens" in run("show", "novels", "--text", "").stdout


def test_wrong_options_are_refused() -> None:
    run("train", "a", "--corpus", "b", "--characters", "--vocab", "900", code=2)
    with pytest.raises(InvalidInput, match="259 at least"):
        run("train", "a", "--corpus", "b", "--vocab", "0")
    with pytest.raises(InvalidInput, match="name of a tokenizer"):
        run("train", "../a", "--corpus", "b")


@pytest.mark.parametrize("command", ["train", "list", "show", "delete"])
def test_the_help_has_examples(command: str) -> None:
    assert f"chatbot admin tokenizer {command}" in run(command, "--help").stdout
