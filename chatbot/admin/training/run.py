"""A run from its job to an adapter: `run_job`.

Everything that lasts is in the run's folder: config.json (what is trained), metrics.jsonl (how it goes) and
checkpoints/. A run that died is resumed from there and ends with the same adapter, byte for byte on a CPU in float32.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from chatbot.admin.training.checkpoints import Checkpoint, drop_newer_checkpoints, find_checkpoint
from chatbot.admin.training.events import Event, MetricsLog
from chatbot.admin.training.job import Job
from chatbot.admin.training.memory import explain_memory
from chatbot.admin.training.processes import count_processes, explain_loss, is_first
from chatbot.admin.training.stopping import StopRequest
from chatbot.admin.training.writing import explain_writing
from chatbot.models.installation import write_adapter

_ADAPTER = ".adapter."
Target = Path | Callable[[Path], Path]
"""Where the adapter is to be: a folder that is not there yet, or what takes in the two files that peft would save in a
folder (see `chatbot.models.installation`) and returns where they are now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `finished` and `early` (no improvement) leave an adapter, `stopped` a checkpoint."""

    status: Literal["finished", "early", "stopped"]
    step: int
    """The last one that was made."""
    steps: int
    """Those that were planned."""
    best_step: int
    """Whose weights the adapter has: those with the lowest held-out loss, else the last."""
    loss: float | None
    """Held-out, at the best step; None if nothing is held out."""
    first_loss: float | None
    """Held-out, before training."""
    margin: float | None
    tokens: int
    seconds: float
    """Of this session."""
    rows: int
    """That it trained on."""
    left_out: int
    """Rows that were longer than `max_length` tokens."""
    max_length: int
    adapter: Path | None

    @property
    def worse(self) -> bool:
        """Whether the held-out part was never predicted as well again as before training. The adapter is then that of
        the least bad look: one that changes nothing would be of no use, and the gate compares before anything is
        promoted."""
        return self.loss is not None and self.first_loss is not None and self.loss >= self.first_loss


def run_job(
    job: Job,
    folder: Path,
    target: Target,
    report: Callable[[Event], None] = lambda _: None,
    *,
    resume: bool = False,
    on_stop: Callable[[], None] = lambda: None,
) -> Outcome:
    """Trains an adapter as `job` says and writes it to `target`.

    `folder` is the run's own, with its config.json. With `resume` it goes on from the newest checkpoint there, if there
    is one. SIGINT, SIGTERM and a file `stop` in `folder` end the run after its step with a checkpoint; `on_stop` is
    then called, in the signal's handler: it may still take seconds.

    Raises LearningError (nothing to learn, a loss that is no number, a disk that is full, another process that has
    gone), RunDamaged, ModelDamaged, DatasetDamaged, OutOfMemory, and KeyboardInterrupt if the run was asked to stop
    before the first step, or twice.
    """
    import torch

    from chatbot.admin.training.building import build_loop

    began = time.monotonic()
    torch.set_num_threads(max(1, job.threads // count_processes()))
    checkpoint = find_checkpoint(folder) if resume else None
    stop = StopRequest(folder, on_stop)
    if is_first():
        with explain_writing("The run", folder):
            _forget_later(folder, checkpoint)
    with stop.listen(), quiet(), explain_loss():
        loop = build_loop(job, folder, report, stop, first_look=checkpoint is None)
        if stop.asked and count_processes() == 1:
            raise KeyboardInterrupt
        if checkpoint is None and loop.progress.data is not None:
            loop.tell(loop.progress.data)
        with explain_memory(
            "A step of the run does", "Give --recompute, a smaller --max-tokens or a smaller base model."
        ):
            if checkpoint is None:
                loop.train()
            elif not loop.take_over(checkpoint):
                loop.train(resume_from_checkpoint=str(checkpoint.path))
        return _finish(loop, job, folder, target, began)


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries warn each other of their coming versions, and log; that is no news for who trains a model."""
    names = ("accelerate", "datasets", "peft", "torch", "transformers", "trl")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        for name in names:
            warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _forget_later(folder: Path, checkpoint: Checkpoint | None) -> None:
    step = checkpoint.step if checkpoint else -1
    for left in folder.glob(f"{_ADAPTER}*"):
        shutil.rmtree(left, ignore_errors=True)
    drop_newer_checkpoints(folder, step)
    MetricsLog(folder).truncate(step)


def _finish(loop: Any, job: Job, folder: Path, target: Target, began: float) -> Outcome:
    from chatbot.admin.training.loading import ADAPTER
    from chatbot.admin.training.state import read_trained

    progress = loop.progress
    step, steps = int(loop.state.global_step), int(loop.state.max_steps)
    first = next((look for look in progress.looks if look.step == 0), None)
    best = progress.best_look
    outcome = Outcome(
        status="finished",
        step=step,
        steps=steps,
        best_step=best.step if best else step,
        loss=best.loss if best else None,
        first_loss=first.loss if first else None,
        margin=best.margin if best else None,
        tokens=loop.trained_tokens(),
        seconds=time.monotonic() - began,
        rows=progress.data.rows if progress.data else 0,
        left_out=progress.data.left_out if progress.data else 0,
        max_length=job.config.max_length,
        adapter=None,
    )
    if progress.stopped == "asked":
        return replace(outcome, status="stopped")
    weights = progress.best or read_trained(loop.model, adapter=ADAPTER)
    place = target if isinstance(target, Path) else Path()
    if is_first():
        place = _keep(target, weights, loop.model.peft_config[ADAPTER], job, folder)
    loop.accelerator.wait_for_everyone()
    return replace(outcome, status="early" if progress.stopped else "finished", adapter=place)


def _keep(target: Target, weights: dict[str, Any], settings: Any, job: Job, folder: Path) -> Path:
    """Writes the adapter beside the run and hands it over; what was handed over is deleted here."""
    from chatbot.admin.training.adapters import save_adapter
    from chatbot.admin.training.loading import ADAPTER

    with explain_writing("The adapter", folder):
        made = Path(tempfile.mkdtemp(dir=folder, prefix=_ADAPTER))
    try:
        with explain_writing("The adapter", folder):
            save_adapter(made, weights, settings, base=job.model.name, adapter=ADAPTER)
        if not isinstance(target, Path):
            return target(made)
        with explain_writing("The adapter", target):
            write_adapter(target, made, base=job.model, source=f"run:{folder.name}")
        return target
    finally:
        shutil.rmtree(made, ignore_errors=True)
