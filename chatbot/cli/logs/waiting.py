"""What a person sees on standard error while a command works: a bar or a turning sign; a log sees nothing of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from chatbot.cli.logs.printing import tell
from chatbot.text import printable_line


class Bar:
    """Hears how far the work is; without a terminal it shows nothing, but still says lines."""

    def advance(self, count: int = 1) -> None:
        pass

    def say(self, line: str) -> None:
        tell(line)

    def close(self) -> None:
        pass


class TerminalBar(Bar):
    """Appears once the work has taken `delay` seconds, so that what is quick does not flicker."""

    def __init__(self, title: str, total: int, *, in_bytes: bool, delay: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeftColumn

        self._console = Console(stderr=True, markup=False, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn() if in_bytes else MofNCompleteColumn(),
            TimeLeftColumn(elapsed_when_finished=True),
            console=self._console,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total or None)
        self._begin = time.monotonic() + delay
        self._shown = False
        if not delay:
            self.advance(0)

    def advance(self, count: int = 1) -> None:
        self._progress.advance(self._task, count)
        if not self._shown and time.monotonic() >= self._begin:
            self._shown = True
            self._progress.start()

    def say(self, line: str) -> None:
        self._console.print(printable_line(line), soft_wrap=True)

    def close(self) -> None:
        if self._shown:
            self._progress.stop()


@contextmanager
def show_bar(
    title: str, total: int, *, in_bytes: bool = False, delay: float = 2.0, wanted: bool = True
) -> Iterator[Bar]:
    """A bar over `total` things or bytes, gone when the work is done."""
    bar = TerminalBar(title, total, in_bytes=in_bytes, delay=delay) if wanted and _is_watched() else Bar()
    try:
        yield bar
    finally:
        bar.close()


class StepBars:
    """One bar after the other, for work of several steps: each is there while its step lasts."""

    def __init__(self, *, delay: float = 0.5) -> None:
        self._delay = delay
        self._title = ""
        self._done = 0
        self._context: AbstractContextManager[Bar] | None = None
        self._bar = Bar()

    def __enter__(self) -> StepBars:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def advance(self, title: str, count: int, total: int) -> None:
        """`count` more of `total` things are done in the step `title`."""
        if title != self._title:
            self._close()
            self._title, self._done = title, 0
            self._context = show_bar(title.capitalize(), total, delay=self._delay)
            self._bar = self._context.__enter__()
        self._done += count
        self._bar.advance(count)

    def reach(self, title: str, done: int, total: int) -> None:
        """`done` of `total` things are done in the step `title`."""
        self.advance(title, max(done - (self._done if title == self._title else 0), 0), total)

    def _close(self) -> None:
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = None


@contextmanager
def show_work(what: str) -> Iterator[Callable[[str], None]]:
    """A turning sign beside what is being done; call what is yielded with the next step's name."""
    if not _is_watched():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.status import Status

    with Status(f"{what}…", console=Console(stderr=True, markup=False)) as status:
        yield lambda step: status.update(f"{step}…")


def _is_watched() -> bool:
    return bool(sys.stderr and sys.stderr.isatty())
