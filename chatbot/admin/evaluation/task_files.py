"""A task file for lm-evaluation-harness, read so that it can run nothing.

The harness trusts its task files: their tags call functions of Python files beside them, `include` reads further files
with tags of their own, their templates are Jinja without a sandbox, a metric may be a script, a dataset a script or a
pickle. What it ships is its own affair; a file that is handed to us may be anybody's. So it is not searched for what is
bad but read for what is known: the keys that say where the data is, how it is asked and how it is scored, templates of
plain expressions, metrics of the harness. What was read, not the file, is then written down for the harness. What a
template takes out of the rows cannot be read beforehand; there the `sandbox` looks on while it runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatbot.errors import InvalidInput
from chatbot.text import printable_line

_MOST = 1 << 18  # bytes
_DEEPEST = 32  # the parser takes for ever on what is nested without end
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)
_KEYS = frozenset({
    "task", "task_alias", "tag", "dataset_path", "dataset_name", "dataset_kwargs", "training_split",
    "validation_split", "test_split", "fewshot_split", "output_type", "doc_to_text", "doc_to_target",
    "doc_to_choice", "target_delimiter", "fewshot_delimiter", "description", "num_fewshot", "fewshot_config",
    "generation_kwargs", "gen_prefix", "metric_list", "filter_list", "repeats", "should_decontaminate",
    "doc_to_decontamination_query", "metadata",
})  # fmt: skip
_METRICS = frozenset({
    "acc", "acc_norm", "acc_mutual_info", "exact_match", "perplexity", "word_perplexity", "byte_perplexity",
    "bits_per_byte", "f1", "mcc", "bleu", "chrf", "ter", "brier_score", "likelihood",
})  # fmt: skip
_RUNNING = frozenset({"include", "trust_remote_code", "hf_evaluate", "class", "custom_dataset", "use_prompt"})
_BUILDERS = frozenset({"pandas", "webdataset"})  # they unpickle
_NODES = frozenset({
    "Template", "Output", "TemplateData", "Const", "Name", "Getattr", "Getitem", "Slice", "Call", "Filter",
    "Test", "If", "For", "Assign", "Concat", "Compare", "Operand", "CondExpr", "List", "Tuple", "Dict", "Pair",
    "Keyword", "Not", "And", "Or", "Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Neg", "Pos",
})  # fmt: skip
_FILTERS = frozenset({
    "trim", "lower", "upper", "capitalize", "title", "replace", "join", "length", "count", "first", "last",
    "int", "float", "string", "list", "round", "abs", "default", "reverse", "unique", "sum", "min", "max",
    "tojson", "regex_replace",
})  # fmt: skip
_METHODS = frozenset({
    "strip", "lstrip", "rstrip", "lower", "upper", "capitalize", "title", "replace", "split", "rsplit",
    "splitlines", "join", "startswith", "endswith", "index", "find", "count", "get", "keys", "values", "items",
    "removeprefix", "removesuffix",
})  # fmt: skip
_REACHING = frozenset(
    {"lipsum", "dict", "cycler", "joiner", "namespace", "self", "super", "caller", "varargs", "kwargs"}
)
"""Names of Jinja's own, from which a way leads to Python's modules."""
_TESTS = frozenset({
    "defined", "undefined", "none", "string", "number", "iterable", "mapping", "sequence", "even", "odd", "in",
    "eq", "ne", "lt", "le", "gt", "ge",
})  # fmt: skip


def read_task_file(path: Path) -> tuple[str, str]:
    """The task's name and the YAML to hand over, in which nothing is left that runs. Raises InvalidInput."""
    try:
        if path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise InvalidInput(f"{_show(path)} is not a file.")
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
        text = data.decode("utf-8")
    except (OSError, ValueError) as error:  # no UTF-8, or a NUL in the name
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise InvalidInput(f"{_show(path)} cannot be read: {reason}.") from None
    if len(data) > _MOST:
        raise InvalidInput(f"{_show(path)} is too large for a task file.")
    task = _parse(path, text)
    for key in task:
        if key not in _KEYS:
            raise InvalidInput(f"{_show(path)} has the key {_quote(key)}, which a task file may not have here.")
    name = task.get("task")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(f"{_show(path)} names no task.", hint="It needs a line such as `task: my_task`.")
    for key, value in _walk(task):
        if key in _RUNNING:
            raise InvalidInput(f"{_show(path)} asks for Python code or other files by {_quote(key)}.")
        if key == "metric" and value not in _METRICS:
            raise InvalidInput(
                f"{_show(path)} asks for the metric {_quote(value)}; known are {', '.join(sorted(_METRICS))}."
            )
        if isinstance(value, str):
            _check_template(path, value)
    place = str(task.get("dataset_path", ""))
    if place in _BUILDERS or place.endswith(".py"):
        raise InvalidInput(f"{_show(path)} takes its data from {_quote(place)}, which could run code.")
    return name, _write(task)


