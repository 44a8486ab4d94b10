"""Standard tasks through lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness).

It has hundreds of tasks and the way each is scored; ours is only to hand it the two models of the bench, one after the
other, and to pair what comes out sample by sample. It is an extra (`pip install chatbot[lm-eval]`), since it brings
thirty packages. A task is named, or is a YAML file of one's own, of which only what `task_files` understood is handed
over, alone in an empty folder: the harness reads whatever lies beside it. All templates run in a `sandbox`.
"""

from __future__ import annotations

import io
import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.measuring import CANDIDATE, CHAMPION, OnProgress, pair_scores
from chatbot.admin.evaluation.records import Direction, Measure
from chatbot.admin.evaluation.sandbox import confine_templates
from chatbot.admin.evaluation.task_files import read_task_file
from chatbot.admin.training.run import quiet
from chatbot.engine.loading import is_out_of_memory
from chatbot.errors import InvalidInput, OutOfMemory
from chatbot.models.library import ModelFolder
from chatbot.text import printable_line

PREFIX = "lm-eval:"


def measure_task(bench: Bench, base: ModelFolder, task: str, on_progress: OnProgress) -> list[Measure]:
    """Every figure that the task has for single samples, of both models. `task` is a name or a path of a YAML file.
    Raises InvalidInput if there is no such task, if its data cannot be had, or if the extra is not installed."""
    try:
        from lm_eval import simple_evaluate, utils
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise InvalidInput("lm-evaluation-harness is not installed.", hint="pip install 'chatbot[lm-eval]'") from None
    import yaml  # type: ignore[import-untyped]  # it ships no types
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    samples: dict[str, list[dict[str, Any]]] = {}
    better: dict[str, Direction] = {}
    faults = (LookupError, ValueError, TypeError, AttributeError, AssertionError, OSError, ImportError, RuntimeError)
    with quiet(), _hushed(), _find_task(task) as (name, folder), confine_templates(utils):
        tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
        try:
            tasks = TaskManager(include_path=folder)
            for side in (CHAMPION, CANDIDATE):
                with bench.use(side) as model:
                    reader = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, device=bench.device)
                    found = simple_evaluate(model=reader, tasks=[name], task_manager=tasks, bootstrap_iters=0)
                samples[side] = [{**one, "task": key} for key, rows in found["samples"].items() for one in rows]
                better.update(_read_directions(found))
                on_progress(1)
        except (*faults, yaml.YAMLError, TemplateError) as error:
            if is_out_of_memory(error):
                raise OutOfMemory(f"The task {name} does not fit into memory.") from error
            reason = printable_line(str(error) or type(error).__name__, 300)
            raise InvalidInput(f"The task {name} cannot be run: {reason}") from error
    return _pair(f"{PREFIX}{name}", samples, better)


@contextmanager
def _hushed() -> Iterator[None]:
    """The harness logs and draws bars for each step of its own; the caller shows one."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _find_task(task: str) -> Iterator[tuple[str, str | None]]:
    """The name of a task, and a folder with nothing but its file if it is one."""
    if not task.endswith((".yaml", ".yml")):
        yield task, None
        return
    name, text = read_task_file(Path(task))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "task.yaml").write_text(text, "utf-8")
        yield name, folder


def _read_directions(found: Any) -> dict[str, Direction]:
    told: dict[str, Direction] = {}
    for metrics in found["higher_is_better"].values():
        for metric, higher in metrics.items():
            told[metric] = "higher" if higher else "lower"
    return told


def _pair(suite: str, samples: dict[str, list[dict[str, Any]]], better: dict[str, Direction]) -> list[Measure]:
    """Paired by document: the harness may hand the samples over in any order. A task whose answers are read in several
    ways has each sample once for each way (its filter), and a figure for each."""
    rows: dict[str, dict[str, dict[tuple[str, ...], dict[str, Any]]]] = {}
    for side, found in samples.items():
        for one in found:
            key = tuple(str(one.get(name, "")) for name in ("task", "doc_id", "doc_hash"))
            rows.setdefault(str(one.get("filter", "none")), {}).setdefault(side, {})[key] = one
    measures = []
    for way, sides in sorted(rows.items()):
        own, other = sides.get(CANDIDATE, {}), sides.get(CHAMPION, {})
        both = sorted(own.keys() & other.keys())
        for metric in sorted(better):
            pairs = [(_read_number(own[key].get(metric)), _read_number(other[key].get(metric))) for key in both]
            # Not every task of a group has every figure.
            sound = [(a, b) for a, b in pairs if a is not None and b is not None]
            if sound:
                title = metric if len(rows) == 1 else f"{metric} ({way})"
                first, second = ([pair[side] for pair in sound] for side in (0, 1))
                measures.append(pair_scores(suite, title, first, second, better[metric]))
    if not measures:
        raise InvalidInput(f"{suite} has no figure for single samples, so that nothing can be paired.")
    return measures


def _read_number(value: Any) -> float | None:
    """Also one of NumPy's."""
    value = value.item() if hasattr(value, "item") else value
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def is_task(suite: str) -> bool:
    return suite.startswith(PREFIX)


def list_tasks(suites: Sequence[str]) -> list[str]:
    """The tasks among `suites`, without their prefix."""
    return [suite.removeprefix(PREFIX) for suite in suites if is_task(suite)]
