"""When memory runs out: the same step in smaller pieces.

A forward and backward pass that does not fit is made again in two halves, from the same state: the gradients of the
passes before it and the random numbers are put back first. The halves' gradients add up to that of the whole, which is
what "half the batch, twice the accumulation" means, so the step and the curve stay what they were. From then on every
pass is cut into so many pieces. If one of several processes runs out, all of them make the pass again (see `sharing`).

Looks at the held-out part are cut in the same way, by a number of pieces of their own: they take less memory.
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

Parts = list[tuple[dict[str, Any], float]]


class Halving(Sharing):
    """Stands before a trainer of transformers in the order of inheritance."""

    state: Any
    progress: Progress
    clock: Clock
    tell: Callable[[Event], None]
    look_pieces: int = 1
    """Into so many parts each pass of a look is cut."""

    def prepare(self, model: Any, parts: Parts) -> None:
        """What the loss of each part must know of the whole batch, found without a gradient; nothing unless a method
        says otherwise."""

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """As the trainer's; when memory runs out, from the same state in twice as many pieces, from then on."""
        self.clock.add(count_tokens(inputs))
        model.train()  # as the trainer would, before anything is prepared
        while True:
            before = [None if weight.grad is None else weight.grad.clone() for weight in self._trained()]
            random_before = torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None

            def make(part: dict[str, Any]) -> torch.Tensor:
                loss: torch.Tensor = super(Halving, self).training_step(model, part, num_items_in_batch)  # type: ignore[misc]
                return loss

            losses = self._try(model, self.share_out(inputs, self.progress.pieces), make)
            if losses is not None:
                if self.accelerator.sync_gradients:
                    self.add_up_gradients(self._trained())
                return torch.stack(losses).sum() * self.accelerator.num_processes  # the trainer takes their mean
            self.progress.pieces = self._halve(inputs, self.progress.pieces)
            for weight, gradient in zip(self._trained(), before, strict=True):
                weight.grad = gradient
            torch.set_rng_state(random_before[0])
            if random_before[1] is not None:
                torch.cuda.set_rng_state(random_before[1])
            self.tell(Halved(int(self.state.global_step), self.progress.pieces))

    def prediction_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """As the trainer's: the loss of a batch of a look, the same in each process and in however many pieces."""
        inputs = self._prepare_inputs(inputs)  # type: ignore[attr-defined]

        def make(part: dict[str, Any]) -> torch.Tensor:
            loss = super(Halving, self).prediction_step(model, part, *arguments, **options)[0]  # type: ignore[misc]
            return self.collect(loss).sum()

        while True:
            take_back = self.remember()
            losses = self._try(model, self.share_out(inputs, self.look_pieces), make)
            if losses is not None:
                return torch.stack(losses).sum(), None, None
            take_back()
            self.look_pieces = self._halve(inputs, self.look_pieces)

    def remember(self) -> Callable[[], None]:
        """What takes back whatever a pass of a look that failed has counted."""
        return lambda: None

    def measure_in_pieces(
        self, inputs: dict[str, Any], make: Callable[[dict[str, Any]], torch.Tensor]
    ) -> list[torch.Tensor]:
        """What `make` finds in each piece of a pass that no other process takes part in, unless the base is sharded."""
        while True:
            found = self._try(None, self.split(inputs, self.look_pieces), make, alone=True)
            if found is not None:
                return found
            self.look_pieces = self._halve(inputs, self.look_pieces, among=1)

    def _try(
        self, model: Any, parts: Parts, make: Callable[[dict[str, Any]], torch.Tensor], *, alone: bool = False
    ) -> list[torch.Tensor] | None:
        """What `make` makes of each part; None if memory ran out, here or in another process. Raises OutOfMemory if the
        base is sharded."""
        try:
            if alone:
                return [make(part) for part, _ in parts]
            made = []
            with self.collecting():
                self.prepare(model, parts)
                for part, self.share in parts:
                    made.append(make(part))
            self.agree()
            return made
        except OutOfStep:
            return None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if is_sharded(self.model):
                raise OutOfMemory(
                    "A pass does not fit into memory, and a sharded base cannot be halved: its processes wait for "
                    "each other in the middle of a pass.",
                    hint="Launch more processes, give --recompute, or a smaller --max-tokens.",
                ) from error
            if not alone:
                self.give_up()
            return None
        finally:
            self.share = 1.0

    def _halve(self, inputs: dict[str, Any], pieces: int, *, among: int = 0) -> int:
        """Twice as many pieces; outside the handler, since the traceback holds the tensors of the failed pass. Raises
        OutOfMemory if `inputs` cannot be cut into more."""
        count = among or self.accelerator.num_processes
        if len(self.split(inputs, 2 * pieces * count)) <= len(self.split(inputs, pieces * count)):
            raise OutOfMemory(
                "One row by itself does not fit into memory.",
                hint="Leave long rows out with --max-tokens, or try --recompute or a smaller base model.",
            )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return 2 * pieces

    def _trained(self) -> list[torch.nn.Parameter]:
        return [weight for weight in self.model.parameters() if weight.requires_grad]
