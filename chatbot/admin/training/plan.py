"""What a run will take, before it starts: `make_plan`.

The time is that of a step that is really made, on this machine and on the dataset's own largest rows: speeds of
machines differ by a thousand, and estimates from tables are wrong. It is made a few times and the quickest counts, as
whatever else the machine does only ever adds to it; a machine that stays busy will take longer than the plan says. The
memory of the same step is measured too; what the whole run takes follows from it. Nothing of the measured step is kept.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.training.building import build_loop, count_steps
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.data import TrainingData, read_data
from chatbot.admin.training.job import Job, settle
from chatbot.admin.training.memory import explain_memory
from chatbot.admin.training.stopping import StopRequest
from chatbot.errors import OutOfMemory
from chatbot.models.library import ModelFolder

_LOOK_SHARE = 0.4  # a forward pass alone, of a forward and backward pass
_MEASURED = 4  # times that the step is made, if it does not take too long
_LONG = 30.0  # seconds of measuring after which it is enough


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes in bytes, times in seconds."""

    config: TrainingConfig
    """Settled: no zeros are left."""
    rows: int
    left_out: int
    """Rows longer than max_length."""
    longest: int
    tokens: int
    """In one epoch."""
    learned: int
    """Those of them that carry loss."""
    passes: int
    """Forward passes an epoch; for SFT, packed rows."""
    steps: int
    held_out: int
    """Packed held-out rows, or held-out rows (DPO, KTO)."""
    trained_parameters: int
    base_parameters: int
    dtype: str
    device: str
    memory: int
    """At the peak of the measured step; for a CPU the whole process."""
    memory_there: int
    """That this machine has for it."""
    disk: int
    """Checkpoints and the adapter."""
    step_seconds: float
    seconds: float
    """The whole run, looks included."""
    problems: tuple[str, ...]
    """Why the run would fail or do less than was asked; empty if all fits."""


def make_plan(
    config: TrainingConfig, dataset: DatasetFolder, model: ModelFolder, *, parent: Path | None = None
) -> Plan:
    """Reads the dataset, makes one step and forgets it. Raises LearningError if the inputs do not belong together."""
    job = settle(config, dataset, model, parent)
    template = model.load_template()
    data = read_data(job.config, dataset, template)
    steps = count_steps(job.config, data.passes)
    settled = job.config.space(steps)
    problems = _find_problems(settled, data, steps)
    trained, disk, seconds, memory = 0, 0, 0.0, 0
    try:
        with tempfile.TemporaryDirectory(prefix="chatbot-plan-") as folder:
            trained, disk, seconds, memory = _measure(job, Path(folder))
    except OutOfMemory as error:
        problems.append(str(error))
    there = _count_memory(job.device)
    if memory > there:
        problems.append(
            f"It needs {memory / 1e9:.1f} GB of memory and {there / 1e9:.1f} GB are there: "
            "--recompute or a smaller --max-tokens takes less."
        )
    space = disk * (3 * (settled.keep_checkpoints + 1) + 1)
    free = shutil.disk_usage(dataset.path).free
    if space > free:
        problems.append(f"It needs {space / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are free.")
    looks = 1 + steps // settled.evaluate_every if _count(data.held_out) else 0
    look = _LOOK_SHARE * seconds * _count(data.held_out) / max(data.passes and _count(data.columns) / data.passes, 1)
    return Plan(
        config=settled,
        rows=data.rows,
        left_out=data.left_out,
        longest=data.longest,
        tokens=data.tokens,
        learned=data.learned,
        passes=data.passes,
        steps=steps,
        held_out=_count(data.held_out),
        trained_parameters=trained,
        base_parameters=model.manifest.parameters,
        dtype=job.dtype,
        device=job.device,
        memory=memory,
        memory_there=there,
        disk=space,
        step_seconds=seconds * settled.accumulation,
        seconds=seconds * settled.accumulation * steps + looks * look,
        problems=tuple(problems),
    )


def _find_problems(config: TrainingConfig, data: TrainingData, steps: int) -> list[str]:
    problems = []
    for left_out, rows, kind in (
        (data.left_out, data.rows, "rows"),
        (data.held_out_left_out, data.held_out_rows, "held-out rows"),
    ):
        if left_out:
            problems.append(
                f"{left_out:,} of {left_out + rows:,} {kind} are longer than {config.max_length:,} tokens and left out."
            )
    if not data.held_out_rows:
        problems.append("Nothing is held out, so the run cannot stop early and its last weights are taken.")
    if data.missing:
        problems.append(f"No held-out reply is {data.missing}, so no held-out margin can be shown.")
    if steps < 10:
        problems.append(f"{steps} steps are too few to learn much: more data or more --epochs.")
    return problems


def _measure(job: Job, folder: Path) -> tuple[int, int, float, int]:
    """(trained parameters, bytes of an adapter, seconds of a forward and backward pass, bytes at the peak).

    Raises OutOfMemory.
    """
    import torch

    from chatbot.admin.training.run import quiet

    torch.set_num_threads(job.threads)
    with quiet():
        loop = build_loop(job, folder, lambda _: None, StopRequest(folder), first_look=False)
        rows = loop.train_dataset
        sizes = [sum(len(value) for value in row.values() if isinstance(value, list)) for row in rows]
        largest = sorted(range(len(rows)), key=sizes.__getitem__)[-loop.args.per_device_train_batch_size :]
        weights = [weight for weight in loop.model.parameters() if weight.requires_grad]
        trained, size = sum(weight.numel() for weight in weights), sum(weight.nbytes for weight in weights)
        times: list[float] = []
        with explain_memory(
            "A forward and backward pass of the largest rows does",
            "The run itself would halve it; --recompute, a smaller --max-tokens or base model avoid that.",
        ):
            loop.model.to(loop.args.device).train()
            while len(times) < 2 or (len(times) < _MEASURED and sum(times) < _LONG):  # the first one also warms up
                start = time.perf_counter()
                inputs = loop._prepare_inputs(loop.data_collator([rows[number] for number in largest]))
                with loop.compute_loss_context_manager():
                    loop.accelerator.backward(loop.compute_loss(loop.model, inputs))
                if job.device == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
        return trained, size, min(times), _read_peak(job.device) + 2 * size  # the optimizer's moments come later


def _read_peak(device: str) -> int:
    """Bytes."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return _read_own_peak()


def _read_own_peak() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _count_memory(device: str) -> int:
    """Bytes that this process may have."""
    import psutil  # type: ignore[import-untyped]  # it ships no types
    import torch

    if device == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)


def _count(columns: dict[str, list[Any]]) -> int:
    return len(next(iter(columns.values()), []))
