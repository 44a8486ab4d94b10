"""`chatbot logs redact`: the preview, then the masking."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatbot.config import Home
from chatbot.store.database import Store
from tests.cli.logs.talks import EGGS, PRIVATE, run


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("Ada Lovelace\n")
    return path


def test_the_preview_shows_each_finding_and_changes_nothing(log: Store, names: Path) -> None:
    done = run("redact", PRIVATE, "--names", str(names))
    assert done.code == 0
    assert "I am »Ada Lovelace«, write to ada@example.com" in done.out
    assert "I wrote to »ada@example.com«." in done.out
    assert "In 1 conversation: 3 email, 1 name." in done.out
    assert "Nothing was changed" in done.err
    assert "Ada Lovelace" in run("show", PRIVATE).out


def test_yes_masks_for_good_and_names_the_backups(log: Store, home: Home, names: Path) -> None:
    backup = log.back_up()
    done = run("redact", PRIVATE, "--names", str(names), "--yes")
    assert backup.name in done.out
    shown = run("show", PRIVATE).out
    assert "I am [name], write to [e-mail]" in shown
    assert "redacted" in shown
    assert b"ada@example.com" not in (home.data / "chatbot.db").read_bytes()
    assert run("redact", PRIVATE, "--names", str(names), "--yes").out == "Nothing was found to mask.\n"


def test_filters_choose_and_json_tells_places(log: Store) -> None:
    told = run("redact", "--all", "--json").json
    assert (told["masked"], told["counts"]) == (False, {"email": 3})
    (found,) = told["conversations"]
    assert found["id"] == PRIVATE
    assert {one["in"] for one in found["findings"]} == {"user", "assistant", "title"}
    assert run("redact", "--persona", "cook").out == "Nothing was found to mask.\n"
    assert run("redact", "--text", "write", "--yes", "--json").json["masked"] is True


def test_the_list_of_names_may_stand_in_the_settings(log: Store, names: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_REVIEW_NAMES", str(names))
    assert run("redact", PRIVATE, "--json").json["counts"] == {"email": 3, "name": 1}


def test_a_list_of_names_that_cannot_be_read_is_told(log: Store, names: Path) -> None:
    names.write_bytes(b"Ada\n\xff\xfe\n")
    done = run("redact", PRIVATE, "--names", str(names), "--yes")
    assert done.code == 8
    assert "line 2" in done.err
    assert "Ada Lovelace" in run("show", PRIVATE).out


@pytest.mark.parametrize("arguments", [[], ["--yes"], [EGGS, "--all"], [EGGS, "--since", "7d"]])
def test_what_is_meant_must_be_said(log: Store, arguments: list[str]) -> None:
    assert run("redact", *arguments).code == 2
