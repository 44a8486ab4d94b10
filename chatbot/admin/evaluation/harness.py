"""Standard tasks through lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness).

It has hundreds of tasks and the way each is scored; ours is only to hand it the two models of the bench, one after the
other, and to pair what comes out sample by sample. It is an extra (`pip install chatbot[lm-eval]`), since it brings
thirty packages. A task is named, or is a YAML file of one's own. A task file can ask for Python functions by
`!function`; what the harness ships is its own affair, a file that is handed to us may not.
"""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from chatbot.admin.evaluation.bench import Bench
from chatbot.admin.evaluation.measuring import CANDIDATE, CHAMPION, OnProgress, pair_scores
from chatbot.admin.evaluation.records import Direction, Measure
from chatbot.admin.training.run import quiet
from chatbot.errors import InvalidInput
from chatbot.models.library import ModelFolder
from chatbot.text import printable_line

PREFIX = "lm-eval:"
_MOST = 1 << 20  # bytes of a task file
_TASK = re.compile(r"^task:\s*[\"']?([A-Za-z0-9_.-]+)[\"']?\s*$", re.MULTILINE)


def measure_task(bench: Bench, base: ModelFolder, task: str, on_progress: OnProgress) -> list[Measure]:
    """Every figure that the task has for single samples, of both models. `task` is a name or a path of a YAML file.
    Raises InvalidInput if there is no such task, if its data cannot be had, or if the extra is not installed."""
    try:
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise InvalidInput("lm-evaluation-harness is not installed.", hint="pip install 'chatbot[lm-eval]'") from None
    from transformers import AutoTokenizer

    name, folder = _find_task(task)
    samples: dict[str, list[dict[str, Any]]] = {}
    better: dict[str, Direction] = {}
    with quiet(), _hushed():
        tasks = TaskManager(include_path=folder)
        tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
        for side in (CHAMPION, CANDIDATE):
            with bench.use(side) as model:
                reader = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, device=bench.device)
                try:
                    found = simple_evaluate(model=reader, tasks=[name], task_manager=tasks, bootstrap_iters=0)
                except (KeyError, ValueError, OSError, ImportError) as error:
                    reason = printable_line(str(error), 300)
                    raise InvalidInput(f"The task {name} cannot be run: {reason}") from error
            assert found is not None
            samples[side] = [one for rows in found["samples"].values() for one in rows]
            better.update(_read_directions(found))
            on_progress(1)
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


def _find_task(task: str) -> tuple[str, str | None]:
    """The name of a task, and the folder of its file if it is one."""
    if not task.endswith((".yaml", ".yml")):
        return task, None
    path = Path(task)
    try:
        if path.stat().st_size > _MOST:
            raise InvalidInput(f"{path} is too large for a task file.")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if "!function" in text:
        raise InvalidInput(f"{path} asks for Python code by !function, which a task file may not here.")
    found = _TASK.search(text)
    if found is None:
        raise InvalidInput(f"{path} names no task.", hint="It needs a line such as `task: my_task`.")
    return found[1], os.fspath(path.resolve().parent)


def _read_directions(found: Any) -> dict[str, Direction]:
    told: dict[str, Direction] = {}
    for metrics in found["higher_is_better"].values():
        for metric, higher in metrics.items():
            told[metric] = "higher" if higher else "lower"
    return told


def _pair(suite: str, samples: dict[str, list[dict[str, Any]]], better: dict[str, Direction]) -> list[Measure]:
    """Paired by document: the harness may hand the samples over in any order."""
    rows = {side: {(one["doc_id"], one["doc_hash"]): one for one in found} for side, found in samples.items()}
    both = sorted(rows[CANDIDATE].keys() & rows[CHAMPION].keys(), key=str)
    measures = []
    for metric in sorted(better):
        values = [[_read_number(rows[side][key].get(metric)) for key in both] for side in (CANDIDATE, CHAMPION)]
        if both and None not in values[0] and None not in values[1]:
            own, other = ([value for value in side if value is not None] for side in values)
            measures.append(pair_scores(suite, metric, own, other, better[metric]))
    if not measures:
        raise InvalidInput(f"{suite} has no figure for single samples, so that nothing can be paired.")
    return measures


def _read_number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def is_task(suite: str) -> bool:
    return suite.startswith(PREFIX)


def list_tasks(suites: Sequence[str]) -> list[str]:
    """The tasks among `suites`, without their prefix."""
    return [suite.removeprefix(PREFIX) for suite in suites if is_task(suite)]
