"""A pretraining from its inputs to a model folder: `run_job`.

Everything that lasts is in the run's folder, as with a fine-tuning: config.json, metrics.jsonl, checkpoints. A run that
died goes on from there and ends with the same weights, byte for byte on a CPU in float32.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from chatbot.admin.corpus.tokens import TokenFolder, tokenize
from chatbot.admin.pretraining.job import PretrainingJob
from chatbot.admin.training.checkpoints import drop_newer_checkpoints, find_checkpoint
from chatbot.admin.training.events import Event, MetricsLog
from chatbot.admin.training.memory import explain_memory
from chatbot.admin.training.processes import PATIENCE, count_processes, explain_loss, is_first
from chatbot.admin.training.run import quiet
from chatbot.admin.training.stopping import StopRequest
from chatbot.admin.training.writing import explain_writing
from chatbot.errors import LearningError

Progress = Callable[[str, int, int], None]
_MADE = ".made."
_WORSE = 1.01


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `finished` leaves a model, `stopped` a checkpoint."""

    status: Literal["finished", "stopped"]
    step: int
    steps: int
    tokens: int
    """That were trained on."""
    parameters: int
    loss: float | None
    """Held-out, in nats a token; None if nothing is held out."""
    first_loss: float | None
    worse_than_before: bool
    """Whether an earlier look predicted the same part of the held-out text clearly better."""
    bits_per_byte: float | None
    first_bits_per_byte: float | None
    seconds: float
    """Of this session."""
    model: Path | None


