"""`chatbot admin corpus build`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chatbot.cli.admin.corpora.counts import describe_counts, list_passed_over, manifest_to_json
from chatbot.cli.logs.finding import Log, open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import print_json, print_text, tell
from chatbot.cli.logs.texts import check_text
from chatbot.cli.logs.waiting import StepBars
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.admin.corpus.folder import CorpusFolder


def build(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The corpus; the same name again makes its next version.")
    ],
    *,
    paths: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="PATH", help="A file, or a folder with all files below; repeatable."),
    ] = None,
    from_logs: Annotated[
        bool, typer.Option("--from-logs", help="Approved conversations of the log, redacted, too.")
    ] = False,
    holdout: Annotated[
        float, typer.Option("--holdout", metavar="SHARE", help="Held out for validation; 0 holds out nothing.")
    ] = 0.01,
    unit: Annotated[
        Literal["auto", "document", "section"],
        typer.Option("--unit", help="Hold out whole documents, or sections; auto: sections if documents are few."),
    ] = "auto",
    split_at: Annotated[
        float,
        typer.Option("--split-at", metavar="SHARE", help="With --raw: train is the beginning of each document."),
    ] = 0.0,
    raw: Annotated[
        bool, typer.Option("--raw", help="Take the text as it is: nothing cleaned, filtered or removed.")
    ] = False,
    quality: Annotated[
        bool, typer.Option("--quality/--no-quality", help="Drop what is hardly language (rules after Gopher's).")
    ] = True,
    min_characters: Annotated[
        int, typer.Option("--min-characters", min=0, metavar="N", help="Drop documents that are shorter.")
    ] = 1,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep equal and nearly equal texts.")
    ] = False,
    near: Annotated[
        float,
        typer.Option("--near", metavar="SHARE", help="Remove one of two texts so alike; above 1 only equal ones go."),
    ] = 0.8,
    language: Annotated[
        list[str] | None, typer.Option("--language", metavar="CODE", help="Keep only this, such as en; repeatable.")
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", "--license", metavar="TEXT", help="Of all files; else what they say themselves.")
    ] = "",
    field: Annotated[
        str, typer.Option("--field", metavar="NAME", help="Where the text stands in lines of JSON.")
    ] = "text",
    encoding: Annotated[
        str, typer.Option("--encoding", metavar="NAME", help="Of the text files; else it is found out.")
    ] = "",
    redact: Annotated[
        bool, typer.Option("--redact/--no-redact", help="Mask personal data in what comes from the log.")
    ] = True,
    names: Annotated[
        Path | None,
        typer.Option("--names", metavar="FILE", help="Names to mask, one a line; else `review.names` of the settings."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Builds a version of a corpus, frozen once it is made.

    Reads text, Markdown, HTML, EPUB, PDF and lines of JSON, also packed by gzip or zstd. Texts are cleaned, duplicates
    go, also across files, and what each step dropped is told. A part is held out, the same one for ever.

    Examples:

    \b
      chatbot admin corpus build novels --from books/ --licence "public domain"
      chatbot admin corpus build lesson --from sentences.jsonl --keep-duplicates
      chatbot admin corpus build shakespeare --from tinyshakespeare.txt --raw --split-at 0.9
      chatbot admin corpus build talks --from-logs --from notes/ --language en --language de
    """
    from chatbot.admin.corpus.building import build as build_corpus
    from chatbot.admin.corpus.request import CorpusRequest

    with open_log() as log:
        request = CorpusRequest(
            name=name,
            paths=tuple(path.expanduser() for path in paths or ()),
            from_logs=from_logs,
            holdout=holdout,
            unit=unit,
            split_at=split_at,
            raw=raw,
            quality=quality,
            min_characters=min_characters,
            keep_duplicates=keep_duplicates,
            near=near,
            languages=tuple(language or ()),
            licence=check_text(licence, "--licence"),
            field=check_text(field, "--field"),
            encoding=encoding,
            redact=redact,
            names=_read_names(log, names) if from_logs and redact else (),
        )
        before = log.store.datasets.next_number(request.name)
        with StepBars() as bars:
            folder = build_corpus(log.store, log.home, request, bars.reach)
    is_new = folder.manifest.number >= before
    if as_json:
        print_json(manifest_to_json(folder) | {"new": is_new})
        return
    for line in list_passed_over(folder.manifest.counts):
        tell(line)
    print_text("\n".join(_describe(folder, is_new)))


def _describe(folder: CorpusFolder, is_new: bool) -> Iterator[str]:
    if is_new:
        yield f"{folder.title} is made: {printable_line(str(folder.path))}"
    else:
        yield f"Nothing has changed: {folder.title} holds the same, so no new version is made."
    yield from describe_counts(folder.manifest.counts)
    name = folder.manifest.name
    yield f"Next: `chatbot admin tokenizer train {name} --corpus {name}`"


def _read_names(log: Log, names: Path | None) -> tuple[str, ...]:
    from chatbot.logs.redaction import read_names

    listed = names or (Path(log.settings.review.names) if log.settings.review.names else None)
    return tuple(read_names(listed.expanduser())) if listed else ()
