"""`chatbot admin finetune` and `watch`: training an adapter, and looking on while one is trained."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatbot.cli.logs.finding import Log, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import print_json, print_text, tell
from chatbot.cli.logs.waiting import show_work
from chatbot.errors import InvalidInput

if TYPE_CHECKING:
    from chatbot.admin.finetuning import Finetuned, Lesson
    from chatbot.admin.training.config import TrainingConfig

_METHODS: dict[str, Literal["sft", "dpo", "kto"]] = {"sft": "sft", "preference": "dpo", "label": "kto"}
_INTERRUPTED = 130


def finetune(
    name: Annotated[str, typer.Argument(metavar="NAME[/NUMBER]", help="The dataset; its newest version, or that one.")],
    method: Annotated[
        Literal["sft", "dpo", "kto"] | None,
        typer.Option("--method", help="Else what suits the dataset: replies sft, pairs dpo, thumbs kto."),
    ] = None,
    start: Annotated[
        str, typer.Option("--from", metavar="MODEL", help="Train on from an adapter or alias, such as champion.")
    ] = "",
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Only tell what it would take: rows, steps, memory, time.")
    ] = False,
    resume: Annotated[
        str, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped or killed.")
    ] = "",
    rank: Annotated[int, typer.Option("--rank", min=1, max=1024, help="Of the adapter.")] = 16,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=0.0, metavar="RATE", help="0 is by method and size of the model.")
    ] = 0.0,
    epochs: Annotated[float, typer.Option("--epochs", min=0.0, metavar="N", help="0 is by method.")] = 0.0,
    patience: Annotated[
        int, typer.Option("--patience", min=0, metavar="N", help="Looks without improvement until it ends; 0 is never.")
    ] = 3,
    exact: Annotated[
        bool, typer.Option("--exact", help="Keep the base in float32: the same bits each time, on a CPU.")
    ] = False,
    quantize: Annotated[
        bool, typer.Option("--quantize", help="QLoRA: the base in 4 bits; needs CUDA and bitsandbytes.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N")] = 0,
    as_json: AsJson = False,
) -> None:
    """Trains an adapter on a dataset. It becomes the candidate; what answers stays as it is.

    Ctrl-C saves and says how to go on. The defaults suit models from 135M to 8B parameters.

    Examples:

    \b
      chatbot admin finetune talks --plan
      chatbot admin finetune talks --from champion
      chatbot admin finetune talks --resume 01a2
      accelerate launch --multi_gpu --num_processes 2 -m chatbot admin finetune talks
      (on CPUs too, with the variable ACCELERATE_USE_CPU=true)
    """
    from chatbot.admin.finetuning import choose_lesson, plan_finetuning
    from chatbot.admin.joining import count_launched, is_first, join
    from chatbot.cli.admin.opening import let_threads_sleep
    from chatbot.cli.admin.planning import describe_plan
    from chatbot.config import find_home

    let_threads_sleep()
    if count_launched() > 1 and not is_first():
        join(find_home())
        return
    with open_log() as log:
        if resume:
            _tell_end(_resume(log, name, resume), as_json)
            return
        lesson = choose_lesson(log.store, log.home, name, start=start)
        config = make_config(
            lesson,
            method,
            rank=rank,
            alpha=max(rank // 2, 1),
            learning_rate=learning_rate,
            epochs=epochs,
            patience=patience,
            base_dtype="float32" if exact else "auto",
            quantize=quantize,
            seed=seed,
            accumulation=count_launched(),
        )
        if only_plan:
            with show_work("making one step"):
                plan = plan_finetuning(lesson, config)
            title = f"{lesson.dataset.title} · {config.method} · {lesson.model.name}"
            print_json(asdict(plan)) if as_json else print_text(describe_plan(plan, title))
            return
        _tell_end(run(log, lesson, config), as_json)


def make_config(lesson: Lesson, method: Literal["sft", "dpo", "kto"] | None, **choices: Any) -> TrainingConfig:
    """The configuration of a run; the kind of the dataset tells the method unless it is given."""
    from chatbot.admin.training.config import TrainingConfig

    return TrainingConfig(method=method or _METHODS[lesson.dataset.manifest.kind], **choices)


def run(log: Log, lesson: Lesson, config: TrainingConfig) -> Finetuned:
    """Trains with a board; Ctrl-C ends the command once the run is saved."""
    from chatbot.admin.finetuning import finetune as train
    from chatbot.cli.admin.board import Board, show_board

    begun = ""

    def remember(run_id: str) -> None:
        nonlocal begun
        begun = run_id

    title = f"{lesson.dataset.title} · {config.method} · {lesson.model.name}"
    try:
        with show_board(Board(title)) as hear:
            done = train(log.store, log.home, lesson, config, hear, author=log.author, on_begin=remember)
    except KeyboardInterrupt:
        _tell_stopped(lesson.dataset.manifest.name, begun)
        raise typer.Exit(_INTERRUPTED) from None
    if not done.model:
        _tell_stopped(lesson.dataset.manifest.name, done.run_id)
        raise typer.Exit(_INTERRUPTED)
    return done


def _resume(log: Log, name: str, prefix: str) -> Finetuned:
    from chatbot.admin.finetuning import resume
    from chatbot.cli.admin.board import Board, show_board

    found = log.store.runs.find(prefix)
    dataset = name.partition("/")[0]
    if not any(title.partition("/")[0] == dataset for title in found.datasets):
        raise InvalidInput(f"The run {found.id} trained on {', '.join(found.datasets)}, not on {dataset}.")
    try:
        with show_board(Board(f"{name} · {found.kind} · resumed")) as hear:
            done = resume(log.store, log.home, found, hear, author=log.author)
    except KeyboardInterrupt:
        _tell_stopped(name, found.id)
        raise typer.Exit(_INTERRUPTED) from None
    if not done.model:
        _tell_stopped(name, found.id)
        raise typer.Exit(_INTERRUPTED)
    return done


def _tell_stopped(name: str, run_id: str) -> None:
    if run_id:
        tell(f"Stopped and saved. `chatbot admin finetune {name} --resume {run_id}` goes on.")


def _tell_end(done: Finetuned, as_json: bool) -> None:
    outcome = done.outcome
    if as_json:
        facts = {**asdict(outcome), "adapter": str(outcome.adapter) if outcome.adapter else None}
        print_json({"run": done.run_id, "model": done.model, **facts})
        return
    told = f"{done.model} is trained: {outcome.step} of {outcome.steps} steps"
    if outcome.loss is not None and outcome.first_loss is not None:
        told += f", held-out loss {outcome.first_loss:.3f} → {outcome.loss:.3f}"
    print_text(f"{told}. It is the candidate; `chatbot admin evaluate candidate` tells whether it is better.")


def watch(
    run_prefix: Annotated[
        str, typer.Argument(metavar="[RUN]", help="A run, or the model it makes; else the newest.", show_default=False)
    ] = "",
) -> None:
    """Looks on while a run trains, wherever it was started; Ctrl-C leaves it to itself.

    Examples:

    \b
      chatbot admin watch
      chatbot admin watch talks-2
    """
    from chatbot.admin.training.events import read_events
    from chatbot.cli.admin.board import Board, show_board

    with open_log() as log:
        runs = log.store.runs.list(limit=1)
        if not run_prefix and not runs:
            tell("Nothing was ever trained here.")
            return
        found = log.store.runs.find(run_prefix) if run_prefix else runs[0]
        board = Board(f"{', '.join(found.datasets)} · {found.kind} · {found.base_model} · {found.id}")
        seen = 0
        try:
            with show_board(board) as hear:
                while True:
                    events = list(read_events(log.home.runs / found.id))
                    if len(events) < seen:  # resumed from an earlier step
                        board.losses, board.looks, seen = [], [], 0
                    for event in events[seen:]:
                        hear(event)
                    seen = len(events)
                    found = log.store.runs.find(found.id)
                    if found.status != "running":
                        break
                    time.sleep(0.5)
        except KeyboardInterrupt:
            return
        print_text(f"The run is {found.status}" + (f": it made {found.model}." if found.model else "."))
