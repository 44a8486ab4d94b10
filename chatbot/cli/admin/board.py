"""How a run goes, as a person sees it: a board that redraws itself on a terminal, plain lines in a log.

Both `finetune`, whose own run it is, and `watch`, which follows the run's folder, feed it the same events. What the
model said is hostile text: it is shown through `printable`, and nothing is parsed as markup.

Nobody need look on: when what reads the lines has left (`… 2>&1 | head`, a terminal that was closed), the training goes
on without a word. It is hours of work, and `watch` shows it again at any time.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from chatbot.admin.training.events import Data, Event, Halved, HeldOut, Sample, Saved, Step, Stopped
from chatbot.cli.logs.printing import count_of, find_width, tell
from chatbot.text import printable_line

if TYPE_CHECKING:
    from rich.console import RenderableType

STOPPING = "Stopping: the step ends and is saved. Ctrl-C again stops at once and loses what is not saved."
_HEIGHT = 9  # lines of the curve
_WIDEST = 120  # columns of it
_POINTS = 2000  # of the curve; more are thinned out


class Board:
    """Collects events; draws nothing by itself."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.forget()

    def forget(self) -> None:
        """Begins anew: a run that is resumed tells again what came after its checkpoint."""
        self.warning = ""
        self.step: Step | None = None
        self.losses: list[tuple[int, float]] = []
        self.looks: list[HeldOut] = []
        self.sample: Sample | None = None
        self.saved = 0
        self.note = ""

    def hear(self, event: Event) -> None:
        """Takes in what happened."""
        match event:
            case Data():
                self.warning = describe_data(event)
            case Step():
                self.step = event
                self.losses.append((event.step, event.loss))
                if len(self.losses) > _POINTS:
                    del self.losses[::2]
            case HeldOut():
                self.looks.append(event)
            case Sample():
                self.sample = event
            case Saved():
                self.saved = event.step
            case Halved():
                self.note = f"Memory ran out: each pass is made in {event.pieces} pieces now, with the same result."
            case Stopped():
                self.note = "No improvement any more." if event.reason != "asked" else "Stopped."

    def announce_stop(self) -> None:
        """Says that the run was asked to stop, which takes until its step is made and saved."""
        self.note = STOPPING

    def describe(self) -> str:
        """The figures in one line."""
        parts = []
        if self.step is not None:
            step = self.step
            parts += [f"step {step.step:,} of {step.of:,}", f"loss {step.loss:.3f}"]
            if step.margin is not None:
                parts.append(f"margin {step.margin:+.3f}")
        if self.looks:
            first = f" (at first {self.looks[0].loss:.3f})" if self.looks[0].step == 0 else ""
            parts.append(f"held-out {self.looks[-1].loss:.3f}{first}")
            if self.looks[-1].margin is not None:
                parts.append(f"held-out margin {self.looks[-1].margin:+.3f}")
        if self.step is not None:
            parts += [f"{self.step.tokens_per_second:,.0f} tokens/s", f"{show_seconds(self.step.seconds_left)} left"]
        return " · ".join(parts) or "Loading the model and the data…"

    def draw(self) -> RenderableType:
        """Everything, for rich."""
        from rich.console import Group
        from rich.text import Text

        width = min(find_width(), _WIDEST)
        lines: list[RenderableType] = [Text(self.title, style="bold")]
        step = self.step
        done = width * step.step // max(step.of, 1) if step else 0
        lines.append(Text.assemble(("━" * done, "green"), ("━" * (width - done), "dim")))
        lines.append(Text(self.describe()))
        if len(self.losses) > 1:
            lines.append(Text.from_ansi(self._draw_curve(width)))
        if self.sample is not None:
            lines.append(Text(f"{printable_line(self.sample.prompt, width - 4)}", style="dim"))
            lines.append(Text(f"→ {printable_line(self.sample.reply, 3 * width)}"))
        lines += [Text(line) for line in (self.warning, self.note) if line]
        return Group(*lines)

    def _draw_curve(self, width: int) -> str:
        import plotext

        plotext.clear_figure()
        plotext.theme("clear")
        plotext.plot_size(width, _HEIGHT)
        plotext.plot(*zip(*self.losses, strict=True), marker="braille", label="loss")
        if self.looks:
            plotext.scatter(
                [look.step for look in self.looks], [look.loss for look in self.looks], marker="o", label="held-out"
            )
        return str(plotext.build()).rstrip()


@contextmanager
def show_board(board: Board) -> Iterator[Screen]:
    """Yields what hears events: on a terminal it redraws the board, elsewhere it says a line at each look."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield Lines(board)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, markup=False, highlight=False)
    live = Live(
        get_renderable=board.draw, console=console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False
    )
    live.start()
    try:
        yield Screen(board)
    finally:
        with contextlib.suppress(OSError):  # the terminal may have gone
            live.stop()


class Screen:
    """A board that redraws itself."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def hear(self, event: Event) -> None:
        self.board.hear(event)

    def announce_stop(self) -> None:
        """May be called in a signal's handler."""
        self.board.announce_stop()


class Lines(Screen):
    """A line at each look at the held-out part, and for what is out of the ordinary."""

    def hear(self, event: Event) -> None:
        self.board.hear(event)
        if isinstance(event, HeldOut):
            _say(self.board.describe())
        elif isinstance(event, Sample):
            _say(f"  {printable_line(event.prompt, 100)} → {printable_line(event.reply, 200)}")
        elif isinstance(event, Halved | Stopped):
            _say(self.board.note)
        elif isinstance(event, Data) and self.board.warning:
            _say(self.board.warning)

    def announce_stop(self) -> None:
        self.board.announce_stop()
        with contextlib.suppress(OSError, ValueError):
            # Past Python's buffer, which the interrupted code may just be writing to.
            os.write(sys.stderr.fileno(), f"{STOPPING}\n".encode())


def _say(line: str) -> None:
    """A line for whoever still reads."""
    try:
        tell(line)
    except typer.Exit:  # nobody reads standard output
        pass
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # else Python tries again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def describe_data(data: Data) -> str:
    """What of the data is not used or not there, in a line; empty if there is nothing to say."""
    told = []
    if data.left_out or data.held_out_left_out:
        held_out = f" and {data.held_out_left_out:,} held-out ones" if data.held_out_left_out else ""
        told.append(f"{count_of(data.left_out, 'row')}{held_out} longer than {data.max_length:,} tokens are left out.")
    if not data.held_out:
        told.append("Nothing is held out, so the last weights are taken.")
    if data.missing:
        told.append(f"No held-out reply is {data.missing}, so there is no held-out margin.")
    return " ".join(told)


def show_seconds(seconds: float) -> str:
    """Such as `45 s`, `12 min` or `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
