"""`chatbot admin finetune`: training an adapter, and going on with a training that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatbot.cli.logs.finding import Log, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import print_json, print_text, tell
from chatbot.cli.logs.waiting import show_work
from chatbot.errors import ChatbotError, InvalidInput, StoreError

if TYPE_CHECKING:
    from chatbot.admin.finetuning import Finetuned, Lesson
    from chatbot.admin.training.config import TrainingConfig

_METHODS: dict[str, Literal["sft", "dpo", "kto"]] = {"sft": "sft", "preference": "dpo", "label": "kto"}
_INTERRUPTED = 130


def finetune(
    context: typer.Context,
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
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped or killed.")
    ] = None,
    rank: Annotated[int, typer.Option("--rank", min=1, max=1024, help="Of the adapter.")] = 16,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", min=0.0, metavar="RATE", help="0 is by method and size of the model.")
    ] = 0.0,
    epochs: Annotated[float, typer.Option("--epochs", min=0.0, metavar="N", help="0 is by method.")] = 0.0,
    patience: Annotated[
        int, typer.Option("--patience", min=0, metavar="N", help="Looks without improvement until it ends; 0 is never.")
    ] = 3,
    max_tokens: Annotated[
        int,
        typer.Option(
            "--max-tokens",
            min=0,
            metavar="N",
            help="Leave longer rows out; 0 is as the dataset was built.",
        ),
    ] = 0,
    exact: Annotated[
        bool, typer.Option("--exact", help="Keep the base in float32: the same bits each time, on a CPU.")
    ] = False,
    quantize: Annotated[
        bool, typer.Option("--quantize", help="QLoRA: the base in 4 bits; needs CUDA and bitsandbytes.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Gradient checkpointing: less memory, a third more time.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N")] = 0,
    as_json: AsJson = False,
) -> None:
    """Trains an adapter on a dataset. It becomes the candidate; what answers stays as it is.

    Ctrl-C saves and says how to go on; a reader of its lines that leaves, such as head, does not stop it. The defaults
    suit models from 135M to 8B parameters.

    Examples:

    \b
      chatbot admin finetune talks --plan
      chatbot admin finetune talks --from champion
      chatbot admin finetune talks --resume 01a2
      accelerate launch --multi_gpu --num_processes 2 -m chatbot admin finetune talks
      accelerate launch --use_fsdp --num_processes 2 -m chatbot admin finetune talks
      (on CPUs too, with the variable ACCELERATE_USE_CPU=true)
    """
    from chatbot.admin.finetuning import choose_lesson, plan_finetuning
    from chatbot.admin.joining import join
    from chatbot.admin.training.processes import count_processes, is_first
    from chatbot.cli.admin.opening import let_threads_sleep
    from chatbot.cli.admin.planning import describe_plan
    from chatbot.config import find_home

    let_threads_sleep()
    given = find_given(context)
    if resume is not None and (refused := given - {"--resume", "--json"}):
        raise InvalidInput(
            f"A run goes on as it began: {', '.join(sorted(refused))} cannot be given with --resume.",
            hint="Leave that out, or start a new run without --resume.",
        )
    if only_plan and count_processes() > 1:
        raise InvalidInput("A plan is made by one process.", hint="Give --plan without the launcher.")
    if not is_first():
        join(find_home())
        return
    with open_log() as log:
        if resume is not None:  # an empty one too: a variable of a script that was never set must not train anew
            _tell_end(_resume(log, name, resume), as_json)
            return
        lesson = choose_lesson(log.store, log.home, name, start=start)
        if start and lesson.parent is None:
            nothing = start == "champion" and log.store.model_versions.champion() is None
            why = "Nothing was promoted yet" if nothing else f"{start} is a base model"
            tell(f"{why}, so the training starts from {lesson.model.name}.")
        if lesson.parent is not None and "--rank" in given:
            raise InvalidInput(
                f"{lesson.parent.name} keeps its rank when it is trained on, so --rank cannot be given with --from.",
                hint="Leave --rank out, or --from, to train a new adapter.",
            )
        config = make_config(
            lesson,
            method,
            rank=rank,
            learning_rate=learning_rate,
            epochs=epochs,
            patience=patience,
            max_length=max_tokens,
            base_dtype="float32" if exact else "auto",
            quantize=quantize,
            recompute=recompute,
            seed=seed,
        )
        if only_plan:
            with show_work("making one step"):
                plan = plan_finetuning(lesson, config)
            title = f"{lesson.dataset.title} · {config.method} · {lesson.model.name}"
            print_json(asdict(plan)) if as_json else print_text(describe_plan(plan, title))
            return
        _tell_end(run(log, lesson, config), as_json)


def find_given(context: typer.Context) -> set[str]:
    """The options that were given, by what the command line calls them."""
    return {
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.param_type_name == "option"
        and parameter.name is not None
        and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    }


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
    with _explain_end(log, lesson.dataset.manifest.name, lambda: begun), show_board(Board(title)) as screen:
        return _check_end(
            train(
                log.store,
                log.home,
                lesson,
                config,
                screen.hear,
                author=log.author,
                on_begin=remember,
                on_stop=screen.announce_stop,
            )
        )


def _resume(log: Log, name: str, prefix: str) -> Finetuned:
    from chatbot.admin.finetuning import resume
    from chatbot.cli.admin.board import Board, show_board

    found = log.store.runs.find(prefix)
    dataset, numbered, _ = name.partition("/")
    if name not in (found.datasets if numbered else [title.partition("/")[0] for title in found.datasets]):
        raise InvalidInput(
            f"The run {found.id} trained on {', '.join(found.datasets) or 'no dataset'}, not on {name}.",
            hint="`chatbot admin runs list` shows which run trained on what.",
        )
    board = Board(f"{name} · {found.kind} · resumed")
    with _explain_end(log, dataset, lambda: found.id), show_board(board) as screen:
        return _check_end(
            resume(
                log.store,
                log.home,
                found,
                screen.hear,
                author=log.author,
                recall=board.hear,
                on_stop=screen.announce_stop,
            )
        )


def _check_end(done: Finetuned) -> Finetuned:
    """Raises KeyboardInterrupt if it was stopped."""
    if not done.model:
        raise KeyboardInterrupt
    return done


@contextmanager
def _explain_end(log: Log, dataset: str, find_run: Callable[[], str]) -> Iterator[None]:
    """Says of a run that was stopped, or failed with a checkpoint, what is saved of it and how to go on."""
    from chatbot.admin.finetuning import read_steps
    from chatbot.cli.admin.watching import describe_status

    try:
        yield
    except (KeyboardInterrupt, ChatbotError) as error:
        if run_id := find_run():
            with suppress(StoreError):
                run = log.store.runs.find(run_id)
                if isinstance(error, KeyboardInterrupt):
                    complete = run.status == "complete"  # the last step was made before it was asked to stop
                    steps = read_steps(log.home, run_id)
                    tell(describe_status(run, run.status) if complete else _describe_stop(*steps, dataset, run_id))
                elif run.status == "failed" and read_steps(log.home, run_id)[0]:
                    tell(f"What was saved is there: `chatbot admin finetune {dataset} --resume {run_id}` goes on.")
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(_INTERRUPTED) from None
        raise


def _describe_stop(saved: int, made: int, dataset: str, run_id: str) -> str:
    how = f"`chatbot admin finetune {dataset} --resume {run_id}`"
    if not saved:
        return f"Stopped before anything was saved. {how} begins again."
    lost = f", {made - saved:,} after it are made again" if made > saved else ""
    return f"Stopped and saved at step {saved:,}{lost}. {how} goes on."


def _tell_end(done: Finetuned, as_json: bool) -> None:
    outcome = done.outcome
    if outcome.worse:
        tell(
            "The held-out loss never fell below what it was before training: it got worse. Try a lower "
            "--learning-rate, or more rows."
        )
    if as_json:
        facts = {**asdict(outcome), "adapter": str(outcome.adapter) if outcome.adapter else None}
        print_json({"run": done.run_id, "model": done.model, "worse": outcome.worse, **facts})
        return
    told = f"{done.model} is trained: {outcome.step} of {outcome.steps} steps"
    if outcome.left_out:
        told += f", {outcome.left_out:,} rows longer than {outcome.max_length:,} tokens left out"
    if outcome.loss is not None and outcome.first_loss is not None:
        told += f", held-out loss {outcome.first_loss:.3f} → {outcome.loss:.3f}"
    print_text(f"{told}. It is the candidate; `chatbot admin evaluate candidate` tells whether it is better.")
