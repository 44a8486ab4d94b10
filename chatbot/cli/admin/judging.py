"""`chatbot admin evaluate`, `promote`, `rollback` and `cycle`: from a candidate to what answers, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from chatbot.cli.admin.opening import let_threads_sleep
from chatbot.cli.logs.finding import Log, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import find_width, print_json, print_text, tell
from chatbot.cli.logs.texts import check_text
from chatbot.cli.logs.waiting import StepBars, show_bar
from chatbot.errors import InvalidInput, PromotionRefused
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.admin.evaluation.records import Report
    from chatbot.admin.promotion import Promoted

_Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model version, or candidate, champion, previous.")]
_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the journal.")]


def evaluate(
    model: _Model = "candidate",
    against: Annotated[
        str, typer.Option("--against", metavar="MODEL", help="Compare with this one; else with what answers now.")
    ] = "champion",
    replies: Annotated[
        int,
        typer.Option("--replies", min=1, metavar="N", help="Held-out prompts that both answer; fewer decide nothing."),
    ] = 32,
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", metavar="SUITE", help="One more: lm-eval:TASK, or a JSONL file; repeatable."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the report as Markdown too.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write it as one HTML page, with curves and replies.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measures a model against what answers now, and says whether it is better.

    Both are measured in this run, on the same rows: held-out loss, a general suite that watches forgetting, safety
    prompts, replies beside the approved ones, speed, and what people said. Only "better" is promoted by itself.

    Examples:

    \b
      chatbot admin evaluate candidate
      chatbot admin evaluate talks-2 --against talks-1 --html report.html
      chatbot admin evaluate --suite lm-eval:arc_easy --suite lm-eval:./my_task.yaml
    """
    from chatbot.admin.evaluation.report import render_html, render_markdown

    _refuse_several("evaluate")
    let_threads_sleep()
    _check_writable(markdown)
    _check_writable(html)
    with open_log() as log:
        report = _evaluate(log, model, against, replies, suites or ())
    files = {markdown: render_markdown, html: render_html}
    _show(report, as_json, {path: render(report) for path, render in files.items() if path is not None})


def promote(
    model: _Model = "candidate",
    force: Annotated[bool, typer.Option("--force", help="Pass over the gate's no; takes a --reason.")] = False,
    reason: _Reason = "",
    as_json: AsJson = False,
) -> None:
    """Lets a model answer from the next turn on, also in chats that are open. Refused unless the gate said "better".

    Examples:

    \b
      chatbot admin promote candidate
      chatbot admin promote talks-2 --force --reason "The replies are what we want."
    """
    from chatbot.admin.promotion import promote as move
    from chatbot.admin.promotion import resolve_name
    from chatbot.dialogue.opening import open_engine

    _refuse_several("promote")
    with open_log() as log:
        name = resolve_name(log.store, log.settings, model)
        with show_bar(f"Trying {name} out", 0, delay=0.5):
            done = move(
                log.store,
                log.home,
                log.settings,
                name,
                open_engine=partial(open_engine, log.settings, log.home),
                author=log.author,
                force=force,
                reason=check_text(reason, "--reason"),
            )
    if as_json:
        print_json(done)
        return
    print_text(
        f"{done.reached} answers now, in open chats from their next turn on. `chatbot admin rollback` takes it back."
    )
    tell(f"It says: {done.smoke}")
    _tell_forgotten(done)


def rollback(reason: _Reason = "", as_json: AsJson = False) -> None:
    """Lets the previous model answer again. A second rollback undoes the first.

    Examples:

    \b
      chatbot admin rollback --reason "It is too curt."
    """
    from chatbot.admin.promotion import roll_back

    _refuse_several("rollback")
    with open_log() as log:
        done = roll_back(log.store, log.home, log.settings, author=log.author, reason=check_text(reason, "--reason"))
    print_json(done) if as_json else print_text(f"{done.reached} answers again, in place of {done.left}.")
    _tell_forgotten(done)


