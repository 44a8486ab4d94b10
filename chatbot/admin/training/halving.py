"""When memory runs out: the same step in smaller pieces.

A forward and backward pass that does not fit is made again in two halves, from the same state: the gradients of the
passes before it and the random numbers are put back first. The halves' gradients add up to that of the whole, which is
what "half the batch, twice the accumulation" means, so the step and the curve stay what they were. From then on every
pass is cut into so many pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from chatbot.admin.training.events import Event, Halved
from chatbot.admin.training.progress import Clock, Progress, count_tokens
from chatbot.engine.loading import is_out_of_memory
from chatbot.errors import OutOfMemory


class Halving:
    """Stands before a trainer of transformers in the order of inheritance."""

    state: Any
    model: Any
    accelerator: Any
    progress: Progress
    clock: Clock
    tell: Callable[[Event], None]
    share: float = 1.0
    """Of a batch's loss that the piece at hand is."""

    def split(self, inputs: dict[str, Any], pieces: int) -> list[tuple[dict[str, Any], float]]:
        """`inputs` in at most so many parts, each with the share of the loss that is its own."""
        raise NotImplementedError

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """As the trainer's; when memory runs out, from the same state in twice as many pieces, from then on."""
        self.clock.add(count_tokens(inputs) * self.accelerator.num_processes)
        while True:
            parts = self.split(inputs, self.progress.pieces)
            before = [None if weight.grad is None else weight.grad.clone() for weight in self._trained()]
            random_before = torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None
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
            torch.set_rng_state(random_before[0])
            if random_before[1] is not None:
                torch.cuda.set_rng_state(random_before[1])
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
