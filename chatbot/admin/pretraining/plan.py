"""What a pretraining will take, and what fits into a budget of time.

Machines differ by a thousand, so the pace is measured: a few passes and steps of the very model, of which nothing is
kept. A budget of minutes becomes a number of tokens by it, before the training starts. From then on the number is what
counts, and the minutes are what it should take: the rate must know its end, and a resumed run must have the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from chatbot.admin.pretraining.config import PretrainingConfig, choose_rows
from chatbot.admin.pretraining.job import PretrainingJob
from chatbot.admin.training.processes import count_processes
from chatbot.errors import OutOfMemory
from chatbot.text import printable_line

_MEASURED = 3
_OVERHEAD = 0.94
"""The share of a budget that goes into steps: the rest is for looks, checkpoints and the model that is written."""
_LEAST_STEPS = 20
_OVERRUN = 1.2
"""Times a budget: more is told."""
_WRITE_SECONDS = 1e-8
"""For each parameter, about: weights and two moments of four bytes, at the pace of a slow disk."""
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds on this machine, the quickest of a few each."""

    pass_seconds: float
    """Forward and backward, of `rows` windows."""
    step_seconds: float
    """Of the optimizers alone."""
    rows: int
    """Windows of the pass that was measured."""
    memory: int
    """Bytes of this process, or of the GPU, at the peak."""
    peak_flops: float
    flops_per_token: float

    def time_step(self, config: PretrainingConfig) -> float:
        """Seconds of a whole step."""
        return config.rows // count_processes() / self.rows * self.pass_seconds + self.step_seconds

    def share_of_peak(self, config: PretrainingConfig) -> float:
        work = self.flops_per_token * config.rows * config.length / count_processes()
        return work / self.time_step(config) / max(self.peak_flops, 1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `--plan` tells."""

    config: PretrainingConfig
    parameters: int
    text_tokens: int
    """Of the corpus, to learn from."""
    held_out_tokens: int
    passes: float
    """How often the text is read."""
    seconds: float
    pace: Pace
    budget: float = 0.0
    """Seconds that were given; 0 where the tokens were."""
    compile_fault: str = ""
    """Why the model is not compiled although that was asked for."""

    @property
    def problems(self) -> list[str]:
        found = []
        if self.budget and self.seconds > _OVERRUN * self.budget:
            found.append(
                f"It takes about {self.seconds:,.0f} s, longer than the {self.budget:,.0f} s of the budget: a run has "
                f"{_LEAST_STEPS} steps at least. A smaller --size, or fewer --rows, fits."
            )
        if self.compile_fault:
            found.append(f"It trains without --compile: {self.compile_fault}.")
        if self.passes > 20:
            found.append(
                f"The text is read {self.passes:,.0f} times: the model will know it by heart. More text is better."
            )
        if not self.held_out_tokens:
            found.append("Nothing is held out, so nobody can tell what the model learns but by its samples.")
        if self.config.steps < _LEAST_STEPS:
            found.append(f"{self.config.steps} steps are too few to learn much: more --tokens or a longer --budget.")
        return found


def measure_pace(job: PretrainingJob, model: Any) -> Pace:
    """Trains `model`, which is spoilt by it, for a few steps on random tokens. Raises OutOfMemory."""
    import torch

    from chatbot.admin.pretraining.network import NextToken, make_optimizers, unwrap
    from chatbot.admin.pretraining.run import count_flops, measure_peak
    from chatbot.admin.training.run import quiet
    from chatbot.engine.loading import is_out_of_memory

    config = job.config
    torch.set_num_threads(max(1, job.threads // count_processes()))
    words = unwrap(model).config.get_text_config().vocab_size
    passes, steps = [], []
    if job.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            module: Any = NextToken(model).to(job.device)
            optimizers = make_optimizers(model, config)
            trained: Any = torch.compile(module, dynamic=False) if config.compile else module
            windows = torch.randint(words, (config.pass_rows, config.length + 1)).to(job.device)
            for _ in range(_MEASURED + 1):  # the first one warms up
                begin = time.perf_counter()
                with torch.autocast(torch.device(job.device).type, torch.bfloat16, enabled=config.dtype == "bfloat16"):
                    loss = trained(windows) / windows.numel()
                loss.backward()
                loss.item()
                between = time.perf_counter()
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                if job.device == "cuda":
                    torch.cuda.synchronize()
                passes.append(between - begin)
                steps.append(time.perf_counter() - between)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"The memory does not hold a step of this model with {config.pass_rows} windows of {config.length} tokens.",
            hint="Choose a smaller --size, --length or --pass-rows.",
        ) from None
    peak = measure_peak(job.device, config.dtype)
    memory, flops = _read_memory(job.device), count_flops(model, config.length)
    return Pace(min(passes[1:]), min(steps[1:]), config.pass_rows, memory, peak, flops)


def try_compiled(job: PretrainingJob, model: Any, plain: Pace) -> tuple[Pace, str]:
    """The pace of the compiled model and '', or `plain` and why that is the better one."""
    try:
        compiled = measure_pace(replace(job, config=replace(job.config, compile=True)), model)
    except Exception as error:  # a compiler fails in ways of its own  # noqa: BLE001
        return plain, printable_line(f"torch cannot compile this model here ({type(error).__name__})", 200)
    if compiled.time_step(job.config) >= plain.time_step(job.config):
        return plain, "compiled it is slower here"
    return compiled, ""


def space_checkpoints(config: PretrainingConfig, pace: Pace, trained: int) -> int:
    """Steps between two checkpoints of so many `trained` weights: about a minute, longer where writing them would take
    a good part of that, but never more than a tenth of the run."""
    seconds = max(_CHECKPOINT_SECONDS, 20 * _WRITE_SECONDS * trained)
    return max(1, min(round(seconds / pace.time_step(config)), config.steps // 10))


def fit_budget(config: PretrainingConfig, pace: Pace, seconds: float, *, rows: int = 0) -> PretrainingConfig:
    """`config` with as many tokens as fit into so many seconds, and the batch that suits them, or `rows`."""
    world = count_processes()
    for _ in range(4):  # the batch follows from the tokens, and they from what a batch takes
        steps = max(_LEAST_STEPS, int(seconds * _OVERHEAD / pace.time_step(config)))
        tokens = steps * config.rows * config.length
        fitting = replace(config, tokens=tokens, rows=rows or choose_rows(tokens, config.length, world))
        if fitting == config:
            break
        config = fitting
    steps = max(_LEAST_STEPS, int(seconds * _OVERHEAD / pace.time_step(config)))
    passed = min(config.pass_rows, config.rows // world)
    return replace(config, tokens=steps * config.rows * config.length, pass_rows=passed)


def _read_memory(device: str) -> int:
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
