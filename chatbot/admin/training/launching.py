"""A run by several processes of this machine, without another command: what `accelerate launch` would start.

Each process is a worker with its rank in its environment, as torch.distributed asks for it; on CPUs they exchange
gradients through gloo. Nothing but the run's folder passes between them and their starter, which follows
metrics.jsonl. For several machines start the worker with `accelerate launch` on each.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chatbot.admin.training.job import Job, write_job
from chatbot.errors import LearningError

_WORKER = "chatbot.admin.training.worker"


def launch_processes(
    job: Job, folder: Path, target: Path, processes: int, *, wait: Callable[[], None] = lambda: time.sleep(0.1)
) -> None:
    """Trains `job` in the run's `folder`, or goes on with it, with so many `processes`, into the adapter `target`.

    `wait` is called again and again until they have ended. Ctrl-C reaches the processes by itself. Raises
    LearningError if one of them failed; what it had to say is on the standard error.
    """
    if job.config.accumulation % processes:
        raise LearningError(
            f"accumulation = {job.config.accumulation} cannot be shared by {processes} processes.",
            hint=f"Set it to a multiple of {processes}.",
        )
    if not (folder / "config.json").exists():
        write_job(folder, job)
    port = _find_port()
    workers = [_start(folder, target, rank, processes, port, job) for rank in range(processes)]
    try:
        while any(worker.poll() is None for worker in workers):
            if any(worker.poll() for worker in workers):
                break  # the others would wait for it for ever
            wait()
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
        states = [worker.wait() for worker in workers]
    if any(states):
        raise LearningError("A training process failed.", hint=f"Its words are above; the run is in {folder}.")


def _start(folder: Path, target: Path, rank: int, processes: int, port: int, job: Job) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(max(1, job.threads // processes)),
    }
    if job.device == "cpu":
        environment["ACCELERATE_USE_CPU"] = "true"
    return subprocess.Popen([sys.executable, "-P", "-m", _WORKER, str(folder), str(target)], env=environment)  # noqa: S603


def _find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
