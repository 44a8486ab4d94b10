"""A task file is read for what is known; whatever could run code, read other files or fool the reader is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from chatbot.admin.evaluation.harness import _find_task
from chatbot.admin.evaluation.task_files import read_task_file
from chatbot.errors import InvalidInput

GOOD = """\
task: sky
dataset_path: json
dataset_kwargs:
  data_files:
    test: data.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{q | trim}}: {% for choice in choices %}{{ loop.index }}. {{ choice.strip() }}{% endfor %}"
doc_to_choice: "{% for n in range(2) %}{{ n }}{% endfor %}{{choices}}"
doc_to_target: "{{choices[gold]}}"
filter_list:
  - name: strict
    filter:
      - function: regex
        regex_pattern: "(\\\\d{1,3})"
metric_list:
  - metric: acc
    higher_is_better: true
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "sky.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_sound_file_comes_back_as_it_was(tmp_path: Path) -> None:
    name, text = read_task_file(write(tmp_path, GOOD))
    assert name == "sky"
    assert yaml.safe_load(text) == yaml.safe_load(GOOD)


def test_it_is_handed_over_alone_in_a_folder_that_then_goes(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (tmp_path / "evil.py").write_text("raise SystemExit")
    (tmp_path / "other.yaml").write_text("task: !function evil.run")
    with _find_task(str(path)) as (name, folder):
        assert name == "sky"
        assert folder is not None
        assert [path.name for path in Path(folder).iterdir()] == ["task.yaml"]
    assert not Path(folder).exists()
    with _find_task("arc_easy") as found:
        assert found == ("arc_easy", None)


@pytest.mark.parametrize(
    "line",
    [
        "process_docs: !function evil.run",
        "doc_to_text: !function evil.run",
        "doc_to_text: !\u0066unction evil.run",
        "doc_to_text: !<!function> evil.run",
        "doc_to_text: !%66unction evil.run",
        "metadata: !!python/object/apply:os.system [id]",
        "metadata: !!python/name:os.system",
        "metadata: [1, {a: !function evil.run}]",
        "metadata: {!function evil.run : 1}",
        "metadata: !!str text",
        "include: other.yaml",
        "metadata: {include: other.yaml}",
        '"incl\\u0075de": other.yaml',
        "dataset_kwargs: {trust_remote_code: true}",
        "custom_dataset: evil.run",
        "class: evil",
        "use_prompt: ./evil.yaml:x",
        "unsafe_code: true",
        "process_docs: evil",
        "group: [a]",
        "dataset_path: ./evil.py",
        "dataset_path: pandas",
        "metric_list: [{metric: ./evil}]",
        "metric_list: [{metric: word_count}]",
        "metric_list: [{metric: acc, hf_evaluate: true}]",
        "fewshot_config: {sampler: first_n, doc_to_text: !function evil.run}",
        "metadata: &a [1]\ntag: *a",
        "--- \ntask: two",
        "task: [one, two]",
        "task: ../two",
        "task: 3",
    ],
)
def test_what_could_run_code_is_refused(tmp_path: Path, line: str) -> None:
    key = line.partition(":")[0]
    kept = [old for old in GOOD.splitlines() if key not in {"task", "dataset_path"} or not old.startswith(f"{key}:")]
    text = "\n".join(kept) if line.startswith(("task", "dataset_path:")) else GOOD
    with pytest.raises(InvalidInput) as caught:
        read_task_file(write(tmp_path, f"{text}\n{line}\n"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum() }}",
        "{{ lipsum }}",
        '{{ lipsum["_" ~ "_globals__"] }}',
        '{{ lipsum["_" ~ "_globals__"]["os"].replace("a", "b") }}',
        '{% for k in ["__globals__"] %}{{ lipsum[k] }}{% endfor %}',
        "{{ cycler[q] }}",
        "{{ namespace }}",
        "{{ self }}",
        "{{ q | attr('__class__') }}",
        "{{ q | map(attribute='__class__') | list }}",
        "{{ [q] | sum(attribute='__class__') }}",
        "{{ self._TemplateReference__context }}",
        "{{ q['__cl' ~ 'ass__']() }}",
        "{{ (q.strip)['__call__']() }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% macro run() %}{% endmacro %}",
        "{{ '%c' | format(1) }}",
        "{{ '{0.__class__}'.format(q) }}",
        "{{ q",
        "{% if %}",
    ],
)
def test_a_template_is_a_plain_expression(tmp_path: Path, template: str) -> None:
    for key in ("doc_to_text", "description"):
        text = "\n".join(line for line in GOOD.splitlines() if not line.startswith(key))
        with pytest.raises(InvalidInput, match="template"):
            read_task_file(write(tmp_path, f"{text}\n{key}: {yaml.safe_dump(template)}"))


@pytest.mark.parametrize(
    "text", ["", "[1]", "a: [", "\x00", b"\xff\xfe", "[" * 100_000, "a: 2024-99-99", "dataset_path: x"]
)
def test_what_is_no_task_file_is_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(InvalidInput):
        read_task_file(write(tmp_path, text))


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (2 << 20))
    for path in (pipe, large, tmp_path, tmp_path / "none.yaml", Path("a\0b.yaml")):
        with pytest.raises(InvalidInput):
            read_task_file(path)
