"""What a run adds to a trainer of TRL: reports, looks at the held-out part, stopping. See also `saving`, `halving`.

`RunLoop` stands before SFTTrainer, DPOTrainer or KTOTrainer in the order of inheritance. The loop itself, the
optimizer, accelerate's processes and the losses of preferences stay theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerCallback

from chatbot.admin.training import state as states
from chatbot.admin.training.checkpoints import Checkpoint
from chatbot.admin.training.events import Event, HeldOut, MetricsLog, Sample, Step, Stopped
from chatbot.admin.training.halving import Halving
from chatbot.admin.training.loading import ADAPTER
from chatbot.admin.training.progress import Clock, EpochOrder, Progress
from chatbot.admin.training.saving import Saving
from chatbot.admin.training.sharding import Agreeing, is_sharded
from chatbot.engine.loading import is_out_of_memory


class RunLoop(Halving, Saving):
    """Mixed into a trainer of TRL. `attach` must follow its construction."""

    control: Any
    train_dataset: Any

    def attach(self, progress: Progress) -> None:
        self.progress = progress
        self._log_file = MetricsLog(progress.folder)
        self.clock = Clock()
        self.join_processes()
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

    # The order of rows

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        self.order = EpochOrder(len(self.train_dataset if train_dataset is None else train_dataset), self.args.seed)
        return self.order

    # Reports

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:  # noqa: ARG002
        """Takes the trainer's numbers of a step; those of a look are taken by `look`."""
        if "loss" not in logs or "learning_rate" not in logs:
            return
        step, of = int(self.state.global_step), int(self.state.max_steps)
        means = self.take_metrics("train")
        rate, left = self.clock.read(of - step)
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
        return self.clock.tokens

    def take_metrics(self, mode: str) -> dict[str, float]:
        """The means that TRL's losses gathered since the last call."""
        gathered = getattr(self, "_metrics", {}).get(mode, {})
        means = {name: sum(values) / len(values) for name, values in gathered.items() if values}
        gathered.clear()
        if {"rewards/chosen", "rewards/rejected"} <= set(means):  # TRL gives no margin for a batch of one kind
            means["rewards/margins"] = means["rewards/chosen"] - means["rewards/rejected"]
        return means

    def take_over(self, checkpoint: Checkpoint) -> bool:
        """Whether the run of `checkpoint` had ended; its weights are then loaded, and nothing is to be trained.

        transformers' loop would make another step before it asks.
        """
        progress = self.progress
        self._load_from_checkpoint(str(checkpoint.path))
        stalled = progress.has_stalled() and progress.looks[-1].step == checkpoint.step
        if checkpoint.step < progress.steps and not stalled:
            return False
        self.state.global_step, self.state.max_steps = checkpoint.step, progress.steps
        if checkpoint.step < progress.steps:
            progress.stopped = "no improvement"
            self.tell(Stopped(checkpoint.step, progress.stopped))
        return True

    # Looks at the held-out part

    def measure(self) -> HeldOut | None:
        """The held-out numbers now, None if nothing is held out."""
        raise NotImplementedError

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """A look: measures, shows samples, remembers the best weights. Takes nothing from the random numbers."""
        progress = self.progress
        self.control.should_evaluate = False
        self.clock.pause()
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
            sharded = is_sharded(self.model)
            if self.args.should_save or sharded:
                self._show_samples(sharded)
        if look is not None and progress.has_stalled() and self.state.global_step < self.state.max_steps:
            progress.stopped = "no improvement"
            self.control.should_training_stop = self.control.should_save = True
        return {"eval_loss": look.loss} if look else {}

    def _show_samples(self, sharded: bool) -> None:
        for number in range(self.progress.config.samples):
            try:
                prompt, reply = self.progress.generate(Agreeing(self.model) if sharded else self.model, number)
            except (RuntimeError, MemoryError) as error:
                # A sample is there to be looked at; nothing depends on it, unless others wait in the middle of a pass.
                if sharded or not is_out_of_memory(error):
                    raise
                continue
            if prompt:
                self.tell(Sample(int(self.state.global_step), prompt, reply))

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        training = self.model.training
        self.model.eval()
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            yield
        self.model.train(training)


class _Follower(TrainerCallback):  # type: ignore[misc]
    """Tells the loop where the trainer is."""

    def __init__(self, loop: RunLoop) -> None:
        self.loop = loop

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self.loop.order.epoch = int(state.epoch or 0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self.loop.clock.go_on()

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
