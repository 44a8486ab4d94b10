"""Several processes make one pass: each takes its part of every batch.

All of them read the same batches in the same order, cut each one as memory halving does, and take one part of it: what
halving does one after the other, processes do side by side. So the rows of a step, the number of steps, the loss (that
of whole batches, not a mean of means) and the checkpoints are those of one process, whatever number there is and
however uneven the last batch is; a run may even be resumed by another number of processes. Only dropout, which is off
unless a configuration asks for it, draws other numbers in each process than in one alone.

Only the gradients of the adapter pass between processes, added up in few pieces once a step. DistributedDataParallel
would exchange them in the middle of a backward pass, where a process that has run out of memory could not answer. Here
each exchange begins with how many numbers each process brings, and a failed one says so in their place: then all of
them raise OutOfStep, and make the pass again in smaller parts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather

_BUCKET = 1 << 23  # numbers that are added up at once
_FAILED = -1


class OutOfStep(Exception):
    """Another process ran out of memory, so the pass is void in this one, too."""


class Sharing:
    """Stands before a trainer of transformers in the order of inheritance. With one process it changes nothing."""

    accelerator: Any
    args: Any
    model: Any
    share: float = 1.0
    """Of a batch's loss that the part at hand is; 0 if this process only keeps step with the others."""

    def split(self, inputs: dict[str, Any], pieces: int) -> list[tuple[dict[str, Any], float]]:
        """`inputs` in at most so many parts, each with the share of the loss that is its own."""
        raise NotImplementedError

    def share_out(self, inputs: dict[str, Any], pieces: int = 1) -> list[tuple[dict[str, Any], float]]:
        """This process's parts of `inputs`, as many as each other process has.

        Where there are too few, the first part is made again for nothing: all processes must make as many passes.
        """
        count = self.accelerator.num_processes
        every = self.split(inputs, pieces * count)
        own = every[self.accelerator.process_index :: count]
        return own + [(every[0][0], 0.0)] * (-(-len(every) // count) - len(own))

    # What passes between processes

    def collect(self, values: torch.Tensor) -> torch.Tensor:
        """The rows (or the one number) of each process under each other. Raises OutOfStep if one of them has failed."""
        if self.accelerator.num_processes < 2:
            return values
        own = values.detach().reshape(1) if values.dim() == 0 else values.detach()
        own = own if self.share else own[:0]
        sizes = self._meet(len(own))
        padded = torch.cat([own, own.new_zeros(max(sizes) - len(own), *own.shape[1:])])
        every = gather(padded[None])
        return torch.cat([rows[:size] for rows, size in zip(every, sizes, strict=True)])

    def agree(self) -> None:
        """Waits until all processes are done with their parts. Raises OutOfStep if one of them has failed."""
        if self.accelerator.num_processes > 1:
            self._meet(0)

    def give_up(self) -> None:
        """Tells the other processes, wherever in the pass they wait, that this one has failed."""
        if self.accelerator.num_processes > 1:
            gather(torch.tensor([_FAILED], device=self.accelerator.device))

    def _meet(self, size: int) -> list[int]:
        sizes: list[int] = gather(torch.tensor([size], device=self.accelerator.device)).tolist()
        if _FAILED in sizes:
            raise OutOfStep
        return sizes

    def add_up_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Gives each weight the sum of its gradients in all processes."""
        if self.accelerator.num_processes < 2:
            return
        for bucket in _fill_buckets(weights):
            for weight in bucket:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            gradients = [weight.grad for weight in bucket if weight.grad is not None]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            torch.distributed.all_reduce(flat)
            for gradient, part in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))

    # What the trainers would do otherwise

    def join_processes(self) -> None:
        """Must follow the construction of the trainer: keeps it from wrapping the model, and makes the processes begin
        with the same weights."""
        accelerator = self.accelerator
        if accelerator.num_processes < 2:
            return
        accelerator.prepare_model = functools.partial(accelerator.prepare_model, evaluation_mode=True)
        for weight in self.model.parameters():
            if weight.requires_grad:
                torch.distributed.broadcast(weight.data, 0)

    def get_train_dataloader(self) -> Any:
        return self._undivided(super().get_train_dataloader())  # type: ignore[misc]

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        return self._undivided(super().get_eval_dataloader(eval_dataset))  # type: ignore[misc]

    def _undivided(self, loader: Any) -> Any:
        """accelerate deals the batches out and repeats rows until they are even; here every process gets all."""
        if self.accelerator.num_processes > 1:
            shard = loader.batch_sampler
            shard.num_processes, shard.process_index, shard.even_batches = 1, 0, False
        return loader

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """As the trainer's. `prediction_step` gives every process the loss of the whole batch: nothing is gathered."""
        with self._gathering(gather=lambda values: values):
            return super().evaluation_loop(*arguments, **options)  # type: ignore[misc]

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """TRL's losses gather figures from all processes and expect as many rows in each; here they may differ."""

        def collect(values: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
            return self.collect(values)

        with self._gathering(gather=collect, gather_for_metrics=collect):
            yield

    @contextmanager
    def _gathering(self, **functions: Callable[..., torch.Tensor]) -> Iterator[None]:
        """With these in place of accelerate's own functions, if there are several processes."""
        if self.accelerator.num_processes < 2:
            yield
            return
        own = vars(self.accelerator)
        before = {name: own[name] for name in functions if name in own}
        own.update(functions)
        try:
            yield
        finally:
            for name in functions:
                del own[name]
            own.update(before)


def _fill_buckets(weights: Iterable[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    bucket: list[torch.nn.Parameter] = []
    size = 0
    for weight in weights:
        bucket.append(weight)
        size += weight.numel()
        if size >= _BUCKET:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket
