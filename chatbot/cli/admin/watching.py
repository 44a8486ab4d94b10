"""`chatbot admin watch`: looking on while a run trains, whoever started it and wherever."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.printing import print_text, tell
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.store.runs import Run

_PACE = 0.5  # seconds between two looks at a run's folder


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
    from chatbot.admin.finetuning import read_status
    from chatbot.admin.training.events import EventTail
    from chatbot.cli.admin.board import Board, show_board

    with open_log() as log:
        runs = log.store.runs.list(limit=1)
        if not run_prefix and not runs:
            tell("Nothing was ever trained here.")
            return
        found = log.store.runs.find(run_prefix) if run_prefix else runs[0]
        board = Board(f"{', '.join(found.datasets)} · {found.kind} · {found.base_model} · {found.id}")
        tail = EventTail(log.home.runs / found.id)
        try:
            with show_board(board) as screen:
                while True:
                    found = log.store.runs.find(found.id)
                    status = read_status(log.home, found)
                    anew, events = tail.read()
                    if anew:
                        board.forget()
                    for event in events:
                        screen.hear(event)
                    if status != "running" or not (log.home.runs / found.id).is_dir():
                        break
                    time.sleep(_PACE)
        except KeyboardInterrupt:
            return
        print_text(describe_status(found, status))


def describe_status(run: Run, status: str) -> str:
    """How a run ended, in a sentence or two, and how it goes on if it can."""
    dataset = run.datasets[0].partition("/")[0] if run.datasets else "NAME"
    told = f"The run is {status}"
    if run.model:
        return f"{told}: it made {run.model}."
    if status == "failed" and run.failure:
        told += f": {printable_line(run.failure, 500)}".rstrip(".")
    if status == "complete":
        return f"{told}."
    if status == "running":
        return f"{told}, but its folder is not on this machine."
    command = "pretrain" if run.kind == "pretrain" else f"finetune {dataset}"
    return f"{told}. `chatbot admin {command} --resume {run.id}` goes on."
