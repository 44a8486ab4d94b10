"""A step of pretraining beside a plain PyTorch loop of the same model: its seconds, and the loss after the same steps.

    python benchmarks/pretrain_step.py [--steps 60] [--rounds 3] [--threads 2] [--compile] [--json]

The model is a Llama of 0.8 million parameters over characters (4 layers, width 128, as nanoGPT's setting for a CPU), a
step has 768 tokens. The peer is what anyone would write: transformers' own LlamaForCausalLM with its loss, AdamW,
clipping, on the same windows. Ours is the product's loop, with AdamW as well, and with Muon. Each run is a process of
its own; they take turns. Seconds are the median of a run's steps after the first five.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))
KINDS = ("plain", "adamw", "muon")
_WARM = 5


def make_inputs(steps: int) -> tuple[Any, Any]:
    """The configuration, and windows over a made-up text that has something to learn."""
    import numpy as np

    from chatbot.admin.pretraining.architecture import SIZES
    from chatbot.admin.pretraining.config import PretrainingConfig

    class Stream:
        def __init__(self) -> None:
            numbers = np.random.default_rng(0)
            self.ids = np.cumsum(numbers.integers(0, 3, 200_000)) % 69

        def __len__(self) -> int:
            return len(self.ids)

        def window(self, start: int, length: int) -> Any:
            return self.ids[start : start + length]

    config = PretrainingConfig(
        tokens=steps * 768, length=256, rows=3, pass_rows=3, learning_rate=4e-3, matrix_rate=0.02,
        architecture=SIZES["nano"], looks=1,
    )  # fmt: skip
    return config, Stream()


def run_plain(steps: int) -> tuple[list[float], float]:
    import torch

    from chatbot.admin.pretraining.network import make_model
    from chatbot.admin.pretraining.windows import Windows

    config, stream = make_inputs(steps)
    model = make_model(config, 69, 0)
    windows = Windows(stream, length=config.length, rows=config.rows, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    times, loss = [], 0.0
    for step in range(steps):
        begin = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * config.scale_rate(step)
        batch = torch.from_numpy(windows.read(step))
        logits = model(input_ids=batch[:, :-1]).logits
        total = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        loss = float(total)
        times.append(time.perf_counter() - begin)
    return times, loss


def run_ours(steps: int, optimizer: str, compiled: bool, folder: Path) -> tuple[list[float], float]:
    from dataclasses import replace

    from chatbot.admin.pretraining.loop import Loop, Texts
    from chatbot.admin.pretraining.network import make_model
    from chatbot.admin.training.events import Event, Step
    from chatbot.admin.training.stopping import StopRequest

    config, stream = make_inputs(steps)
    config = replace(config, optimizer=optimizer, compile=compiled)
    times: list[float] = []
    losses: list[float] = []
    last = time.perf_counter()

    def hear(event: Event) -> None:
        nonlocal last
        if isinstance(event, Step):
            times.append(time.perf_counter() - last)
            losses.append(event.loss)
        last = time.perf_counter()

    class Nothing:
        def __len__(self) -> int:
            return 0

        def window(self, start: int, length: int) -> Any:
            raise IndexError((start, length))

    loop = Loop(
        config, make_model(config, 69, 0), Texts(stream, Nothing(), 0), folder, hear, StopRequest(folder),
        lambda _model, _step: ("", ""),
    )  # fmt: skip
    loop.run(None, checkpoint_every=10**9)
    return times, losses[-1]


def run(kind: str, steps: int, threads: int, compiled: bool) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        times, loss = run_plain(steps) if kind == "plain" else run_ours(steps, kind, compiled, Path(folder))
    return {"seconds": statistics.median(times[_WARM:]), "loss": loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(run(asked.one, asked.steps, asked.threads, asked.compile)))
        return
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(asked.rounds):
        for kind in KINDS:
            command = [sys.executable, __file__, "--one", kind, "--steps", str(asked.steps)]
            command += ["--threads", str(asked.threads), *(["--compile"] if asked.compile else [])]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[kind].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {kind: statistics.median(one["seconds"] for one in found[kind]) for kind in KINDS}
    ratios = {f"ratio_{kind}": medians[kind] / medians["plain"] for kind in KINDS[1:]}
    losses = {f"loss_{kind}": found[kind][-1]["loss"] for kind in KINDS}
    if asked.json:
        print(json.dumps({f"{kind}_ms": 1000 * medians[kind] for kind in KINDS} | losses | ratios))
        return
    for kind in KINDS:
        print(f"{kind:<6} {1000 * medians[kind]:7.1f} ms a step, loss {losses[f'loss_{kind}']:.3f}")
    print(" ".join(f"{name} {value:.3f}" for name, value in ratios.items()))


if __name__ == "__main__":
    main()
