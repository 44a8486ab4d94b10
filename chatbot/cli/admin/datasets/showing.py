"""`chatbot admin dataset show`: a version's figures, and its rows token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chatbot.cli.admin.datasets.counts import describe_counts, manifest_to_json
from chatbot.cli.admin.opening import open_base
from chatbot.cli.logs.finding import open_log
from chatbot.cli.logs.options import AsJson, Limit, Offset
from chatbot.cli.logs.printing import count_of, has_colours, print_json, print_text, style, tell
from chatbot.text import printable, printable_line

if TYPE_CHECKING:
    from chatbot.admin.datasets.items import Item
    from chatbot.admin.datasets.showing import Piece, ShownRow

_BORDER = "│"
_OPEN, _CLOSE = "⟦", "⟧"


def show(
    title: Annotated[str, typer.Argument(metavar="NAME", help="NAME/NUMBER, or NAME for its newest version.")],
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option("--split", help="Rows of this split.")
    ] = "train",
    limit: Limit = 3,
    offset: Offset = 0,
    item: Annotated[
        str, typer.Option("--item", metavar="ID", help="Only the item whose id begins so, of any split.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Shows a version: what it holds, and rows as the model will see them.

    Tokens are parted by │. Those that are learnt are green, or between ⟦ and ⟧ where there are no colours.

    Examples:

    \b
      chatbot admin dataset show talks
      chatbot admin dataset show talks/2 --split test --limit 10
      chatbot admin dataset show talks --json | jq '.rows[0].pieces[] | select(.learned)'
    """
    from chatbot.admin.datasets.freezing import open_version
    from chatbot.admin.datasets.items import SPLITS
    from chatbot.admin.datasets.showing import show_item
    from chatbot.errors import NotFound

    with open_log() as log:
        _, folder = open_version(log.store, log.home, title)
        model, template = open_base(log, folder.manifest.model)
    if template.sha256 != folder.manifest.template_sha256:
        tell(f"{model.name} has another chat template now than when this version was made.")
    chosen: list[tuple[str, Item]]
    if item:
        chosen = [(where, one) for where in SPLITS for one in folder.read(where) if one.id.startswith(item)]
        if not chosen:
            raise NotFound(f"There is no item {printable_line(item, 40)!r} in {printable_line(title)}.")
    else:
        chosen = [(split, one) for one in islice(folder.read(split), offset, offset + limit)]
        if not chosen:
            there = count_of(folder.manifest.files[split].rows, "item")
            tell(f"{split} has {there}{f', so there is nothing to show from {offset:,} on' if offset else ''}.")
    shown = [(where, one, list(show_item(template, one))) for where, one in chosen]
    if as_json:
        print_json(manifest_to_json(folder) | {"rows": [_to_json(*one) for one in shown]})
        return
    manifest = folder.manifest
    facts = (f"{manifest.name}/{manifest.number}", manifest.kind, manifest.sha256[:12], manifest.created[:10])
    print_text(printable_line(" · ".join(facts)))
    print_text("\n".join(describe_counts(manifest.counts)))
    for where, one, rows in shown:
        for row in rows:
            print_text("\n" + _draw(where, one, row))


def _draw(where: str, item: Item, row: ShownRow) -> str:
    facts = [
        item.id,
        where,
        item.source,
        item.conversation,
        row.title,
        f"{row.learnt:,} of {count_of(row.tokens, 'token')} learnt",
    ]
    head = style(printable_line(" · ".join(fact for fact in facts if fact)), bold=True)
    return head + "\n" + "".join(_draw_runs(row.pieces))


def _draw_runs(pieces: Sequence[Piece]) -> Iterator[str]:
    coloured = has_colours()
    for learned, run in groupby(pieces, key=lambda piece: piece.learned):
        # A newline is shown as a sign and obeyed, so that a row reads as it is laid out.
        texts = [printable(piece.text).replace("\n", "⏎\n") for piece in run]
        text = _BORDER.join(texts)
        if coloured:
            # Not bold=False or dim=False: each resets the other.
            yield (style(text, fg="green", bold=True) if learned else style(text, dim=True)) + _BORDER
        else:
            yield f"{_OPEN}{text}{_CLOSE}" if learned else text


def _to_json(where: str, item: Item, rows: Sequence[ShownRow]) -> dict[str, Any]:
    return {
        "split": where,
        "item": item.model_dump(),
        "rows": [
            {"title": row.title, "tokens": row.tokens, "learnt": row.learnt, "pieces": row.pieces} for row in rows
        ],
    }
