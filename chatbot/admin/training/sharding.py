"""A base model in shards, one with each process: what `accelerate launch --use_fsdp` asks for.

PyTorch's FSDP2 (`fully_shard`) is laid on the frozen base alone: a layer's weights are put together when it is computed
and dropped again. The adapter stays whole in each process. It is a hundredth of the base, so sharding it would save
nothing, and so its gradients, its optimizer, checkpoints and resuming are those of processes that shard nothing.

accelerate's own preparation would shard the adapter with the rest and works on GPUs only; so it is not told. What its
launcher says of FSDP beyond that it is wanted is not heard, except for keeping layers together between forward and
backward pass (`--fsdp_reshard_after_forward false`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chatbot.admin.training.processes import count_processes

if TYPE_CHECKING:
    import torch

_WANTED = "ACCELERATE_USE_FSDP"
_RESHARD = "FSDP_RESHARD_AFTER_FORWARD"


@contextmanager
def take_sharding_over() -> Iterator[bool]:
    """Whether the launcher asked for shards; transformers and accelerate do not hear of it while the block runs."""
    asked = os.environ.get(_WANTED, "false")
    if asked.lower() not in {"1", "true"}:
        yield False
        return
    os.environ[_WANTED] = "false"
    try:
        yield count_processes() > 1
    finally:
        os.environ[_WANTED] = asked


def shard_base(model: Any, device: str) -> None:
    """Leaves each process its part of the frozen weights of `model` (of peft), on the `device` kind of this process.

    The processes must have met. Every forward pass must from then on be made by all of them together.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    options: dict[str, Any] = {
        "mesh": init_device_mesh(device, (count_processes(),)),
        "ignored_params": {weight for weight in model.parameters() if weight.requires_grad},
    }
    drop = os.environ.get(_RESHARD, "true").lower() != "false"
    layers = set(getattr(model.get_base_model(), "_no_split_modules", None) or ())
    for module in reversed(list(model.modules())):
        if type(module).__name__ in layers:
            fully_shard(module, reshard_after_forward=drop, **options)
    fully_shard(model, **options)


def is_sharded(model: Any) -> bool:
    """Whether `shard_base` was done to it."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


class Agreeing:
    """A sharded model whose answers are the first process's in all of them: they choose the same token and end at the
    same place, since each makes as many passes as the others wait for."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        yield from self._model.parameters()

    def __call__(self, **inputs: Any) -> Any:
        import torch

        output = self._model(**inputs)
        torch.distributed.broadcast(output.logits, 0)
        return output
