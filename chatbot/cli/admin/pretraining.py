"""`chatbot admin pretrain`: a model from nothing but text, or an existing one that reads on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatbot.cli.logs.finding import Log, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import print_json, print_text, style, tell
from chatbot.cli.logs.waiting import StepBars
from chatbot.errors import ChatbotError, InvalidInput, StoreError

if TYPE_CHECKING:
    from chatbot.admin.pretrained import Pretrained
    from chatbot.admin.pretraining.plan import Plan
    from chatbot.admin.pretraining.settling import Wishes

_INTERRUPTED = 130


def pretrain(
    context: typer.Context,
    corpus: Annotated[str, typer.Option("--corpus", metavar="NAME[/NUMBER]", help="The text to learn from.")] = "",
    start: Annotated[
        str, typer.Option("--from", metavar="MODEL", help="Read on with this base model instead of beginning anew.")
    ] = "",
    lora: Annotated[bool, typer.Option("--lora", help="With --from: train an adapter, not all weights.")] = False,
    size: Annotated[
        Literal["nano", "micro", "mini", "small", "medium", "large"] | None,
        typer.Option("--size", help="0.8M, 10M, 40M, 135M, 360M or 1B parameters.", show_default="micro"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A TOML or JSON file: layers, width, heads, …")
    ] = None,
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", metavar="NAME", help="Else the newest that was trained on the corpus.")
    ] = "",
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Such as 10m or 2h.", show_default="10m")
    ] = "",
    tokens: Annotated[str, typer.Option("--tokens", metavar="N", help="Such as 20M, instead of a time.")] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Of the model; else the corpus'.")] = "",
    only_plan: Annotated[bool, typer.Option("--plan", help="Only tell what it would take.")] = False,
    resume: Annotated[str, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped.")] = "",
    length: Annotated[int, typer.Option("--length", min=0, max=1 << 20, metavar="N", help="Tokens of a window.")] = 0,
    rows: Annotated[int, typer.Option("--rows", min=0, metavar="N", max=1 << 20, help="Windows a step.")] = 0,
    pass_rows: Annotated[
        int, typer.Option("--pass-rows", min=0, metavar="N", max=1 << 20, help="Windows at a time.")
    ] = 0,
    optimizer: Annotated[
        Literal["muon", "adamw"] | None,
        typer.Option("--optimizer", help="Muon for the matrices from nothing; AdamW to read on."),
    ] = None,
    learning_rate: Annotated[float, typer.Option("--learning-rate", min=0.0, metavar="RATE", help="Of AdamW.")] = 0.0,
    matrix_rate: Annotated[float, typer.Option("--matrix-rate", min=0.0, metavar="RATE", help="Of Muon.")] = 0.0,
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option("--dtype", help="Of the arithmetic; else bfloat16 on a GPU, float32 on a CPU."),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Let torch compile the model first: a minute, then faster.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, max=(1 << 63) - 1, metavar="N")] = 0,
    as_json: AsJson = False,
) -> None:
    """Trains a language model on a corpus. It becomes the candidate, and goes on with any text it is given.

    Zeros mean "as it suits". Ctrl-C saves and says how to go on; `chatbot admin watch` looks on from elsewhere.

    Examples:

    \b
      chatbot admin pretrain --corpus novels --size micro --budget 20m
      chatbot admin pretrain --corpus novels --tokens 5M --plan
      chatbot admin pretrain --corpus novels --from smollm2-135m-instruct --lora
      chatbot admin pretrain --resume 01a2
      torchrun --nproc-per-node 4 -m chatbot admin pretrain --corpus web --size small --tokens 3B
    """
    from chatbot.admin.joining import join, prepare
    from chatbot.admin.training.processes import count_processes, is_first
    from chatbot.cli.admin.finetuning import find_given
    from chatbot.cli.admin.opening import let_threads_sleep
    from chatbot.config import find_home

    let_threads_sleep()
    if resume and (refused := find_given(context) - {"--resume", "--json"}):
        raise InvalidInput(
            f"A run goes on as it began: {', '.join(sorted(refused))} cannot be given with --resume.",
            hint="Leave that out, or start a new run without --resume.",
        )
    if only_plan and count_processes() > 1:
        raise InvalidInput("A plan is made by one process.", hint="Give --plan without the launcher.")
    if not is_first():
        join(find_home())
        return
    with open_log() as log, prepare(log.home):
        if resume:
            _tell_end(_resume(log, resume), as_json)
            return
        if not corpus:
            raise InvalidInput(
                "There is nothing to learn from.", hint="Name a corpus by --corpus, or a run by --resume."
            )
        from chatbot.admin.pretraining.config import parse_amount, parse_budget
        from chatbot.admin.pretraining.settling import Wishes

        if tokens and budget:
            raise InvalidInput("--tokens and --budget both say how long it trains.", hint="Give one of them.")
        wishes = Wishes(
            size=size or "",
            tokenizer=tokenizer,
            lora=lora,
            tokens=int(parse_amount(tokens)) if tokens else 0,
            budget=parse_budget(budget) if budget else 0.0,
            length=length,
            rows=rows,
            pass_rows=pass_rows,
            optimizer=optimizer,
            learning_rate=learning_rate,
            matrix_rate=matrix_rate,
            dtype=dtype or "",
            compile=compiled,
            seed=seed,
        )
        _begin(log, corpus, _complete(log, wishes, start, config), name, only_plan, as_json)


def _complete(log: Log, wishes: Wishes, start: str, config: Path | None) -> Wishes:
    from dataclasses import replace

    from chatbot.admin.pretraining.architecture import read_architecture
    from chatbot.models.library import ModelLibrary

    if start:
        if wishes.size or config:
            raise InvalidInput(f"{start} has its size already.", hint="Leave --size and --config out, or --from.")
        found = ModelLibrary(log.home.models).find_verified(start)
        if found.kind != "base":
            raise InvalidInput(
                f"{start} is an adapter; text is read on by a base model.", hint=f"--from {found.foundation.name}"
            )
        return replace(wishes, base=found)
    if wishes.lora:
        raise InvalidInput("--lora changes a model that is there.", hint="Name one by --from.")
    if config and wishes.size:
        raise InvalidInput("--size and --config both describe the model.", hint="Give one of them.")
    return replace(wishes, architecture=read_architecture(config)) if config else wishes


def _begin(log: Log, corpus: str, wishes: Wishes, name: str, only_plan: bool, as_json: bool) -> None:
    from chatbot.admin.corpus.versions import open_corpus
    from chatbot.admin.pretrained import check_name
    from chatbot.admin.pretrained import pretrain as train
    from chatbot.admin.pretraining.settling import settle
    from chatbot.cli.admin.board import Board, show_board

    version, folder = open_corpus(log.store, log.home, corpus)
    chosen = check_name(name or folder.manifest.name)
    with StepBars() as bars:
        job, plan = settle(log.home, folder, wishes, bars.reach)
    title = f"{folder.title} · {_name_model(wishes, plan)}"
    if only_plan:
        print_json(_plan_to_json(plan)) if as_json else print_text(describe_plan(plan, title))
        return
    if not as_json:
        for line in plan.problems:
            tell(f"! {line}")
    begun = ""

    def remember(run_id: str) -> None:
        nonlocal begun
        begun = run_id

    with _explain_end(log, lambda: begun), show_board(Board(title)) as screen:
        done = train(
            log.store, log.home, job, version.id, screen.hear,
            name=chosen, author=log.author, on_begin=remember, on_stop=screen.announce_stop,
        )  # fmt: skip
        if not done.model:
            raise KeyboardInterrupt
    _tell_end(done, as_json)


def _resume(log: Log, prefix: str) -> Pretrained:
    from chatbot.admin.pretrained import resume
    from chatbot.cli.admin.board import Board, show_board

    found = log.store.runs.find(prefix)
    board = Board(f"{', '.join(found.datasets)} · {found.kind} · resumed")
    with _explain_end(log, lambda: found.id), show_board(board) as screen:
        done = resume(
            log.store, log.home, found, screen.hear,
            author=log.author, recall=board.hear, on_stop=screen.announce_stop,
        )  # fmt: skip
        if not done.model:
            raise KeyboardInterrupt
    return done


@contextmanager
def _explain_end(log: Log, find_run: Callable[[], str]) -> Iterator[None]:
    """Says of a run that was stopped, or failed with a checkpoint, how it goes on."""
    from chatbot.admin.finetuning import read_steps

    try:
        yield
    except (KeyboardInterrupt, ChatbotError) as error:
        run_id = find_run()
        with suppress(StoreError):
            if run_id and (saved := read_steps(log.home, run_id)[0]):
                tell(f"Saved at step {saved:,}. `chatbot admin pretrain --resume {run_id}` goes on.")
            elif run_id and isinstance(error, KeyboardInterrupt):
                tell(f"Stopped before anything was saved. `chatbot admin pretrain --resume {run_id}` begins again.")
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(_INTERRUPTED) from None
        raise


def describe_plan(plan: Plan, title: str) -> str:
    """A line for each thing that a person decides by."""
    from chatbot.cli.admin.board import show_seconds

    config, pace = plan.config, plan.pace
    batch = config.rows * config.length
    rates = f"AdamW {config.learning_rate:g}"
    if config.optimizer == "muon":
        rates = f"Muon {config.matrix_rate:g} for the matrices, {rates} for the rest"
    lines = {
        "Text": f"{plan.text_tokens:,} tokens to learn from, {plan.held_out_tokens:,} held out",
        "Model": f"{plan.parameters:,} parameters",
        "Training": f"{config.tokens:,} tokens: the text is read {plan.passes:.2g} times",
        "Steps": f"{config.steps:,} of {batch:,} tokens, {config.rows} windows of {config.length}",
        "Rates": rates,
        "Machine": f"{pace.share_of_peak(config):.0%} of what it can do at best, {config.dtype}"
        + (", compiled" if config.compile else ""),
        "Memory": f"{pace.memory / 1e9:.1f} GB",
        "Time": f"about {show_seconds(plan.seconds)}, from a step that was made: "
        f"{pace.time_step(config):.3g} s, the quickest of a few",
    }
    told = [style(title, bold=True), *(f"{style(f'{name:<10}', bold=True)}{value}" for name, value in lines.items())]
    return "\n".join([*told, *(f"! {problem}" for problem in plan.problems)])


def _plan_to_json(plan: Plan) -> dict[str, Any]:
    pace = {**asdict(plan.pace), "step_seconds_in_all": plan.pace.time_step(plan.config)}
    return {**asdict(plan), "steps": plan.config.steps, "problems": plan.problems, "pace": pace}


def _name_model(wishes: Wishes, plan: Plan) -> str:
    if wishes.base:
        return wishes.base.name + (f", LoRA of rank {plan.config.lora_rank}" if wishes.lora else "")
    return f"{plan.parameters / 1e6:.1f}M parameters"


def _tell_end(done: Pretrained, as_json: bool) -> None:
    outcome = done.outcome
    if as_json:
        facts = {**asdict(outcome), "model": done.model, "path": str(outcome.model) if outcome.model else None}
        print_json({"run": done.run_id, **facts})
        return
    told = f"{done.model} has read {outcome.tokens:,} tokens in {outcome.steps:,} steps"
    if outcome.loss is not None and outcome.bits_per_byte is not None:
        told += f"; held out: {outcome.loss:.3f} nats a token, {outcome.bits_per_byte:.3f} bits a byte"
    print_text(f"{told}. `chatbot --model {done.model}` lets it go on with what you write.")
    if outcome.worse_than_before:
        tell("It was better before the end: it has begun to know the text by heart. Fewer --tokens, or more text.")
