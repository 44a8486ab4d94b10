"""`chatbot logs redact`: personal data shown in its context, then masked for good once a person says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.logs.describing import dataset_to_json, list_datasets, list_models, model_to_json, shorten
from chatbot.cli.logs.filters import Filters, with_filters
from chatbot.cli.logs.finding import Log, find_either, open_log
from chatbot.cli.logs.listing import draw_snippet
from chatbot.cli.logs.options import AsJson, Yes
from chatbot.cli.logs.printing import (
    confirm,
    count_of,
    find_width,
    has_colours,
    is_interactive,
    print_json,
    print_text,
    style,
    tell,
)
from chatbot.cli.logs.waiting import show_bar, show_work
from chatbot.errors import ChatbotError
from chatbot.text import printable_line

if TYPE_CHECKING:
    from chatbot.logs.redacting import RedactionPreview
    from chatbot.logs.redaction import Finding, Redactor
    from chatbot.store.lineage import Descent

_AROUND = 60  # characters shown on each side of a finding


@with_filters()
def redact(
    identifiers: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Conversations, or messages for the whole of theirs.", show_default=False),
    ] = None,
    *,
    names: Annotated[
        Path | None,
        typer.Option(
            "--names", metavar="FILE", help="Names of people, one a line; else `review.names` of the settings."
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All conversations.")] = False,
    yes: Yes = False,
    asked: Filters,
    as_json: AsJson = False,
) -> None:
    """Masks personal data: e-mail and IP addresses, phone, card and account numbers, secrets, given names.

    Shows what it would mask, then asks; without a terminal nothing changes unless you give --yes. The originals are
    overwritten. Masked replies, and approved ones below masked words, wait for a review again.

    Examples:

    \b
      chatbot logs redact 0192f5e0-1234-7abc
      chatbot logs redact --since 7d --names people.txt
      chatbot logs redact --all --json | jq .counts
    """
    from chatbot.logs.redacting import apply_redaction
    from chatbot.store.erasure import join_descents

    if not identifiers and asked.is_empty and not every:
        raise typer.BadParameter("Name conversations, or give filters, or --all.")
    if identifiers and (every or not asked.is_empty):
        raise typer.BadParameter("Give IDs or filters, not both.")
    with open_log() as log:
        redactor = _make_redactor(log, names)
        previews = list(_preview(log, redactor, identifiers or [], asked))
        counts: Counter[str] = Counter()
        for preview in previews:
            counts.update(preview.counts)
        if not as_json:
            for preview in previews:
                print_text("\n".join(_draw(log, redactor, preview)))
            print_text(_describe(counts, len(previews)))
        masked = bool(previews) and (yes or (is_interactive() and not as_json))
        if masked:
            confirm("Mask all of it? The originals are overwritten.", yes=yes)
            with show_work("masking") as say:
                done: list[str] = []
                try:
                    for preview in previews:
                        apply_redaction(log.store, preview, author=log.author)
                        done.append(preview.conversation_id)
                except ChatbotError as error:
                    raise _tell_progress(error, preview.conversation_id, done, len(previews)) from error
                finally:
                    say("rewriting the search index and the file")
                    log.store.redactions.compact()
        taught = [preview.conversation_id for preview in previews if preview.changes_training]
        descent = join_descents([log.store.lineage.of_conversation(one) for one in taught])
        backups = log.store.redactions.backups() if masked else []
        if as_json:
            found = [_to_json(log, redactor, preview) for preview in previews]
            datasets, models = map(dataset_to_json, descent.datasets), map(model_to_json, descent.models)
            told = {"masked": masked, "counts": counts, "conversations": found, "backups": backups}
            print_json(told | {"datasets": list(datasets), "models": list(models)})
            return
    if masked:
        print_text("\n".join(_describe_done(descent, backups)))
    elif previews:
        tell("Nothing was changed. Give --yes to mask it.")


def _make_redactor(log: Log, names: Path | None) -> Redactor:
    from chatbot.logs.redaction import Redactor, read_names

    path = names or (Path(log.settings.review.names) if log.settings.review.names else None)
    return Redactor(read_names(path.expanduser()) if path else ())


def _preview(log: Log, redactor: Redactor, identifiers: Sequence[str], asked: Filters) -> Iterator[RedactionPreview]:
    """Those in which something was found."""
    from chatbot.logs.redacting import preview_redaction
    from chatbot.store.records import Conversation

    if identifiers:
        found = [find_either(log.store, one) for one in identifiers]
        ids = list(dict.fromkeys(one.id if isinstance(one, Conversation) else one.conversation_id for one in found))
    else:
        ids = list(log.store.logs.each_id(asked.resolve(log.store)))
    with show_bar("Searching", len(ids)) as bar:
        for one in ids:
            preview = preview_redaction(log.store, redactor, one)
            if not preview.is_empty:
                yield preview
            bar.advance()


def _list_places(redactor: Redactor, preview: RedactionPreview) -> Iterator[tuple[str, str, str, Sequence[Finding]]]:
    """(where, the message's id, the text, what was found in it)."""
    for message, findings in preview.messages:
        yield message.role, message.id, message.content, findings
    for where, text in preview.list_beside():
        yield where, "", text.old, redactor.find(text.old)


def _draw(log: Log, redactor: Redactor, preview: RedactionPreview) -> Iterator[str]:
    title = printable_line(log.store.conversations.get(preview.conversation_id).title)
    yield f"{style(title, bold=True)} {style('· ' + preview.conversation_id, dim=True)}"
    for where, message_id, text, findings in _list_places(redactor, preview):
        yield f"  {where} {shorten(message_id)}".rstrip()
        for finding in findings:
            yield f"    {finding.kind:<7} {_draw_context(text, finding, find_width() - 12)}"
    yield ""


def _draw_context(text: str, finding: Finding, width: int) -> str:
    """The finding between its neighbours, and in »marks« where there are no colours."""
    start, end = max(0, finding.start - _AROUND), finding.end + _AROUND
    before = ("…" if start else "") + text[start : finding.start]
    after = text[finding.end : end] + ("…" if end < len(text) else "")
    found = finding.text if has_colours() else f"»{finding.text}«"
    return draw_snippet(before + found + after, [(len(before), len(before) + len(found))], width)


def _describe(counts: Counter[str], conversations: int) -> str:
    if not counts:
        return "Nothing was found to mask."
    found = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())
    return f"In {count_of(conversations, 'conversation')}: {found}."


