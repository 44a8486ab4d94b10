"""`chatbot explain` on a tiny model: what is printed fits, stays aligned, and obeys nothing."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner

from chatbot.cli import heat_map
from chatbot.cli.explain import explain
from chatbot.cli.heat_map import draw_map
from chatbot.config import Home
from chatbot.errors import InvalidInput, ModelNotFound
from chatbot.models.library import ModelLibrary
from chatbot.models.manifest import MANIFEST
from chatbot.models.template import ChatMessage
from tests.admin.training.samples import build_tiny

app = typer.Typer()
app.command()(explain)
runner = CliRunner()
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def run(*arguments: str, code: int = 0) -> Any:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_tiny(folder / "tiny")
    return folder


@pytest.fixture(autouse=True)
def model(home: Home, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_MODEL", "tiny")
    monkeypatch.setenv("COLUMNS", "80")
    home.data.mkdir(parents=True)
    home.models.symlink_to(models)


def test_the_page_has_four_steps_and_fits() -> None:
    told = run("The quick 狐狸\tjumps over 12 rivers and 世界 🎉 \x1b[31m").stdout
    for title in ("1. Tokens", "2. Embeddings", "3. Attention", "4. The next token", "Vaswani et al. 2017"):
        assert title in told
    assert "\x1b" not in told
    assert all(cell_len(line) <= 80 for line in told.splitlines())


def test_wide_characters_keep_the_columns_aligned() -> None:
    lines = run("天空 is blue, 你好 world").stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("0 "))
    places, tokens, ids = lines[start : start + 3]

    def find_starts(line: str, sign: str) -> set[int]:
        return {cell_len(line[: found.end()]) for found in re.finditer(sign, line)}

    borders = find_starts(tokens, "│")
    assert find_starts(places, r" (?=\d)") <= borders
    assert find_starts(ids, r" (?=\d)") <= borders
    assert len(borders) == len(places.split()) - 1
    # In the tables, too, the numbers stand below each other.
    next_lines = lines[next(n for n, line in enumerate(lines) if line.startswith("4. ")) :]
    percents = [line for line in next_lines if re.match(r" ?\d+  ", line)]
    assert len(percents) == 10
    assert len({cell_len(line[: line.index("%")]) for line in percents}) == 1


def test_one_head_is_drawn_whole() -> None:
    told = run("The quick brown fox", "--layer", "1", "--head", "0").stdout
    assert "Layer 1, head 0" in told
    assert "From, in %" in told
    with pytest.raises(InvalidInput, match="There is no attention map of layer 9"):
        run("The quick", "--layer", "9", "--head", "0")
    assert "together" in run("The quick", "--layer", "1", code=2).stderr


def test_temperature_stands_beside_the_plain_distribution() -> None:
    told = run("The quick", "--temperature", "0.5").stdout
    assert "T = 1" in told
    assert "T = 0.5" in told
    assert run("The quick", "--temperature", "0").stdout.count("100.0 %") == 1


def test_json_has_every_number() -> None:
    told = json.loads(run("The quick 狐狸", "--json", "--layer", "0", "--head", "1").stdout)
    assert bytes.fromhex("".join(token["bytes"] for token in told["tokens"])).decode() == "The quick 狐狸"
    for number, row in enumerate(told["attention"]["weights"]):
        assert sum(row) == pytest.approx(1, abs=1e-4)
        assert not any(row[number + 1 :])
    assert len(told["neighbours"]) == len(told["tokens"])
    assert len(told["next"]["candidates"]) == 10
    heads = json.loads(run("The quick", "--json", "--token", "1").stdout)
    assert [one["token"] for one in heads["neighbours"]] == [1]
    assert {"layer", "head", "first", "previous", "itself", "elsewhere"} == set(heads["attention"]["heads"][0])


def test_a_model_that_goes_on_with_text_is_shown_what_it_reads(home: Home, models: Path) -> None:
    home.models.unlink()
    shutil.copytree(models, home.models)
    manifest = home.models / "tiny" / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"answers": "text"}))
    reads = (
        ModelLibrary(home.models).find("tiny").load_template(answering=True).encode([ChatMessage("user", "The sky")])
    )
    told = [token["id"] for token in json.loads(run("The sky", "--json").stdout)["tokens"]]
    assert told == reads
    assert told[0] == 0  # what begins a document


def test_a_page_is_written_private(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert "page.html" in run("The <b>quick", "--html", str(path)).stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert "&lt;" in path.read_text("utf-8")
    with pytest.raises(InvalidInput, match="cannot be written"):
        run("The quick", "--html", "/proc/page.html")


def test_what_cannot_be_explained_is_told() -> None:
    with pytest.raises(InvalidInput, match="no text"):
        run("")
    with pytest.raises(InvalidInput, match="There is no token 99"):
        run("The quick", "--token", "99")
    with pytest.raises(ModelNotFound):
        run("The quick", "--model", "nosuch")
    run("The quick", "--temperature", "nan", code=2)
    assert "chatbot explain --chat" in run("--help").stdout


@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize("count", [1, 2, 20, 45, 200])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_map_fits_and_hides_what_comes_later(
    coloured: bool, count: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    colour(monkeypatch, coloured)
    weights = np.tril(np.ones((count, count))) / np.arange(1, count + 1)[:, None]
    lines = [_ANSI.sub("", line) for line in draw_map(weights, ["世界·the"] * count, width)]
    assert all(cell_len(line) <= width for line in lines)
    rows = [line for line in lines if "世界" in line]
    assert rows
    for above, below in itertools.pairwise(rows):
        assert cell_len(above) <= cell_len(below)
    if not coloured:
        assert "█" in rows[0]  # all of the first token's attention is on itself


def test_colours_and_shades_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.01, 0.2, 0.79]])
    colour(monkeypatch, False)
    shades = [line[4:] for line in list(draw_map(weights, ["a", "b", "c"], 80))[1:4]]
    assert shades == ["██", "▓▓▓▓", "··▒▒██"]
    colour(monkeypatch, True)
    drawn = list(draw_map(weights, ["a", "b", "c"], 80))
    assert "\x1b[48;5;226m" in drawn[1]
    assert "\x1b[48;5;53m" in drawn[3]


def test_the_largest_weight_of_a_cell_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    colour(monkeypatch, False)
    weights = np.zeros((300, 300))
    weights[250, 100] = 1.0
    lines = list(draw_map(weights, [str(number) for number in range(300)], 80))
    assert sum(line.count("█") for line in lines[:-1]) == 1
    assert any("largest weight of 5 by 5" in line for line in lines)


def colour(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    from chatbot.cli.logs import printing

    for module in (heat_map, printing):
        monkeypatch.setattr(module, "has_colours", lambda: wanted)
