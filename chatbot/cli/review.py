"""`chatbot review`: the replies that need an eye, one after another, on the screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from chatbot.cli.logs.filters import Filters, with_filters
from chatbot.errors import ChatbotError

if TYPE_CHECKING:
    from datetime import datetime


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@with_filters("bin")
def review(asked: Filters) -> None:
    """Goes through the replies that need an eye, worst first. Nothing trains before it was approved here.

    The filters choose which; on the screen, f changes them. Every decision is one key, and each can be undone;
    `chatbot logs review` decides about many at once, without the screen.

    Examples:

    \b
      chatbot review
      chatbot review --rating down --since 7d
      chatbot review --state approved          look again at what trains
    """
    from chatbot.config import find_home, load_settings

    home = find_home()
    settings = load_settings(home)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ChatbotError("The review needs a terminal.", hint="Without one, use `chatbot logs review`.")
    from chatbot.terminal.app import run_review

    raise typer.Exit(run_review(settings, home, filter_line=write_line(asked)))


def write_line(asked: Filters) -> str:
    """The filter as the screen shows it and lets it be changed."""
    from chatbot.terminal.screens.review_filter import write_filter

    return write_filter(
        since=_write_moment(asked.since),
        until=_write_moment(asked.until),
        persona=asked.persona or "",
        model=asked.model or "",
        rating=asked.rating or "",
        status=asked.status or "",
        state=asked.state or "",
        tag=asked.tag or "",
        text=asked.text or "",
        conversation=asked.conversation or "",
    )


def _write_moment(moment: datetime | None) -> str:
    return moment.astimezone().isoformat(timespec="minutes")[:16] if moment else ""
