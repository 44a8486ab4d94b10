"""`chatbot explain`: what a model makes of a text, step by step, in numbers and pictures.

The tokens are printed before the model is loaded, which takes seconds: a reader has something to read meanwhile.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from chatbot.admin.explaining.explanation import Explanation
    from chatbot.admin.explaining.figures import Head
    from chatbot.admin.tokenizing.pieces import Piece


def explain(
    text: Annotated[
        list[str] | None,
        typer.Argument(help="The text. Without it, or in place of a -, standard input is read.", show_default=False),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME", help="The model to look into; else the one that answers.")
    ] = "",
    chat: Annotated[
        bool, typer.Option("--chat", help="Put the text to it as a message of a chat, not as it stands.")
    ] = False,
    token: Annotated[
        list[int] | None,
        typer.Option(
            "--token", min=0, metavar="N", help="Only this token's neighbours; repeatable.", show_default=False
        ),
    ] = None,
    layer: Annotated[
        int | None, typer.Option("--layer", min=0, metavar="L", help="With --head: its whole map.", show_default=False)
    ] = None,
    head: Annotated[int | None, typer.Option("--head", min=0, metavar="H", show_default=False)] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", "-t", min=0.0, help="Show what it does to the next token.")
    ] = 1.0,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write all of it, every head's map too, as one HTML page."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value and nothing else, for scripts.")] = False,
) -> None:
    """Shows what a model makes of a text: its tokens, their embeddings' neighbours, what each head attends to, and
    what may come next.

    Examples:

    \b
      chatbot explain "The capital of France is"
      chatbot explain "The capital of France is" --layer 3 --head 5
      chatbot explain --chat "Why is the sky blue?" --temperature 0.5
      chatbot explain "The capital of France is" --html page.html
      chatbot explain "你好，世界" --json | jq .next.entropy
    """
    if (layer is None) != (head is None):
        raise typer.BadParameter("--layer and --head name one map together; give both.")
    if not math.isfinite(temperature):
        raise typer.BadParameter("--temperature is a number from 0 on.")
    from chatbot.admin.explaining.explanation import check_places
    from chatbot.admin.explaining.loading import encode
    from chatbot.admin.tokenizing.pieces import TokenReader
    from chatbot.cli.admin.opening import let_threads_sleep
    from chatbot.cli.explaining import describe_tokens
    from chatbot.cli.logs.printing import print_json, print_text
    from chatbot.cli.logs.texts import read_text
    from chatbot.config import find_home, load_settings
    from chatbot.dialogue.opening import read_champion
    from chatbot.models.library import ModelLibrary

    content = read_text(text or ["-"], "", "The text")
    home = find_home()
    settings = load_settings(home)
    name = model or read_champion(settings, home) or settings.model
    library = ModelLibrary(home.models)
    folder = library.find(name)
    template = folder.load_template(answering=True)
    reader = TokenReader(template.tokenizer)
    ids = encode(folder, template, content, chat=chat)
    places = token or []
    check_places(places, len(ids))
    if not as_json:
        print_text("\n".join(describe_tokens(folder.name, [reader.piece(number) for number in ids])) + "\n")
    let_threads_sleep()
    found = _look(library, name, settings.engine, reader, ids, places, temperature)
    chosen = None if layer is None or head is None else (layer, head)
    if chosen:
        found.find_map(*chosen)  # a head that is not there is told of before the page goes on
    # Shown first: a disk that refuses the page must not cost the figures.
    if as_json:
        print_json(_to_json(found, chosen))
    else:
        _print_rest(found, chosen, asked=bool(places))
    if html is not None:
        _write_page(html, found, chosen)


def _look(
    library: Any, name: str, engine: Any, reader: Any, ids: list[int], places: list[int], temperature: float
) -> Explanation:
    """Loads the model and runs it once over the tokens."""
    from chatbot.cli.logs.waiting import show_work

    with show_work(f"Loading {name}") as say:
        from chatbot.admin.explaining.explanation import explain as explain_tokens
        from chatbot.admin.explaining.loading import load_subject

        subject = load_subject(library, name, engine)
        say("Reading the text")
        return explain_tokens(subject, reader, ids, places=places, temperature=temperature)


def _write_page(path: Path, found: Explanation, chosen: tuple[int, int] | None) -> None:
    from chatbot.admin.explaining.page import render_page
    from chatbot.cli.logs.printing import tell
    from chatbot.errors import InvalidInput
    from chatbot.files import write_file

    try:
        write_file(path, render_page(found, chosen))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror or error}.") from None
    tell(f"The page is in {path}")


def _print_rest(found: Explanation, chosen: tuple[int, int] | None, *, asked: bool) -> None:
    from chatbot.cli.explaining import describe_attention, describe_neighbours, describe_next
    from chatbot.cli.logs.printing import print_text

    print_text("\n".join(describe_neighbours(found, asked=asked)) + "\n")
    print_text("\n".join(describe_attention(found, chosen)) + "\n")
    print_text("\n".join(describe_next(found)))


def _to_json(found: Explanation, chosen: tuple[int, int] | None) -> dict[str, Any]:
    attention: dict[str, Any] = {
        "heads": [
            {"layer": layer, "head": number} | _head_to_json(head)
            for layer, heads in sorted(found.heads.items())
            for number, head in enumerate(heads)
        ]
    }
    if chosen:
        layer, head = chosen
        attention = {"layer": layer, "head": head} | _head_to_json(found.heads[layer][head])
        attention["weights"] = [[float(value) for value in row] for row in found.find_map(layer, head)]
    return {
        "model": found.model,
        "tokens": [_piece_to_json(one) for one in found.tokens],
        "neighbours": [
            {
                "token": place,
                "nearest": [_piece_to_json(piece) | {"cosine": cosine} for piece, cosine in near],
            }
            for place, near in found.neighbours.items()
        ],
        "attention": attention,
        "next": {
            "entropy": found.next.entropy,
            "temperature": found.next.temperature,
            "tempered_entropy": found.next.tempered_entropy,
            "vocabulary": found.next.vocabulary,
            "candidates": [
                _piece_to_json(piece) | {"probability": one.probability, "tempered": one.tempered}
                for piece, one in zip(found.candidates, found.next.candidates, strict=True)
            ],
        },
    }


def _head_to_json(head: Head) -> dict[str, Any]:
    return {"first": head.first, "previous": head.previous, "itself": head.itself, "elsewhere": head.elsewhere}


def _piece_to_json(piece: Piece) -> dict[str, Any]:
    return {"id": piece.id, "shown": piece.shown, "bytes": piece.content.hex(), "special": piece.special}
