"""From what was asked for to what is done: sizes, batch and rates of a pretraining, settled before it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatbot.admin.corpus.folder import CorpusFolder
from chatbot.admin.corpus.tokens import TokenFolder, tokenize
from chatbot.admin.pretraining.architecture import SIZES, Architecture
from chatbot.admin.pretraining.config import Optimizer, PretrainingConfig, choose_rate, choose_rows
from chatbot.admin.pretraining.job import PretrainingJob
from chatbot.admin.pretraining.plan import Pace, Plan, fit_budget, measure_pace, space_checkpoints, try_compiled
from chatbot.admin.tokenizing.library import TokenizerLibrary
from chatbot.admin.training.processes import count_processes
from chatbot.config import Home
from chatbot.errors import LearningError, OutOfMemory
from chatbot.models.library import ModelFolder

Progress = Callable[[str, int, int], None]
_READ_ON_LENGTH = 512
_PASS_TOKENS = {"cuda": 1 << 15, "cpu": 1 << 11}
"""In one forward pass: enough to keep the device busy, little enough to fit."""
_FIRST_GUESS = 2_000_000
_BUDGET = 600.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person may ask for. Zeros, None and '' mean "as it suits"."""

    size: str = ""
    architecture: Architecture | None = None
    tokenizer: str = ""
    base: ModelFolder | None = None
    lora: bool = False
    tokens: int = 0
    budget: float = 0.0
    """Seconds."""
    length: int = 0
    rows: int = 0
    pass_rows: int = 0
    learning_rate: float = 0.0
    matrix_rate: float = 0.0
    optimizer: Optimizer | None = None
    dtype: str = ""
    compile: bool = False
    seed: int = 0
    threads: int = 0


def settle(
    home: Home, corpus: CorpusFolder, wishes: Wishes, on_progress: Progress = lambda _title, _done, _total: None
) -> tuple[PretrainingJob, Plan]:
    """The job and what it will take; a step is really made. Raises LearningError, NotFound, ModelError, OutOfMemory."""
    from chatbot.admin.pretraining.run import open_model
    from chatbot.engine.loading import count_threads

    tokenizer = _find_tokenizer(home, corpus, wishes)
    tokens = tokenize(corpus, tokenizer / "tokenizer.json", on_progress)
    device = _choose_device()
    config = _choose(wishes, tokens, device)
    job = PretrainingJob(config, corpus, tokenizer, wishes.base, device, count_threads(wishes.threads))
    on_progress("measuring a step", 0, 0)
    model = open_model(job, tokens.vocabulary, 0)

    def fit(config: PretrainingConfig, pace: Pace) -> PretrainingConfig:
        if wishes.tokens:
            return config
        return fit_budget(config, pace, wishes.budget or _BUDGET, rows=wishes.rows)

    pace = _measure(job, model, fixed=bool(wishes.pass_rows))
    config = fit(replace(config, pass_rows=pace.rows), pace)
    if config.pass_rows < pace.rows:  # a pass is smaller than what suits the device: what does it really take?
        pace = measure_pace(replace(job, config=config), model)
        config = fit(config, pace)
    fault = ""
    if wishes.compile:
        on_progress("compiling", 0, 0)
        pace, fault = try_compiled(replace(job, config=config), model, pace)
        config = fit(replace(config, compile=not fault), pace)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    config = replace(config, checkpoint_every=space_checkpoints(config, pace, trained))
    plan = _make_plan(config, tokens, pace, sum(weight.numel() for weight in model.parameters()))
    budget = 0.0 if wishes.tokens else wishes.budget or _BUDGET
    return replace(job, config=config), replace(plan, budget=budget, compile_fault=fault)


def _measure(job: PretrainingJob, model: Any, *, fixed: bool) -> Pace:
    """The pace with as many windows in a pass as the memory holds, unless they are `fixed`."""
    while True:
        try:
            return measure_pace(job, model)
        except OutOfMemory:
            if fixed or job.config.pass_rows == 1:
                raise
        job = replace(job, config=replace(job.config, pass_rows=job.config.pass_rows // 2))


def _choose(wishes: Wishes, tokens: TokenFolder, device: str) -> PretrainingConfig:
    text = len(tokens.tokens("train"))
    if text < 2:
        raise LearningError("The corpus has nothing to learn from.", hint="Build it with more text.")
    architecture = None
    if wishes.base is None:
        architecture = wishes.architecture or SIZES[wishes.size or "micro"]
        length = wishes.length or architecture.context
        if wishes.length > architecture.context:
            architecture = replace(architecture, context=wishes.length).check()
    else:
        length = wishes.length or min(_READ_ON_LENGTH, wishes.base.context)
        if length > wishes.base.context:
            raise LearningError(f"{wishes.base.name} reads at most {wishes.base.context:,} tokens.")
    length = min(length, text - 1)
    world = count_processes()
    wanted = wishes.tokens or _FIRST_GUESS
    rows = wishes.rows or choose_rows(wanted, length, world)
    if rows % world:
        raise LearningError(
            f"{rows} windows a step cannot be shared by {world} processes.", hint="Give --rows a multiple of them."
        )
    suiting = max(1, _PASS_TOKENS["cuda" if device == "cuda" else "cpu"] // length)
    read_on = 5e-4 if wishes.lora else 5e-5
    width = architecture.width if architecture else 0
    return PretrainingConfig(
        tokens=max(wanted, rows * length),
        length=length,
        rows=rows,
        # A budget's batch is not known yet: what suits the device is measured, and the batch bounds it later.
        pass_rows=min(wishes.pass_rows or suiting, rows // world)
        if wishes.tokens or wishes.rows
        else wishes.pass_rows or suiting,
        learning_rate=wishes.learning_rate or (choose_rate(width) if architecture else read_on),
        matrix_rate=wishes.matrix_rate or 0.02,
        optimizer=wishes.optimizer or ("muon" if architecture else "adamw"),
        architecture=architecture,
        lora_rank=64 if wishes.lora else 0,
        seed=wishes.seed,
        dtype="bfloat16"
        if (wishes.dtype or ("bfloat16" if device == "cuda" else "float32")) == "bfloat16"
        else "float32",
        threads=wishes.threads,
    )


def _make_plan(config: PretrainingConfig, tokens: TokenFolder, pace: Pace, parameters: int) -> Plan:
    text = len(tokens.tokens("train"))
    return Plan(
        config=config,
        parameters=parameters,
        text_tokens=text,
        held_out_tokens=len(tokens.tokens("validation")),
        passes=config.steps * config.rows * config.length / max(text, 1),
        seconds=config.steps * pace.time_step(config) / 0.94,
        pace=pace,
    )


def _find_tokenizer(home: Home, corpus: CorpusFolder, wishes: Wishes) -> Path:
    if wishes.base is not None:
        if wishes.tokenizer:
            raise LearningError(
                f"{wishes.base.name} has its own tokenizer.", hint="Leave --tokenizer out, or --from to begin anew."
            )
        return wishes.base.path
    library = TokenizerLibrary(home.tokenizers)
    if wishes.tokenizer:
        return library.find(wishes.tokenizer).path
    name = corpus.manifest.name
    own = [one for one in library.list() if one.manifest.corpus.partition("/")[0] == name]
    if not own:
        raise LearningError(
            f"No tokenizer was trained on {name}.",
            hint=f"Train one with `chatbot admin tokenizer train {name} --corpus {name}`, or name one by --tokenizer.",
        )
    return max(own, key=lambda one: one.manifest.created).path


def _choose_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
