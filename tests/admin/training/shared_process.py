"""One of several processes that train runs, one after the other, for `accelerate launch … -m`.

Its arguments are folders of runs; a run that has a checkpoint is resumed. In a folder, the file `fails` holds a rank
and a number: memory runs out in that pass of the process of that rank; or, for a negative number, the process dies. The
file `fails_look` holds a rank: memory runs out there in the first pass of the second look. The file `stops` holds the
step after which the run is asked to stop. Where there is a file `unkept`, the first process fails to keep the adapter.
The file `base-RANK.json` tells afterwards how many of the base's weights the process held,
and how many there are.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from chatbot.admin.training.checkpoints import find_checkpoint
from chatbot.admin.training.events import Event, Step
from chatbot.admin.training.job import read_job
from chatbot.admin.training.run import run_job
from chatbot.admin.training.stopping import STOP_FILE
from chatbot.errors import ChatbotError, LearningError


def fail(loop: type[Any], number: int) -> None:
    compute, passes = loop.compute_loss, 0

    def compute_once(own: Any, model: Any, *rest: Any, **options: Any) -> Any:
        nonlocal passes
        loss = compute(own, model, *rest, **options)
        if own.model.training:
            passes += 1
            if passes == abs(number):
                if number < 0:
                    os._exit(3)
                loss.backward()  # leaves gradients that must be forgotten
                raise MemoryError
        return loss

    loop.compute_loss = compute_once


def fail_look(loop: type[Any]) -> None:
    compute, failed = loop.compute_loss, False

    def compute_once(own: Any, model: Any, *rest: Any, **options: Any) -> Any:
        nonlocal failed
        loss = compute(own, model, *rest, **options)  # what it counted must be taken back
        if not own.model.training and own.state.global_step and not failed:
            failed = True
            raise MemoryError
        return loss

    loop.compute_loss = compute_once


def count(loop: type[Any], file: Path) -> None:
    """Told when training begins."""
    from torch.distributed.tensor import DTensor

    begin = loop.train

    def train(own: Any, *arguments: Any, **options: Any) -> Any:
        frozen = [weight for weight in own.model.parameters() if not weight.requires_grad]
        held = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in frozen]
        file.write_text(json.dumps([sum(one.numel() for one in held), sum(one.numel() for one in frozen)]))
        return begin(own, *arguments, **options)

    loop.train = train


def run(folder: Path) -> None:
    from chatbot.admin.training.preference import DpoLoop, KtoLoop
    from chatbot.admin.training.sft import SftLoop

    loops: dict[str, type[Any]] = {"sft": SftLoop, "dpo": DpoLoop, "kto": KtoLoop}
    job, rank = read_job(folder), os.environ["RANK"]
    loop = loops[job.config.method]
    before = loop.compute_loss, loop.train
    count(loop, folder / f"base-{rank}.json")
    if (folder / "fails").exists():
        who, number = (folder / "fails").read_text().split()
        if who == rank:
            fail(loop, int(number))
    if (folder / "fails_look").exists() and (folder / "fails_look").read_text() == rank:
        fail_look(loop)
    stops = int((folder / "stops").read_text()) if (folder / "stops").exists() else 0

    def stop(event: Event) -> None:
        if isinstance(event, Step) and event.step == stops:
            (folder / STOP_FILE).touch()

    def refuse(_: Path) -> Path:
        raise LearningError("The disk is full.")

    target = refuse if (folder / "unkept").exists() else folder.with_name(f"{folder.name}-adapter")
    try:
        run_job(job, folder, target, stop, resume=find_checkpoint(folder) is not None)
    finally:
        loop.compute_loss, loop.train = before


def main(folders: list[Path]) -> None:
    for folder in folders:
        try:
            run(folder)
        except ChatbotError as error:
            (folder / f"error-{os.environ['RANK']}").write_text(f"{type(error).__name__}: {error} {error.hint}")
            raise


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
