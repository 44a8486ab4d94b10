"""Tasks of lm-evaluation-harness: paired by document, and no code out of a file."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from jinja2 import Environment

from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.harness import _pair, list_tasks, measure_task
from chatbot.errors import InvalidInput
from chatbot.models.library import ModelLibrary
from tests.admin.training.samples import build_tiny
from tests.models.tiny_adapters import add_adapter

INSTALLED = importlib.util.find_spec("lm_eval") is not None


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ModelLibrary:
    library = ModelLibrary(tmp_path_factory.mktemp("models"))
    build_tiny(library.folder / "tiny")
    add_adapter(library, "tiny", "tiny-1", tmp_path_factory.mktemp("saved"), size=0.5)
    return library


def make_bench(library: ModelLibrary) -> Bench:
    base = library.find("tiny")
    return Bench(base, {"candidate": library.find("tiny-1").path}, base.load_template())


def write_task(folder: Path) -> Path:
    data = folder / "data.jsonl"
    rows = [{"q": f"The sky is {n}", "choices": ["blue", "air", "light"], "gold": n % 3} for n in range(6)]
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    path = folder / "sky.yaml"
    path.write_text(
        f"""task: sky
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
metric_list:
  - metric: acc
    higher_is_better: true
"""
    )
    return path


def test_tasks_are_told_from_files() -> None:
    assert list_tasks(["lm-eval:arc_easy", "mine.jsonl"]) == ["arc_easy"]


def test_samples_are_paired_by_document_in_any_order() -> None:
    def sample(number: int, score: float) -> dict[str, object]:
        return {"doc_id": number, "doc_hash": str(number), "acc": score, "said": "x"}

    samples = {
        "candidate": [sample(n, float(n == 1)) for n in range(4)],
        "champion": [sample(n, float(n != 1)) for n in reversed(range(5))],
    }
    (measure,) = _pair("lm-eval:sky", samples, {"acc": "higher", "said": "higher"})
    assert (measure.n, measure.candidate, measure.champion) == (4, 0.25, 0.75)
    with pytest.raises(InvalidInput, match="nothing can be paired"):
        _pair("lm-eval:sky", samples, {"f1": "higher"})


def test_each_way_of_reading_answers_and_each_task_of_a_group_counts_by_itself() -> None:
    def sample(task: str, way: str, score: object) -> dict[str, object]:
        return {"task": task, "doc_id": 0, "doc_hash": "x", "filter": way, "exact_match": score}

    samples = {
        "candidate": [
            sample(task, way, np.float32(way == "strict")) for task in ("a", "b") for way in ("strict", "lax")
        ],
        "champion": [sample(task, way, 0) for task in ("b", "a") for way in ("lax", "strict")],
    }
    found = {one.metric: one for one in _pair("lm-eval:sums", samples, {"exact_match": "higher"})}
    assert set(found) == {"exact_match (strict)", "exact_match (lax)"}
    assert (found["exact_match (strict)"].n, found["exact_match (strict)"].candidate) == (2, 1.0)
    assert found["exact_match (lax)"].candidate == 0.0


def test_figures_that_are_no_numbers_are_left_out() -> None:
    samples = {
        side: [{"doc_id": n, "doc_hash": "", "acc": score} for n, score in enumerate((math.nan, 1.0, None))]
        for side in ("candidate", "champion")
    }
    (measure,) = _pair("lm-eval:sky", samples, {"acc": "higher"})
    assert (measure.n, measure.candidate) == (1, 1.0)


@pytest.mark.skipif(INSTALLED, reason="it is installed")
def test_without_the_extra_the_command_says_how_to_get_it(library: ModelLibrary) -> None:
    with pytest.raises(InvalidInput, match="not installed"):
        measure_task(make_bench(library), library.find("tiny"), "arc_easy", lambda _: None)


def test_templates_run_in_the_sandbox(library: ModelLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the harness would render: a name that stands in a row."""
    utils = SimpleNamespace(env=Environment(autoescape=True))
    utils.apply_template = lambda text, doc: utils.env.from_string(text).render(**doc)

    def evaluate(**_: Any) -> None:
        utils.apply_template("{{ q[name] }}", {"q": "Why?", "name": "__class__"})
        pytest.fail("it was rendered")

    found: dict[str, dict[str, Any]] = {
        "lm_eval": {"simple_evaluate": evaluate, "utils": utils},
        "lm_eval.models": {},
        "lm_eval.models.huggingface": {"HFLM": lambda **_: None},
        "lm_eval.tasks": {"TaskManager": lambda **_: None},
    }
    for name, content in found.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *_, **__: None)
    with pytest.raises(InvalidInput, match="cannot be run: access to attribute '__class__'"):
        measure_task(make_bench(library), library.find("tiny"), "sky", lambda _: None)


@pytest.mark.skipif(not INSTALLED, reason="lm-evaluation-harness is an extra")
@pytest.mark.filterwarnings("ignore")
def test_a_task_file_is_run_on_both_models(library: ModelLibrary, tmp_path: Path) -> None:
    bench, base = make_bench(library), library.find("tiny")
    heard: list[int] = []
    (measure,) = measure_task(bench, base, str(write_task(tmp_path)), heard.append)
    assert (measure.suite, measure.metric, measure.n, heard) == ("lm-eval:sky", "acc", 6, [1, 1])
    with pytest.raises(InvalidInput, match="cannot be run"):
        measure_task(bench, base, "nosuch", heard.append)
