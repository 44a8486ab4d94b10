"""What a run adds to a trainer of TRL: checkpoints, reports, looks at the held-out part, stopping, memory.

`RunLoop` stands before SFTTrainer, DPOTrainer or KTOTrainer in the order of inheritance. The loop itself, the
optimizer, accelerate's processes and the losses of preferences stay theirs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerCallback

from chatbot.admin.training import state as states
from chatbot.admin.training.checkpoints import Checkpoint, drop_old_checkpoints, write_checkpoint
from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Event, Halved, HeldOut, MetricsLog, Sample, Saved, Step, Stopped
from chatbot.admin.training.loading import ADAPTER
from chatbot.admin.training.stopping import StopRequest
from chatbot.engine.loading import is_out_of_memory
from chatbot.errors import OutOfMemory, RunDamaged


@dataclass(slots=True)
class Progress:
    """What of a run is neither weights nor random numbers; it is kept in each checkpoint."""

    config: TrainingConfig
    folder: Path
    report: Callable[[Event], None]
    stop: StopRequest
    generate: Callable[[Any, int], tuple[str, str]]
    """Answers the held-out prompt of a number with a model: (prompt, reply)."""
    pieces: int = 1
    """Into so many parts each forward pass is cut, since memory ran out."""
    looks: list[HeldOut] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    stopped: str = ""

    @property
    def best_look(self) -> HeldOut | None:
        """The look with the lowest loss once training began."""
        return min((look for look in self.looks if look.step), key=lambda look: look.loss, default=None)

    def has_stalled(self) -> bool:
        """Whether the last `patience` looks brought nothing better."""
        best = self.best_look
        since = sum(look.step > best.step for look in self.looks) if best else 0
        return bool(self.config.patience) and since >= self.config.patience


class EpochOrder(Sampler[int]):  # type: ignore[misc]
    """The order of an epoch's rows: from the seed and the number of the epoch alone, whatever happened before."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(self.size, generator=generator).tolist()


