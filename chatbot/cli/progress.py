"""The progress of a fetch on standard error: a bar for a person, plain lines for a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from chatbot.text import printable_line


class LineReporter:
    """One line when a step begins. `steps` counts them, so that the caller knows whether anything was done."""

    def __init__(self) -> None:
        self.steps = 0

    def say(self, line: str) -> None:
        typer.echo(printable_line(line), err=True)

    def begin(self, title: str, total: int) -> None:
        self.steps += 1
        typer.echo(f"{title}{f' {total / 1e6:,.0f} MB' if total else ''}…", err=True)

    def update(self, done: int) -> None:
        pass

    def end(self) -> None:
        pass


class BarReporter(LineReporter):
    """A bar with bytes, speed and time left, one under the other for each step."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn

        super().__init__()
        self._console = Console(stderr=True, markup=False, highlight=False)
        columns = (
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(),
            DownloadColumn(),
            SpeedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._progress = Progress(*columns, console=self._console, redirect_stdout=False, redirect_stderr=False)

    def say(self, line: str) -> None:
        self._console.print(printable_line(line))

    def begin(self, title: str, total: int) -> None:
        self.steps += 1
        self._task = self._progress.add_task(title, total=total or None)
        self._progress.start()

    def update(self, done: int) -> None:
        self._progress.update(self._task, completed=done)

    def end(self) -> None:
        task = self._progress.tasks[-1]
        if sys.exc_info()[0] is None and task.total:
            self._progress.update(self._task, completed=task.total)
        self._progress.stop_task(self._task)

    def close(self) -> None:
        self._progress.stop()


@contextmanager
def report_progress() -> Iterator[LineReporter]:
    """A bar if standard error is a terminal, else lines."""
    if not sys.stderr.isatty():
        yield LineReporter()
        return
    reporter = BarReporter()
    try:
        yield reporter
    finally:
        reporter.close()
