"""Several processes that train together: how many, which one this is, and what a lost one looks like.

`accelerate launch` (or torchrun) tells each process so in its environment. Nothing heavy is imported with this
module, since the command asks before it knows whether anything is to be trained.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from chatbot.errors import LearningError

PATIENCE = 600  # seconds that a process waits for the others, in a run or for its beginning


def count_processes() -> int:
    """How many processes the launcher started; 1 without one."""
    number = os.environ.get("WORLD_SIZE", "1")
    return int(number) if number.isdecimal() and int(number) > 0 else 1


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return os.environ.get("RANK", "0") == "0"


def meet_processes(device: str) -> None:
    """Waits for the other processes, on the `device` kind of this one, and bounds every later wait: transformers would
    set no limit on CPUs, and a process that stands still would hold the others for half an hour."""
    if count_processes() > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu", timeout=timedelta(seconds=PATIENCE))


def is_loss_of_process(error: BaseException) -> bool:
    """Whether `error` is how gloo and NCCL say that another process has gone, or has not answered in time."""
    import torch.distributed as dist

    if isinstance(error, dist.DistError):
        return True
    signs = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "Broken pipe")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


@contextmanager
def explain_loss() -> Iterator[None]:
    """Turns the loss of another process, wherever this one waits for it, into a LearningError."""
    try:
        yield
    except RuntimeError as error:
        if not is_loss_of_process(error):
            raise
        raise LearningError(
            "Another of the launched processes ended, or did not answer in time.",
            hint="Its words tell why, unless it was killed; --resume goes on from the last checkpoint.",
        ) from error
