"""When memory runs out: the same step in smaller pieces.

A forward and backward pass that does not fit is made again in two halves, from the same state: the gradients of the
passes before it and the random numbers are put back first. The halves' gradients add up to that of the whole, which is
what "half the batch, twice the accumulation" means, so the step and the curve stay what they were. From then on every
pass is cut into so many pieces. If one of several processes runs out, all of them make the pass again (see `sharing`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from chatbot.admin.training.events import Event, Halved
from chatbot.admin.training.progress import Clock, Progress, count_tokens
from chatbot.admin.training.sharding import is_sharded
from chatbot.admin.training.sharing import OutOfStep, Sharing
from chatbot.engine.loading import is_out_of_memory
from chatbot.errors import OutOfMemory


class Halving(Sharing):
    """Stands before a trainer of transformers in the order of inheritance."""

    state: Any
    progress: Progress
    clock: Clock
    tell: Callable[[Event], None]

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """As the trainer's; when memory runs out, from the same state in twice as many pieces, from then on."""
        self.clock.add(count_tokens(inputs))
        count = self.accelerator.num_processes
        while True:
            before = [None if weight.grad is None else weight.grad.clone() for weight in self._trained()]
            random_before = torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None
            try:
                losses = []
                for part, share in self.share_out(inputs, self.progress.pieces):
                    self.share = share
                    with self.collecting():
                        losses.append(super().training_step(model, part, num_items_in_batch))  # type: ignore[misc]
                self.agree()
            except OutOfStep:
                pass
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if is_sharded(self.model):
                    raise OutOfMemory(
                        "A pass does not fit into memory, and a sharded base cannot be halved: its processes wait for "
                        "each other in the middle of a pass.",
                        hint="Launch more processes, give --recompute, or a smaller --max-tokens.",
                    ) from error
                self.give_up()
            else:
                self.share = 1.0
                if self.accelerator.sync_gradients:
                    self.add_up_gradients(self._trained())
                return torch.stack(losses).sum() * count  # the trainer takes the mean over processes
            # Outside the handler: the traceback holds the tensors of the failed pass.
            pieces = self.progress.pieces * 2
            if len(self.split(inputs, pieces * count)) <= len(self.split(inputs, self.progress.pieces * count)):
                raise OutOfMemory(
                    "One row by itself does not fit into memory.",
                    hint="Leave long rows out with --max-tokens, or try --recompute or a smaller base model.",
                )
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