class RunLoop:
    """Mixed into a trainer of TRL. `attach` must follow its construction."""

    args: Any
    state: Any
    control: Any
    model: Any
    accelerator: Any
    optimizer: Any
    lr_scheduler: Any
    train_dataset: Any
    progress: Progress
    share: float = 1.0
    """Of a batch's loss that the piece at hand is."""

    def attach(self, progress: Progress) -> None:
        self.progress = progress
        self._log_file = MetricsLog(progress.folder)
        self._clock = _Clock()
        trainer: Any = self
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Follower(self))

    def tell(self, event: Event) -> None:
        """Reports from the main process: to the file first, since the caller's code may fail."""
        if self.args.should_save:
            self._log_file.append(event)
            self.progress.report(event)

    # What the trainers would send or write for themselves

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        return 0

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The adapter is written by the run, not by the trainer."""

    # The order of rows

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        self._order = EpochOrder(len(self.train_dataset if train_dataset is None else train_dataset), self.args.seed)
        return self._order

    # Reports

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:  # noqa: ARG002
        """Takes the trainer's numbers of a step; those of a look are taken by `look`."""
        if "loss" not in logs or "learning_rate" not in logs:
            return
        step, of = int(self.state.global_step), int(self.state.max_steps)
        means = self.take_metrics("train")
        rate, left = self._clock.read(of - step)
        self.tell(
            Step(
                step=step,
                of=of,
                loss=logs["loss"],
                tokens_per_second=rate,
                seconds_left=left,
                learning_rate=logs["learning_rate"],
                gradient=logs.get("grad_norm", 0.0),
                margin=means.get("rewards/margins"),
            )
        )

    def trained_tokens(self) -> int:
        """All that the run has trained on, padding not counted."""
        return self._clock.tokens

    def take_metrics(self, mode: str) -> dict[str, float]:
        """The means that TRL's losses gathered since the last call."""
        gathered = getattr(self, "_metrics", {}).get(mode, {})
        means = {name: sum(values) / len(values) for name, values in gathered.items() if values}
        gathered.clear()
        if {"rewards/chosen", "rewards/rejected"} <= set(means):  # TRL gives no margin for a batch of one kind
            means["rewards/margins"] = means["rewards/chosen"] - means["rewards/rejected"]
        return means

    # Looks at the held-out part

    def measure(self) -> HeldOut | None:
        """The held-out numbers now, None if nothing is held out."""
        raise NotImplementedError

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """A look: measures, shows samples, remembers the best weights. Takes nothing from the random numbers."""
        progress = self.progress
        self.control.should_evaluate = False
        self._clock.pause()
        with self._undisturbed():
            look = self.measure()
            if look is not None:
                best = progress.best_look
                better = look.step > 0 and (best is None or look.loss < best.loss)
                look = HeldOut(look.step, look.loss, better, look.margin, look.accuracy)
                progress.looks.append(look)
                if better:
                    progress.best = states.read_trained(self.model, adapter=ADAPTER)
                self.tell(look)
            if self.args.should_save:
                for number in range(progress.config.samples):
                    prompt, reply = progress.generate(self.model, number)
                    if prompt:
                        self.tell(Sample(int(self.state.global_step), prompt, reply))
        self._clock.go_on()
        if look is not None and progress.has_stalled() and self.state.global_step < self.state.max_steps:
            progress.stopped = "no improvement"
            self.control.should_training_stop = self.control.should_save = True
        return {"eval_loss": look.loss} if look else {}

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        training = self.model.training
        self.model.eval()
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            yield
        self.model.train(training)

    # Memory

    def split(self, inputs: dict[str, Any], pieces: int) -> list[tuple[dict[str, Any], float]]:
        """`inputs` in at most so many parts, each with the share of the loss that is its own."""
        raise NotImplementedError

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """As the trainer's; when memory runs out, from the same state in twice as many pieces, from then on."""
        self._clock.add(count_tokens(inputs) * self.accelerator.num_processes)
        while True:
            parts = self.split(inputs, self.progress.pieces)
            before = [None if weight.grad is None else weight.grad.clone() for weight in self._trained()]
            random_before = torch.get_rng_state()
            try:
                losses = []
                for number, (part, share) in enumerate(parts):
                    self.share = share
                    with self._synchronise(model, last=number == len(parts) - 1):
                        losses.append(super().training_step(model, part, num_items_in_batch))  # type: ignore[misc]
                self.share = 1.0
                return torch.stack(losses).sum()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.accelerator.num_processes > 1:
                    raise
                pieces = self.progress.pieces * 2
                if len(self.split(inputs, pieces)) <= len(parts):
                    raise OutOfMemory(
                        "One row by itself does not fit into memory.",
                        hint="Train with a smaller max_length, with recompute, or a smaller base model.",
                    ) from error
            # Outside the handler: the traceback holds the tensors of the failed pass.
            for weight, gradient in zip(self._trained(), before, strict=True):
                weight.grad = gradient
            torch.set_rng_state(random_before)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.progress.pieces = pieces
            self.tell(Halved(int(self.state.global_step), pieces))

    def _trained(self) -> list[torch.nn.Parameter]:
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    @contextmanager
    def _synchronise(self, model: Any, *, last: bool) -> Iterator[None]:
        """Gradients are exchanged between processes with the last piece only."""
        if last:
            yield
        else:
            with self.accelerator.no_sync(model):
                yield

    # Checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ARG002
        """In place of the trainer's pickles."""
        step, progress = int(self.state.global_step), self.progress
        own, others = states.read_random()
        generators = self.accelerator.gather(own[None].to(self.accelerator.device)).cpu()
        if self.args.should_save:
            moments, settings = states.read_optimizer(self.optimizer)
            tensors: dict[str, dict[str, torch.Tensor]] = {
                "adapter": states.read_trained(self.model, adapter=ADAPTER),
                "best": progress.best,
                "optimizer": moments,
                "random": {"generators": generators},
            }
            if torch.cuda.is_available():
                tensors["random"]["cuda"] = torch.cuda.get_rng_state()
            content = {
                "optimizer": settings,
                "schedule": self.lr_scheduler.state_dict(),
                "random": others,
                "pieces": progress.pieces,
                "tokens": self._clock.tokens,
                "looks": [[look.step, look.loss, look.best, look.margin, look.accuracy] for look in progress.looks],
            }
            write_checkpoint(progress.folder, step, tensors, content, _dump_state(self.state))
            drop_old_checkpoints(progress.folder, progress.config.keep_checkpoints)
            self.tell(Saved(step))
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoint = _open(resume_from_checkpoint)
        content = checkpoint.read_state()
        try:
            states.write_trained(model or self.model, checkpoint.read_tensors("adapter"), adapter=ADAPTER)
            self.progress.best = checkpoint.read_tensors("best")
            self.progress.looks = [HeldOut(*look) for look in content["looks"]]
            self.progress.pieces = int(content["pieces"])
            self._clock.tokens = int(content["tokens"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise RunDamaged(f"{checkpoint.path} does not belong to this run: {str(error)[:200]}.") from error

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        content = _open(checkpoint).read_state()
        try:
            moments = _open(checkpoint).read_tensors("optimizer")
            states.write_optimizer(self.optimizer, moments, content["optimizer"])
            self.lr_scheduler.load_state_dict(content["schedule"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunDamaged(f"{checkpoint} does not belong to this run: {str(error)[:200]}.") from error

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        tensors, content = _open(checkpoint).read_tensors("random"), _open(checkpoint).read_state()
        try:
            own = tensors["generators"][self.accelerator.process_index]
            states.write_random(own, content["random"])
            if "cuda" in tensors and torch.cuda.is_available():
                torch.cuda.set_rng_state(tensors["cuda"])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise RunDamaged(f"{checkpoint} does not belong to this run: {str(error)[:200]}.") from error


class _Follower(TrainerCallback):  # type: ignore[misc]
    """Tells the loop where the trainer is."""

    def __init__(self, loop: RunLoop) -> None:
        self.loop = loop

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self.loop._order.epoch = round(state.epoch or 0) if not state.global_step else int(state.epoch or 0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self.loop._clock.go_on()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        loop = self.loop
        asked = torch.tensor([int(loop.progress.stop.asked)], device=loop.accelerator.device)
        if loop.accelerator.num_processes > 1:
            asked = loop.accelerator.gather(asked)
        if state.global_step >= state.max_steps:
            control.should_evaluate = args.eval_strategy != "no"
        elif bool(asked.any()):
            loop.progress.stopped = "asked"
            control.should_save = control.should_training_stop = True
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if reason := self.loop.progress.stopped:
            self.loop.tell(Stopped(int(state.global_step), reason))


class _Clock:
    """Tokens per second over the last steps, looks not counted, and the time that is left."""

    def __init__(self) -> None:
        self.tokens = 0
        self._steps: deque[tuple[int, float]] = deque(maxlen=20)
        self._counted = 0
        self._start: float | None = None
        self._spent = 0.0
        self._began = time.monotonic()
        self._done = 0

    def add(self, tokens: int) -> None:
        self.tokens += tokens
        self._counted += tokens

    def pause(self) -> None:
        if self._start is not None:
            self._spent += time.monotonic() - self._start
            self._start = None

    def go_on(self) -> None:
        if self._start is None:
            self._start = time.monotonic()

    def read(self, left: int) -> tuple[float, float]:
        """Ends a step: (tokens a second, seconds left for `left` more steps, looks included)."""
        self.pause()
        self._done += 1
        self._steps.append((self._counted, self._spent))
        self._counted, self._spent = 0, 0.0
        seconds = sum(spent for _, spent in self._steps)
        rate = sum(tokens for tokens, _ in self._steps) / max(seconds, 1e-9)
        return rate, (time.monotonic() - self._began) / self._done * left


def count_tokens(inputs: dict[str, Any]) -> int:
    """Those of a batch, padding not counted."""
    mask = inputs.get("attention_mask")
    return int(inputs["input_ids"].numel() if mask is None else mask.sum())


def _open(path: str) -> Checkpoint:
    return Checkpoint(int(Path(path).name), Path(path))


def _dump_state(state: Any) -> str:
    """transformers' own state of the loop, as the JSON that it reads again."""
    import dataclasses
    import json

    return json.dumps(dataclasses.asdict(state), indent=2, sort_keys=True)