def _parse(path: Path, text: str) -> dict[str, Any]:
    """Plain values only. Raises InvalidInput at any tag, alias or second document."""
    import yaml  # type: ignore[import-untyped]  # it ships no types

    try:
        documents = depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            documents += isinstance(event, yaml.DocumentStartEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise InvalidInput(f"{_show(path)} is nested deeper than {_DEEPEST} times.")
            if getattr(event, "tag", None) is not None:
                raise InvalidInput(f"{_show(path)} asks for Python code or the like by the tag {_quote(event.tag)}.")
            if isinstance(event, yaml.AliasEvent) or documents > 1:
                raise InvalidInput(f"{_show(path)} has aliases or several documents, which a task file may not here.")
        task = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{_show(path)} is not YAML: {printable_line(str(error), 200)}") from None
    if not isinstance(task, dict):
        raise InvalidInput(f"{_show(path)} is not a task file: it holds no keys.")
    return task


def _write(task: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(task, allow_unicode=True, sort_keys=False))


def _walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of all that stands in it, keys as values too: a harness may read those as templates."""
    yield key, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield "", name
            yield from _walk(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, key)


def _check_template(path: Path, text: str) -> None:
    """Raises InvalidInput for a template in which more than plain expressions stands."""
    from jinja2 import Environment, TemplateError, nodes

    if "{" not in text:
        return
    try:
        # It is only parsed.
        tree = Environment(extensions=[], autoescape=True).parse(text)
        for node in (tree, *tree.find_all(nodes.Node)):
            if fault := _find_fault(node):
                raise InvalidInput(f"{_show(path)} has a template with {_quote(fault)}, which it may not here.")
    except (TemplateError, RecursionError) as error:
        raise InvalidInput(f"{_show(path)} has a damaged template: {printable_line(str(error), 200)}") from None


def _find_fault(node: Any) -> str:
    """What of a template's node could reach out of the document; empty if nothing."""
    kind = type(node).__name__
    if kind not in _NODES:
        return kind.lower()
    if kind == "Getattr" and node.attr.startswith("_"):
        return str(node.attr)
    if kind == "Getitem" and str(getattr(node.arg, "value", "")).startswith("_"):
        return str(node.arg.value)
    if kind == "Filter" and (node.name not in _FILTERS or any(one.key == "attribute" for one in node.kwargs)):
        return f"the filter {node.name}"
    if kind == "Test" and node.name not in _TESTS:
        return f"the test {node.name}"
    if kind == "Name" and node.ctx == "load" and node.name in _REACHING:
        return str(node.name)
    if kind == "Call":
        called = node.node
        method = type(called).__name__ == "Getattr" and called.attr in _METHODS
        if not method and getattr(called, "name", "") != "range":
            return "a call"
    return ""


def _quote(value: Any) -> str:
    return f"“{printable_line(str(value), 60)}”"


def _show(path: Path) -> str:
    return printable_line(str(path), 300)
