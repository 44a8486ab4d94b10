"""The loop of a pretraining: windows in, steps of the optimizers, looks at what was held out, checkpoints.

It is short because it can be: dropout is off, and what a step reads follows from its number, so weights, moments
and the number of the step are all that a checkpoint has to hold. Each process of several takes its share of every
step's windows, and the gradients are summed before the step, so that many do what one would.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chatbot.admin.pretraining.config import PretrainingConfig
from chatbot.admin.pretraining.heldout import Score, score
from chatbot.admin.pretraining.network import NextToken, make_optimizers, set_rate
from chatbot.admin.pretraining.windows import Tokens, Windows
from chatbot.admin.training.checkpoints import Checkpoint, drop_old_checkpoints, write_checkpoint
from chatbot.admin.training.events import Event, HeldOut, MetricsLog, Sample, Saved, Step, Stopped
from chatbot.admin.training.processes import count_processes, is_first
from chatbot.admin.training.progress import Clock
from chatbot.admin.training.state import read_optimizer, write_optimizer
from chatbot.admin.training.stopping import StopRequest
from chatbot.admin.training.writing import explain_writing
from chatbot.errors import LearningError, RunDamaged

WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Texts:
    """What is read: to learn, and to look at."""

    train: Tokens
    held_out: Tokens
    held_out_bytes: int


@dataclass(slots=True)
class Pace:
    """On which steps something happens besides training; from the number of steps alone, so that a resumed run does
    the same."""

    steps: int
    looks: int
    checkpoint_every: int

    def is_look(self, step: int) -> bool:
        """After `step` steps; 0 is before the first."""
        every = max(1, self.steps // (self.looks + 1))
        return step in {0, self.steps} or step % every == 0


@dataclass
class Loop:
    """One run. `peak_flops` is what the machine can do in a second at best; 0 if nobody knows."""

    config: PretrainingConfig
    model: Any
    texts: Texts
    folder: Path
    report: Callable[[Event], None]
    stop: StopRequest
    write_sample: Callable[[Any, int], tuple[str, str]]
    device: str = "cpu"
    flops_per_token: float = 0.0
    peak_flops: float = 0.0
    pace: Pace = field(init=False)
    looks: list[tuple[int, Score]] = field(init=False, default_factory=list)
    """(step, score) of the same part of the held-out text, so that they can be compared."""
    final: Score | None = field(init=False, default=None)
    """Of all of it, at the end."""
    step: int = field(init=False, default=0)
    clock: Clock = field(init=False, default_factory=Clock)
    optimizers: list[torch.optim.Optimizer] = field(init=False, default_factory=list)
    module: Any = field(init=False, default=None)
    """The model with its loss, without the wrappers that training needs."""
    gradient: float = field(init=False, default=0.0)
    """Its norm in the last step."""

    def __post_init__(self) -> None:
        self._log = MetricsLog(self.folder)

    def run(self, checkpoint: Checkpoint | None, *, checkpoint_every: int) -> str:
        """Trains from the beginning or from `checkpoint`; returns `finished` or `stopped`. Raises LearningError if a
        loss is no number, if the processes cannot share a step or if the disk refuses; RunDamaged if the checkpoint is
        another model's."""
        config, world = self.config, count_processes()
        if config.rows % world:
            raise LearningError(
                f"{config.rows} windows a step cannot be shared by {world} processes.",
                hint=f"Launch a number of processes that divides {config.rows}.",
            )
        self.pace = Pace(config.steps, config.looks, checkpoint_every)
        self.module = NextToken(self.model).to(self.device)
        self.optimizers = make_optimizers(self.model, config)
        if checkpoint is not None:
            self._restore(checkpoint)
        trained = self._wrap(self.module, world)
        windows = Windows(self.texts.train, length=config.length, rows=config.rows, seed=config.seed)
        share = config.rows // world
        first = share * _rank()
        if checkpoint is None:
            self._look()
        while self.step < config.steps:
            if self._is_asked(world):
                self._save()
                self._tell(Stopped(self.step, "asked"))
                return "stopped"
            self.clock.go_on()
            set_rate(self.optimizers, config.scale_rate(self.step))
            loss = self._step(trained, windows, first, share, world)
            self.step += 1
            self._tell_step(loss)
            if self.pace.is_look(self.step):
                self._look()
            if self.step % checkpoint_every == 0 and self.step < config.steps:
                self._save()
        self._save()
        if len(self.texts.held_out) > 1:
            self.final = self._score(None)
        return "finished"

    def trained_tokens(self) -> int:
        return self.step * self.config.rows * self.config.length

    def sum_losses(self, windows: torch.Tensor) -> torch.Tensor:
        """For whoever measures: without the wrappers, whose other processes do not take part."""
        with self._arithmetic():
            loss: torch.Tensor = self.module(windows)
        return loss

    def _step(self, trained: Any, windows: Windows, first: int, share: int, world: int) -> float:
        """One step of the optimizers over this process's windows; the mean loss of all processes' tokens."""
        config = self.config
        tokens = config.rows * windows.length
        total = torch.zeros((), device=self.device)
        for begin in range(0, share, config.pass_rows):
            count = min(config.pass_rows, share - begin)
            batch = torch.from_numpy(windows.read(self.step, first=first + begin, count=count)).to(self.device)
            last = begin + count >= share
            held = nullcontext() if last or world == 1 else trained.no_sync()  # gradients are summed at the last pass
            with held:
                with self._arithmetic():
                    loss = trained(batch)
                # DDP takes the mean over processes, and the loss is a sum: hence the factor.
                (loss * (world / tokens)).backward()
            total += loss.detach()
        if world > 1:
            torch.distributed.all_reduce(total)
        weights = [weight for weight in self.model.parameters() if weight.grad is not None]
        self.gradient = float(torch.nn.utils.clip_grad_norm_(weights, config.clip or float("inf")))
        mean = float(total) / tokens
        _check_finite("loss", mean + self.gradient, self.step + 1)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.clock.add(tokens)
        return mean

    def _arithmetic(self) -> Any:
        """Autocast to bfloat16 where that was chosen; the weights stay float32."""
        if self.config.dtype == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)

    def _wrap(self, module: Any, world: int) -> Any:
        trained = module
        if self.config.compile:
            trained = torch.compile(trained, dynamic=False)
        if world > 1:
            from torch.nn.parallel import DistributedDataParallel

            trained = DistributedDataParallel(trained)
        return trained

    def _is_asked(self, world: int) -> bool:
        """Whether the run was asked to stop; all processes stop together."""
        if world == 1:
            return self.stop.asked
        asked = torch.tensor([int(self.stop.asked)], device=self.device)
        torch.distributed.all_reduce(asked)
        return bool(asked.item())

    def _tell(self, event: Event) -> None:
        if is_first():
            self._log.append(event)
            self.report(event)

    def _tell_step(self, loss: float) -> None:
        rate, left = self.clock.read(self.config.steps - self.step)
        share = rate * self.flops_per_token / self.peak_flops if self.peak_flops else None
        self._tell(
            Step(
                step=self.step,
                of=self.config.steps,
                loss=loss,
                tokens_per_second=rate,
                seconds_left=left,
                learning_rate=self.optimizers[0].param_groups[0]["lr"],
                gradient=self.gradient,
                peak_share=share,
            )
        )

    def _look(self) -> None:
        """Measures and shows a sample; takes nothing from what trains."""
        self.clock.pause()
        if len(self.texts.held_out) > 1:
            found = self._score(self.config.held_out_tokens)
            best = self.step > 0 and all(found.loss < one.loss for step, one in self.looks if step)
            self.looks.append((self.step, found))
            self._tell(HeldOut(self.step, found.loss, best, bits_per_byte=found.bits_per_byte))
        if is_first():
            with torch.random.fork_rng(devices=[torch.cuda.current_device()] if self.device == "cuda" else []):
                prompt, text = self.write_sample(self.model, self.step)
            if prompt or text:
                self._tell(Sample(self.step, prompt, text))

    def _score(self, limit: int | None) -> Score:
        held_out, size = self.texts.held_out, self.texts.held_out_bytes
        found = score(self.sum_losses, held_out, size, length=self.config.length, limit=limit, device=self.device)
        _check_finite("held-out loss", found.nats, self.step)
        return found

    def _save(self) -> None:
        if not is_first():
            return
        self.clock.pause()
        tensors = {WEIGHTS: {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}}
        state: dict[str, Any] = {"step": self.step, "optimizers": []}
        state["looks"] = [[step, one.nats, one.tokens, one.text_bytes] for step, one in self.looks]
        for number, optimizer in enumerate(self.optimizers):
            moments, settings = read_optimizer(optimizer)
            tensors[f"optimizer{number}"] = moments
            state["optimizers"].append(settings)
        with explain_writing(f"The checkpoint of step {self.step:,}", self.folder):
            write_checkpoint(self.folder, self.step, tensors, state, "{}")
            drop_old_checkpoints(self.folder, self.config.keep_checkpoints)
        self._tell(Saved(self.step))

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            state = checkpoint.read_state()
            weights = checkpoint.read_tensors(WEIGHTS)
            with torch.no_grad():
                for name, weight in self.model.named_parameters():
                    if weight.requires_grad:
                        weight.copy_(weights[name])
            for number, optimizer in enumerate(self.optimizers):
                write_optimizer(optimizer, checkpoint.read_tensors(f"optimizer{number}"), state["optimizers"][number])
            self.step = int(state["step"])
            self.looks = [(int(step), Score(nats, int(tokens), size)) for step, nats, tokens, size in state["looks"]]
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise RunDamaged(f"{checkpoint.path} is of another model: {str(error)[:200]}.") from None


def _check_finite(name: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise LearningError(
            f"The {name} is no number at step {step:,}: the training went astray.",
            hint="Start a new run with a lower --learning-rate.",
        )


def _rank() -> int:
    import os

    return int(os.environ.get("RANK", "0"))
