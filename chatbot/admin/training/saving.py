"""Checkpoints in the place of the trainer's own, which are pickles: written, and read again on resuming."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from chatbot.admin.training import state as states
from chatbot.admin.training.checkpoints import Checkpoint, drop_old_checkpoints, write_checkpoint
from chatbot.admin.training.events import Event, HeldOut, Saved
from chatbot.admin.training.loading import ADAPTER
from chatbot.admin.training.progress import Clock, Progress
from chatbot.admin.training.writing import explain_writing
from chatbot.errors import RunDamaged


class Saving:
    """Stands before a trainer of transformers in the order of inheritance, and overrides what it saves and loads."""

    args: Any
    state: Any
    model: Any
    accelerator: Any
    optimizer: Any
    lr_scheduler: Any
    progress: Progress
    clock: Clock
    tell: Callable[[Event], None]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The adapter is written by the run, not by the trainer."""

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
                "tokens": self.clock.tokens,
                "looks": [[look.step, look.loss, look.best, look.margin, look.accuracy] for look in progress.looks],
            }
            with explain_writing(f"The checkpoint of step {step:,}", progress.folder):
                write_checkpoint(progress.folder, step, tensors, content, json.dumps(dataclasses.asdict(self.state)))
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
            self.clock.tokens = int(content["tokens"])
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
            generators = tensors["generators"]
            own = generators[self.accelerator.process_index % max(len(generators), 1)]  # it may be more processes now
            states.write_random(own, content["random"])
            if "cuda" in tensors and torch.cuda.is_available():
                torch.cuda.set_rng_state(tensors["cuda"])
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise RunDamaged(f"{checkpoint} does not belong to this run: {str(error)[:200]}.") from error


def _open(path: str) -> Checkpoint:
    return Checkpoint(int(Path(path).name), Path(path))
