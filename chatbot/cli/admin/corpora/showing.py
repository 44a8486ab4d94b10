"""`chatbot admin corpus show`."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Literal

import typer

from chatbot.cli.admin.corpora.counts import describe_counts, manifest_to_json
from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.options import AsJson
from chatbot.cli.logs.printing import count_of, print_json, print_text, style
from chatbot.text import printable, printable_line

_BEGINNING = 400  # characters of a document


def show(
    title: Annotated[str, typer.Argument(metavar="NAME", help="NAME/NUMBER, or NAME for its newest version.")],
    documents: Annotated[
        int, typer.Option("--documents", min=0, max=1000, metavar="N", help="The beginnings of so many documents.")
    ] = 0,
    split: Annotated[Literal["train", "validation"], typer.Option("--split", help="Of this split.")] = "train",
    verify: Annotated[bool, typer.Option("--verify", help="Hash the files and compare with the manifest.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows a version: what came in, what each step dropped, licences, sources; and how its documents begin.

    Examples:

    \b
      chatbot admin corpus show novels
      chatbot admin corpus show novels/1 --documents 3 --split validation
      chatbot admin corpus show novels --json | jq .counts.licences
    """
    from chatbot.admin.corpus.versions import open_corpus

    with open_log() as log:
        _, folder = open_corpus(log.store, log.home, title)
    if verify:
        folder.verify()
    shown = list(islice(folder.read(split), documents)) if documents else []
    if as_json:
        print_json(manifest_to_json(folder) | {"documents": shown})
        return
    manifest = folder.manifest
    print_text(f"{folder.title} · {manifest.sha256[:12]} · {manifest.created[:10]}" + (" · whole" if verify else ""))
    print_text("\n".join(describe_counts(manifest.counts)))
    for one in shown:
        facts = [one.source, one.licence, one.language, one.conversation, count_of(len(one.text), "character")]
        print_text("\n" + style(printable_line(" · ".join(fact for fact in facts if fact), 200), bold=True))
        print_text(printable(one.text[:_BEGINNING]).rstrip("\n") + ("…" if len(one.text) > _BEGINNING else ""))