def cycle(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset.")],
    rebuild: Annotated[
        bool, typer.Option("--rebuild/--no-rebuild", help="Build its next version first, in the same way as the last.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """All of it: build the dataset anew, train, evaluate, and promote if the gate says "better".

    A dataset that was built from the log is built in the same way again, with what was approved since; one of files, or
    that was imported, is taken as it is. A new name means everything that was approved.

    Examples:

    \b
      chatbot admin cycle talks
    """
    from chatbot.admin.finetuning import choose_lesson
    from chatbot.admin.promotion import promote as move
    from chatbot.cli.admin.finetuning import make_config, run
    from chatbot.cli.admin.rebuilding import build_again
    from chatbot.dialogue.opening import open_engine

    _refuse_several("cycle")
    let_threads_sleep()
    with open_log() as log:
        if rebuild:
            build_again(log, name)
        lesson = choose_lesson(log.store, log.home, name)
        done = run(log, lesson, make_config(lesson, None))
        report = _evaluate(log, done.model, "champion", 32)
        _show(report, as_json)
        if report.verdict != "better":
            raise PromotionRefused(
                f"It stops at the gate: {done.model} is {report.verdict}, and what answers stays as it is.",
                hint=f'`chatbot admin promote {done.model} --force --reason "…"` promotes it all the same.',
            )
        opener = partial(open_engine, log.settings, log.home)
        moved = move(log.store, log.home, log.settings, done.model, open_engine=opener, author=log.author)
        tell(f"{moved.reached} answers now. `chatbot admin rollback` takes it back.")


def _refuse_several(command: str) -> None:
    """Each of launched processes would do all of it, and write over the others. Raises InvalidInput."""
    from chatbot.admin.training.processes import count_processes

    if count_processes() > 1:
        raise InvalidInput(
            f"`chatbot admin {command}` is done by one process.",
            hint="Give it without the launcher; it is `chatbot admin finetune` that several processes share.",
        )


def _tell_forgotten(done: Promoted) -> None:
    if done.forgotten:
        told = ", ".join(done.forgotten)
        tell(f"{done.reached} learnt what was since forgotten, in {told}, and may say it: train another.")


def _evaluate(log: Log, model: str, against: str, replies: int, suites: Sequence[str] = ()) -> Report:
    from chatbot.admin.evaluation.comparing import Limits, pair
    from chatbot.admin.evaluation.comparing import evaluate as compare
    from chatbot.admin.evaluation.reading import evaluate_reading, pair_reading
    from chatbot.admin.promotion import resolve_name

    limits = Limits(replies=replies)
    candidate, other = (resolve_name(log.store, log.settings, name) for name in (model, against))
    run_id = log.store.model_versions.find(candidate).run_id
    run = log.store.runs.find(run_id) if run_id else None
    if run is not None and run.kind == "pretrain":
        if suites:
            raise InvalidInput(
                f"{candidate} was pretrained: it is asked about the text that it read.", hint="Leave --suite out."
            )
        with StepBars() as bars:
            pair_of_readers = pair_reading(log.store, log.home, candidate, run, against=other)
            return evaluate_reading(log.store, pair_of_readers, bars.advance)
    pairing = pair(log.store, log.home, candidate, against=other, limits=limits)
    with StepBars() as bars:
        return compare(log.store, pairing, limits=limits, on_progress=bars.advance, more=suites)


def _show(report: Report, as_json: bool, files: Mapping[Path, str] = MappingProxyType({})) -> None:
    """Shown first: a disk that refuses a file must not cost the figures, which took minutes."""
    from chatbot.admin.evaluation.report import to_json
    from chatbot.cli.admin.reporting import render_terminal
    from chatbot.files import write_file

    print_json(to_json(report)) if as_json else print_text(render_terminal(report, find_width()))
    for path, text in files.items():
        try:
            write_file(path, text)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be written: {error.strerror or error}.") from None
        tell(f"The report is in {printable_line(str(path))}")


def _check_writable(path: Path | None) -> None:
    """Raises InvalidInput before the work rather than after it."""
    if path is None:
        return
    wrong = "is a folder" if path.is_dir() else ""
    if not wrong and path.exists() and not path.is_file():
        wrong = "is no file"  # a device would be replaced by one
    elif not wrong and (not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        wrong = "cannot be written"
    if wrong:
        raise InvalidInput(f"{path} {wrong}.", hint="Name a file in a folder that you may write to.")
