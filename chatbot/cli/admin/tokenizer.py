"""`chatbot admin tokenizer`: learning one from a corpus, what it is good for, and how it cuts a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatbot.cli.admin.tokenizer_page import describe, draw_cut, draw_samples
from chatbot.cli.logs.options import AsJson, Yes
from chatbot.cli.logs.printing import confirm, find_width, lay_out, print_json, print_text, tell

if TYPE_CHECKING:
    from chatbot.admin.tokenizing.library import TokenizerFolder, TokenizerLibrary
    from chatbot.admin.tokenizing.pieces import Piece
    from chatbot.admin.tokenizing.report import LanguageFigures, Peer
    from chatbot.cli.logs.finding import Log

app = typer.Typer(help="Tokenizers: train one, list, show and delete them.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="As `chatbot admin tokenizer list` shows it.")]
_VOCABULARY = 8192
_EACH = 4  # sample tokens of a length


@app.command()
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="How it will be called.")],
    corpus: Annotated[
        str, typer.Option("--corpus", metavar="NAME", help="NAME/NUMBER, or NAME for its newest version.")
    ],
    vocab: Annotated[
        int | None,
        typer.Option(
            "--vocab", metavar="N", help=f"At most so many tokens, {_VOCABULARY} if not said.", show_default=False
        ),
    ] = None,
    characters: Annotated[
        bool,
        typer.Option("--characters", help="One token for each character of the corpus, instead of byte-level BPE."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Learns a tokenizer from the training part of a corpus.

    Byte-level BPE begins with the 256 bytes and joins the most frequent pair of neighbours, again and again, until the
    vocabulary is full. The report tells how many bytes a token stands for in texts that were held out, beside the base
    model's tokenizer.

    Examples:

    \b
      chatbot admin tokenizer train novels --corpus novels --vocab 8192
      chatbot admin tokenizer train letters --corpus novels --characters
    """
    if characters and vocab is not None:
        raise typer.BadParameter("--characters takes every character there is; --vocab is for BPE.")
    from chatbot.admin.corpus.versions import open_corpus
    from chatbot.admin.tokenizing.training import train as train_tokenizer
    from chatbot.cli.logs.finding import open_log
    from chatbot.cli.logs.waiting import StepBars

    with open_log() as log, StepBars() as bars:
        library = _open_library(log)
        library.check_free(name)
        made = train_tokenizer(
            open_corpus(log.store, log.home, corpus)[1],
            library,
            name,
            vocabulary=_VOCABULARY if vocab is None else vocab,
            kind="characters" if characters else "bpe",
            on_progress=bars.reach,
            peer=_find_peer(log),
        )
    if as_json:
        print_json(_to_json(made))
        return
    print_text("\n".join(describe(made)))


@app.command(name="list")
def list_tokenizers(as_json: AsJson = False) -> None:
    """Lists the tokenizers on this disk.

    Examples:

    \b
      chatbot admin tokenizer list
      chatbot admin tokenizer list --json | jq -r '.[].name'
    """
    whole, damaged = _open_library().scan()
    if as_json:
        broken = [{"name": name, "problem": error.message} for name, error in damaged.items()]
        print_json([*(_to_json(one) | {"problem": ""} for one in whole), *broken])
        return
    if not whole and not damaged:
        tell("There are no tokenizers yet: `chatbot admin tokenizer train NAME --corpus NAME` makes one.")
        return
    rows = []
    for one in whole:
        total = one.manifest.report.total
        size = f"{total.bytes_per_token:.2f}" if total.tokens else "–"
        made = one.manifest.created[:10]
        rows.append([one.name, one.manifest.kind, f"{one.vocabulary:,}", size, one.manifest.corpus, made, ""])
    rows += [[name, "", "", "", "", "", error.message] for name, error in damaged.items()]
    titles = ["TOKENIZER", "KIND", "TOKENS", "BYTES/TOKEN", "CORPUS", "MADE", ""]
    print_text("\n".join(lay_out(titles, rows, flexible=6 if damaged else 4, right=[2, 3])))


@app.command()
def show(
    name: _Name,
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="Show how this text is cut.")] = None,
    as_json: AsJson = False,
) -> None:
    """Shows a tokenizer: its report and some of its tokens, or how it cuts a text.

    A space is shown as · and the end of a line as ↵; bytes that are only part of a character stand in ⟨⟩.

    Examples:

    \b
      chatbot admin tokenizer show novels
      chatbot admin tokenizer show novels --text "It was the best of times, 1859."
    """
    from chatbot.admin.tokenizing.pieces import TokenReader
    from chatbot.cli.logs.texts import check_text

    if text is not None:
        check_text(text, "The text")
    folder = _open_library().find(name)
    reader = TokenReader(folder.load())
    if text is not None:
        pieces = reader.cut(text)
        if as_json:
            print_json({"text": text, "tokens": [_piece_to_json(one) for one in pieces]})
        else:
            print_text("\n".join(draw_cut(pieces, len(text.encode()), find_width())))
        return
    samples = reader.sample(_EACH)
    if as_json:
        told = {str(length): [_piece_to_json(one) for one in pieces] for length, pieces in samples.items()}
        print_json(_to_json(folder) | {"samples": told})
        return
    print_text("\n".join([*describe(folder), "", *draw_samples(samples, find_width())]))


@app.command()
def delete(name: _Name, yes: Yes = False, as_json: AsJson = False) -> None:
    """Deletes a tokenizer. Models that were trained with it have a copy of their own and stay whole.

    Examples:

    \b
      chatbot admin tokenizer delete novels
    """
    library = _open_library()
    library.locate(name)
    confirm(f"Delete the tokenizer {name}? Nothing brings it back.", yes=yes)
    library.delete(name)
    if as_json:
        print_json(name)
        return
    print_text(f"{name} is deleted.")


def _open_library(log: Log | None = None) -> TokenizerLibrary:
    from chatbot.admin.tokenizing.library import TokenizerLibrary
    from chatbot.config import find_home

    return TokenizerLibrary((log.home if log else find_home()).tokenizers)


def _find_peer(log: Log) -> Peer | None:
    """The base model's tokenizer, if that model is here and whole."""
    from chatbot.admin.tokenizing.report import Peer
    from chatbot.errors import ModelError
    from chatbot.models.library import ModelLibrary

    try:
        base = ModelLibrary(log.home.models).find(log.settings.model).foundation
        return Peer(base.name, base.load_template().tokenizer)
    except ModelError as error:
        tell(f"There is no base model to compare with: {error.message}")
        return None


def _piece_to_json(piece: Piece) -> dict[str, Any]:
    return {"id": piece.id, "shown": piece.shown, "bytes": piece.content.hex()}


def _to_json(folder: TokenizerFolder) -> dict[str, Any]:
    report = folder.manifest.report
    told = folder.manifest.model_dump(mode="json") | {"path": folder.path}
    told["report"]["languages"] = [_figures_to_json(one) for one in report.languages]
    told["report"]["total"] = _figures_to_json(report.total)
    return told


def _figures_to_json(one: LanguageFigures) -> dict[str, Any]:
    return one.model_dump(mode="json") | {
        "bytes_per_token": one.bytes_per_token,
        "base_bytes_per_token": one.base_bytes_per_token,
        "unknown_share": one.unknown_share,
    }
