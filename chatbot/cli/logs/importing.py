"""`chatbot logs import`: conversations of other programs into the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import count_of, print_json, print_text, tell
from chatbot.cli.logs.texts import check_text
from chatbot.cli.logs.waiting import Bar, show_bar
from chatbot.errors import InvalidInput
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.logs.importing import Event, ImportReport
    from chatbot.store.archive_batch import Grown

_SHOWN = 20
_KEY = 24  # characters of a record's key for a person; --json has it whole


def import_files(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, folders or ZIP archives.")],
    persona: Annotated[
        str, typer.Option("--persona", metavar="NAME", help="Who answers when such a talk goes on; else your own.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Reads conversations of other programs.

    Exports of ChatGPT and Claude, OpenAssistant, OpenAI messages, ShareGPT, Alpaca, preference pairs, labelled replies,
    and our own JSON: what a file is, its content tells.

    The same file twice adds nothing; conversations that have grown since are told. A bad record is passed over, and
    told with its file, place and key. Ctrl-C keeps what was read.

    Examples:

    \b
      chatbot logs import conversations.json
      chatbot logs import ~/Downloads/chatgpt-export.zip --dry-run
      chatbot logs import exports/ --json | jq .skipped
    """
    from chatbot.dialogue.personas import Personas
    from chatbot.logs.formats.source import measure_path
    from chatbot.logs.importing import ImportReport, import_logs

    report = ImportReport()
    failed: list[InvalidInput] = []
    with open_log() as log:
        who = Personas(log.home.personas).find(check_text(persona or log.settings.persona, "--persona")).name
        with show_bar("Reading", sum(map(measure_path, paths)), in_bytes=True, delay=0.5) as bar:
            listener = _Listener(bar)
            try:
                for path in paths:
                    try:
                        import_logs(
                            log.store,
                            [path],
                            persona=who,
                            dry_run=dry_run,
                            on_bytes=bar.advance,
                            on_event=listener.hear,
                            report=report,
                        )
                    except InvalidInput as error:
                        failed.append(error)
            except KeyboardInterrupt:
                bar.close()
                kept = "Nothing is kept" if dry_run else f"{count_of(report.conversations, 'conversation')} kept"
                tell(f"Stopped. {kept}; importing again adds only the rest.")
                raise typer.Exit(130) from None
    if not report.conversations + report.known:
        if as_json:
            print_json(_to_json(report, dry_run, failed))
        for other in failed[1:]:
            tell(str(other))
        raise failed[0] if failed else InvalidInput("No conversation could be read.", hint="The lines above say why.")
    listener.end()
    for other in failed:
        tell(str(other))
    print_json(_to_json(report, dry_run, failed)) if as_json else print_text(_describe(report, dry_run))


class _Listener:
    """Tells on standard error what is met: each format, and the first of what is skipped. Of files that are passed
    over nothing is said before one is recognised: if none is, the error names them."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._skipped = 0
        self._waiting: list[str] | None = []

    def hear(self, event: Event) -> None:
        from chatbot.logs.formats.reading import Recognised, SkippedRecord

        if isinstance(event, Recognised):
            self._bar.say(f"{event.file}: {event.format}")
            waiting, self._waiting = self._waiting or [], None
            for line in waiting:
                self._say_skipped(line)
        elif isinstance(event, SkippedRecord):
            place = ", ".join(
                part for part in (event.file, event.place, event.key and f"key {event.key[:_KEY]}") if part
            )
            self._say_skipped(f"{place}: {event.reason}")
        elif self._waiting is not None:
            self._waiting.append(f"{event.file} {event.reason}")
        else:
            self._say_skipped(f"{event.file} {event.reason}")

    def _say_skipped(self, line: str) -> None:
        self._skipped += 1
        if self._skipped <= _SHOWN:
            self._bar.say(f"skipped: {line}")

    def end(self) -> None:
        if self._skipped > _SHOWN:
            tell(f"…and {self._skipped - _SHOWN:,} more were skipped; --json names all of them.")


def _describe(report: ImportReport, dry_run: bool) -> str:
    new = f"{count_of(report.conversations, 'conversation')} with {count_of(report.messages, 'message')}"
    told = f"{new} {'would be added' if dry_run else 'added'}, {report.known:,} known already"
    skipped = len(report.skipped) + len(report.passed_over)
    return "\n".join([told + (f", {skipped:,} skipped" if skipped else "") + ".", *_describe_grown(report.grown)])


def _describe_grown(grown: Sequence[Grown]) -> Iterator[str]:
    if not grown:
        return
    yield f"Of those here already, {len(grown):,} hold more messages now, which are not added:"
    for one in grown[:_SHOWN]:
        counts = f"{count_of(one.here, 'message')} here, {one.brought:,} there"
        yield printable_line(f"  {one.conversation_id} {one.title}: {counts}")
    if len(grown) > _SHOWN:
        yield f"  …and {len(grown) - _SHOWN:,} more; --json names all of them."
    yield "`chatbot logs forget ID` and then importing again takes one as it is now."


def _to_json(report: ImportReport, dry_run: bool, failed: Sequence[InvalidInput]) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "conversations": report.conversations,
        "messages": report.messages,
        "known": report.known,
        "grown": report.grown,
        "recognised": report.recognised,
        "skipped": report.skipped,
        "passed_over": report.passed_over,
        "failed": [str(error) for error in failed],
    }
