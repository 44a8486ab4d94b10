"""`chatbot logs export`: conversations into a file or a pipe, for reading, for other programs, for importing again."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from chatbot.cli.logs.filters import Filters, with_filters
from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import count_of, guard_output, print_json, tell
from chatbot.cli.logs.waiting import show_bar
from chatbot.errors import ChatbotError
from chatbot.text import printable, printable_line

_STDOUT = "-"


@with_filters()
def export(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Where to; - or nothing is standard output.", show_default=False)
    ] = _STDOUT,
    *,
    form: Annotated[
        str,
        typer.Option("--format", "-f", metavar="NAME", help="json, markdown, openai, sharegpt or pairs; else by FILE."),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    asked: Filters,
    as_json: AsJson = False,
) -> None:
    """Writes conversations to a file or a pipe.

    The filters choose conversations, and each is written whole, whatever was decided about single replies: all of it
    as json, which can be imported again; the branch on screen as markdown, for reading, openai and sharegpt. pairs
    holds the newest word on which of two replies is better, unless that one was rejected. A file is readable by you
    only.

    Examples:

    \b
      chatbot logs export talks.md --since 7d
      chatbot logs export --format openai --rating up > talks.jsonl
      chatbot logs export everything.json --force
    """
    from chatbot.logs.exporting import export_logs, write_pieces
    from chatbot.logs.formats.writing import find_writer

    to_file = file != _STDOUT
    if as_json and not to_file and form not in {"", "json"}:
        raise typer.BadParameter("--json tells of a FILE; on standard output it is --format json.")
    form = find_writer(form).name if form else _guess_format(file)
    pieces = 0
    written = 0

    def count(text: Iterable[str]) -> Iterator[str]:
        nonlocal pieces
        for piece in text:
            pieces += 1
            yield piece

    with open_log() as log:
        chosen = asked.resolve(log.store)
        expected = log.store.logs.count(chosen)
        with show_bar("Exporting", expected, wanted=to_file or not sys.stdout.isatty()) as bar:

            def advance() -> None:
                nonlocal written
                written += 1
                bar.advance()

            text = count(export_logs(log.store, chosen, form, on_conversation=advance))
            if to_file:
                write_pieces(Path(file), text, replace=force)
            else:
                _write_output(text)
    if not to_file:
        if not written:
            tell("No conversation matches.")
        return
    told = count_of(written, "conversation")
    facts: dict[str, Any] = {"file": file, "format": form, "conversations": written}
    if form == "pairs":  # one piece each
        told = f"{count_of(pieces, 'pair')} of {told}"
        facts["pairs"] = pieces
    print_json(facts) if as_json else tell(f"{told} written to {file}.")


def _guess_format(file: str) -> str:
    """By the file's ending; our own JSON unless that tells of another. Raises BadParameter where it tells of two."""
    from chatbot.logs.formats.writing import list_writers

    ending = Path(file).suffix.lower()
    names = [writer.name for writer in list_writers() if writer.suffix == ending]
    if "json" in names or not ending:
        return "json"
    if not names:
        raise typer.BadParameter(f"What a {printable_line(ending)} file should hold, nobody can tell: give --format.")
    if len(names) > 1:
        raise typer.BadParameter(f"A {ending} file may hold {' or '.join(names)}: give --format.")
    return names[0]


def _write_output(text: Iterable[str]) -> None:
    """As it is, in UTF-8; for a terminal's eyes without what a terminal obeys."""
    if sys.stdout is None:
        raise ChatbotError("There is no standard output to write to.")
    seen = sys.stdout.isatty()
    for piece in text:
        with guard_output():
            if seen:
                sys.stdout.write(printable(piece))
            else:
                sys.stdout.buffer.write(piece.encode())
    with guard_output():
        sys.stdout.flush()
