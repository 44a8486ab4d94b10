"""`chatbot models` with adapters: listed with their base, exported, and guarding it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chatbot.cli.models import app
from chatbot.config import Home
from chatbot.errors import InvalidInput
from chatbot.models.library import ModelLibrary
from tests.models.tiny_adapters import add_adapter
from tests.models.tiny_models import build_folder

runner = CliRunner()


def run(*arguments: str) -> Any:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def library(home: Home, tmp_path: Path) -> ModelLibrary:
    """With the base `tiny` and its adapter `tiny-1`."""
    run("add", str(build_folder(tmp_path / "tiny")))
    library = ModelLibrary(home.models)
    add_adapter(library, "tiny", "tiny-1", tmp_path)
    return library


def test_an_adapter_is_listed_and_shown_with_its_base(library: ModelLibrary) -> None:
    line = next(line for line in run("list").stdout.splitlines() if line.startswith("tiny-1"))
    assert "adapter of tiny" in line
    row = next(row for row in json.loads(run("list", "--json").stdout) if row["name"] == "tiny-1")
    assert (row["kind"], row["base"], row["source"]) == ("adapter", "tiny", "run:test")
    shown = run("show", "tiny-1", "--verify").stdout
    assert "base            tiny" in shown
    assert "every file is as its manifest says" in shown
    assert json.loads(run("show", "tiny", "--json").stdout)["kind"] == "base"


def test_a_base_is_removed_only_by_force(library: ModelLibrary) -> None:
    with pytest.raises(InvalidInput, match="tiny-1"):  # before it asks
        runner.invoke(app, ["remove", "tiny"], catch_exceptions=False)
    library.verify("tiny-1")
    run("remove", "tiny", "--force", "--yes")
    line = next(line for line in run("list").stdout.splitlines() if line.startswith("tiny-1"))
    assert "damaged" in line
    assert "which is not here" in run("list").stdout
    run("remove", "tiny-1", "--yes")
    assert library.list() == []


def test_an_adapter_is_exported(library: ModelLibrary, tmp_path: Path) -> None:
    result = run("export", "tiny-1", str(tmp_path / "plain"))
    assert str(tmp_path / "plain") in result.stdout
    assert "Verifying" in result.stderr
    made = json.loads(run("export", "tiny-1", str(tmp_path / "merged"), "--merged", "--json").stdout)
    assert made["path"] == str(tmp_path / "merged")
    assert made["merged"]
    assert made["comparison"]["difference"] <= made["comparison"]["tolerance"]
    with pytest.raises(InvalidInput, match="exists already"):
        runner.invoke(app, ["export", "tiny-1", str(tmp_path / "plain")], catch_exceptions=False)
    told = run("export", "tiny-1", str(tmp_path / "plain"), "--merged", "--force").stdout
    assert "A logit differs from base and adapter apart by" in told


def test_the_help_has_examples() -> None:
    assert "chatbot models export identity-1 ~/identity-merged --merged" in run("export", "--help").stdout