def _describe_done(descent: Descent, backups: Sequence[Path]) -> Iterator[str]:
    yield "Masked."
    if descent.datasets:
        names = list_datasets(descent.datasets)
        yield printable_line(f"These dataset versions were made from the old text: {names}. Make them again.")
    if descent.models:
        yield printable_line(
            f"Stale, because they learnt the old text: {list_models(descent.models)}. Train them again."
        )
    if backups:
        yield "These backups may still hold the originals; delete them if you can:"
        yield from (f"  {printable_line(str(path))}" for path in backups)


def _tell_progress(error: ChatbotError, failed: str, done: Sequence[str], count: int) -> ChatbotError:
    """The error of one of several conversations, with what was masked before it."""
    masked = f"Masked before it: {', '.join(done)}." if done else "Nothing was masked before it."
    message = f"{failed}: {error.message} {masked} Left: {count - len(done):,} of {count:,}."
    return type(error)(message, hint=error.hint)


def _to_json(log: Log, redactor: Redactor, preview: RedactionPreview) -> dict[str, Any]:
    return {
        "id": preview.conversation_id,
        "title": log.store.conversations.get(preview.conversation_id).title,
        "counts": preview.counts,
        "findings": [
            {
                "in": where,
                "message": message_id or None,
                "kind": finding.kind,
                "start": finding.start,
                "end": finding.end,
                "text": finding.text,
            }
            for where, message_id, text, findings in _list_places(redactor, preview)
            for finding in findings
        ],
    }