def run_job(
    job: PretrainingJob,
    folder: Path,
    take: Callable[[Path], Path],
    report: Callable[[Event], None] = lambda _: None,
    *,
    resume: bool = False,
    on_progress: Progress = lambda _title, _done, _total: None,
    on_stop: Callable[[], None] = lambda: None,
) -> Outcome:
    """Trains as `job` says. `take` gets a folder with what was made and returns where it is now: the files of a model,
    or those of an adapter. Raises LearningError, RunDamaged, ModelDamaged or OutOfMemory; KeyboardInterrupt if it was
    asked to stop before the first step, or twice."""
    import torch

    from chatbot.engine.loading import is_out_of_memory
    from chatbot.errors import OutOfMemory

    began = time.monotonic()
    torch.set_num_threads(max(1, job.threads // count_processes()))
    checkpoint = find_checkpoint(folder) if resume else None
    if is_first():
        with explain_writing("The run", folder):
            _forget_later(folder, checkpoint.step if checkpoint else -1)
    tokens = tokenize(job.corpus, job.tokenizer / "tokenizer.json", on_progress)
    stop = StopRequest(folder, on_stop)
    with stop.listen(), quiet(), explain_loss(), join_processes(job.device):
        loop = build_loop(job, folder, tokens, report, stop)
        if stop.asked and count_processes() == 1:
            raise KeyboardInterrupt
        try:
            every = job.config.checkpoint_every or -(-job.config.steps // 10)
            status = loop.run(checkpoint, checkpoint_every=every)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise OutOfMemory(
                    f"The memory does not hold the training of this model with {job.config.pass_rows} windows of "
                    f"{job.config.length} tokens at a time.",
                    hint="Give --pass-rows less, or a smaller --size.",
                ) from None
            raise
        outcome = _describe(job, loop, status, began)
        if status == "stopped":
            return outcome
        return replace(outcome, model=_keep(job, loop.model, folder, take) if is_first() else None)


def build_loop(
    job: PretrainingJob, folder: Path, tokens: TokenFolder, report: Callable[[Event], None], stop: StopRequest
) -> Any:
    """The loop with its model and texts. Raises LearningError, ModelDamaged, OutOfMemory."""
    from chatbot.admin.pretraining.loop import Loop, Texts
    from chatbot.admin.pretraining.samples import Sampler
    from chatbot.models.template import ChatTemplate

    config = job.config
    train = tokens.tokens("train")
    if len(train) < 2:
        raise LearningError("The corpus has nothing to learn from.", hint="Build it with more text.")
    template = ChatTemplate.load(job.tokenizer)
    eos = template.tokenizer.token_to_id("<|endoftext|>")
    model = open_model(job, tokens.vocabulary, eos or 0)
    held_out = tokens.tokens("validation")
    return Loop(
        config, model, Texts(train, held_out, tokens.text_bytes("validation")), folder, report, stop,
        Sampler(template, held_out if len(held_out) > 1 else train, config.seed),
        device=job.device,
        flops_per_token=count_flops(model, config.length),
        peak_flops=measure_peak(job.device, config.dtype) if is_first() else 0.0,
    )  # fmt: skip


def open_model(job: PretrainingJob, vocabulary: int, eos: int) -> Any:
    """The model as it is before the first step. Raises OutOfMemory."""
    from chatbot.admin.pretraining.network import load_model, make_model

    with explain_memory("The model does", "Choose a smaller --size, or a smaller model to read on --from."):
        return load_model(job.base.path, job.config) if job.base else make_model(job.config, vocabulary, eos)


def count_flops(model: Any, length: int) -> float:
    """Operations that a training step takes for each token: 6 for each weight that is multiplied, and attention."""
    from chatbot.admin.pretraining.network import unwrap

    inner = unwrap(model)
    settings = inner.config.get_text_config()
    weights: int = sum(weight.numel() for weight in model.parameters())
    tied = inner.get_input_embeddings().weight is inner.get_output_embeddings().weight
    looked_up = 0 if tied else inner.get_input_embeddings().weight.numel()
    return float(6.0 * (weights - looked_up) + 12.0 * settings.num_hidden_layers * settings.hidden_size * length)


def measure_peak(device: str, dtype: str) -> float:
    """Operations a second of a large product of matrices, the best of a few: what the machine can do."""
    import torch

    size = 4096 if device == "cuda" else 1024
    kind = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        matrix = torch.randn(size, size, dtype=torch.float32).to(device=device, dtype=kind)
        best = float("inf")
        for _ in range(6):
            begin = time.perf_counter()
            product = matrix @ matrix
            product[0, 0].item()  # waits for a GPU
            best = min(best, time.perf_counter() - begin)
    return float(2.0 * size**3 / best)


def join_processes(device: str) -> Any:
    """The group of processes that train together, if several were launched."""
    from contextlib import contextmanager

    import torch
    import torch.distributed as dist

    @contextmanager
    def join() -> Any:
        if count_processes() < 2:
            yield
            return
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(seconds=PATIENCE))
        try:
            yield
        finally:
            dist.destroy_process_group()

    return join()


def _describe(job: PretrainingJob, loop: Any, status: Any, began: float) -> Outcome:
    first = next((one for step, one in loop.looks if step == 0), None)
    last = loop.final or (loop.looks[-1][1] if loop.looks else None)
    scores = [one.loss for step, one in loop.looks if step]
    return Outcome(
        status=status,
        step=loop.step,
        steps=job.config.steps,
        tokens=loop.trained_tokens(),
        parameters=sum(weight.numel() for weight in loop.model.parameters()),
        loss=last.loss if last else None,
        first_loss=first.loss if first else None,
        worse_than_before=bool(scores) and scores[-1] > _WORSE * min(scores),
        bits_per_byte=last.bits_per_byte if last else None,
        first_bits_per_byte=first.bits_per_byte if first else None,
        seconds=time.monotonic() - began,
        model=None,
    )


def _keep(job: PretrainingJob, model: Any, folder: Path, take: Callable[[Path], Path]) -> Path:
    from chatbot.admin.pretraining.finishing import write_model

    with explain_writing("The model", folder):
        made = Path(tempfile.mkdtemp(dir=folder, prefix=_MADE))
    try:
        with explain_writing("The model", folder):
            write_model(job, model, made)
        return take(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _forget_later(folder: Path, step: int) -> None:
    for left in folder.glob(f"{_MADE}*"):
        shutil.rmtree(left, ignore_errors=True)
    drop_newer_checkpoints(folder, step)
    MetricsLog(folder).truncate(step)
