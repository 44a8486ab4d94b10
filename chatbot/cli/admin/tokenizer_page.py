"""What `chatbot admin tokenizer` prints: the report, some of the tokens, and a text as it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from chatbot.cli.logs.printing import count_of, fit, lay_out, style
from chatbot.cli.wrapping import wrap

if TYPE_CHECKING:
    from chatbot.admin.tokenizing.library import TokenizerFolder
    from chatbot.admin.tokenizing.pieces import Piece
    from chatbot.admin.tokenizing.report import LanguageFigures, TokenizerReport

_LONGEST = 12  # lengths that are shown one by one
_PEER = 14  # cells of the base model's name
_WORDS = {"bpe": "byte-level BPE", "characters": "characters"}


def describe(folder: TokenizerFolder) -> Iterator[str]:
    manifest = folder.manifest
    yield style(f"{folder.name} · {_WORDS[manifest.kind]} · {folder.vocabulary:,} tokens", bold=True)
    yield f"From {manifest.corpus} · {manifest.created[:10]} · sha256 {folder.sha256[:12]}"
    if manifest.asked > folder.vocabulary:
        yield from wrap(
            f"{manifest.asked:,} were asked for: the corpus has no more pairs that occur twice. A larger one would "
            "fill the vocabulary."
        )
    yield ""
    yield from _draw_report(manifest.report, folder)


def _draw_report(report: TokenizerReport, folder: TokenizerFolder) -> Iterator[str]:
    if not report.languages:
        yield "Nothing of the corpus is held out, so bytes per token were not measured."
        return
    unknown = folder.manifest.kind == "characters"
    titles = ["HELD OUT", "DOCUMENTS", "BYTES", "TOKENS", "BYTES/TOKEN"]
    titles += [report.base.upper()] if report.base else []
    titles += ["UNKNOWN"] if unknown else []
    figures = [*report.languages, *([report.total] if len(report.languages) > 1 else [])]
    rows = [_list_figures(one, report, unknown=unknown) for one in figures]
    yield from lay_out(titles, rows, flexible=0, right=range(1, len(titles)), limits={5: _PEER})
    if report.base:
        yield from wrap(
            f"Bytes per token, of this tokenizer and of {report.base} with its {report.base_vocabulary:,} tokens: the "
            "more, the shorter a text is to the model."
        )
    if unknown and report.total.unknown:
        yield from wrap("Unknown is the share of held-out characters that the training part never showed.")


def _list_figures(one: LanguageFigures, report: TokenizerReport, *, unknown: bool) -> list[str]:
    row = [one.language, f"{one.documents:,}", f"{one.text_bytes:,}", f"{one.tokens:,}", f"{one.bytes_per_token:.2f}"]
    if report.base:
        row.append("–" if one.base_bytes_per_token is None else f"{one.base_bytes_per_token:.2f}")
    return [*row, f"{one.unknown_share:.2%}"] if unknown else row


def draw_samples(samples: Mapping[int, Sequence[Piece]], width: int) -> Iterator[str]:
    yield style("Some tokens by their length in characters", bold=True)
    lengths = list(samples)
    shown = lengths if len(lengths) <= _LONGEST else [*lengths[: _LONGEST // 2], *lengths[-_LONGEST // 2 :]]
    for length in shown:
        yield f"{length:>4}  " + fit(" │ ".join(piece.shown for piece in samples[length]), width - 6).rstrip()


def draw_cut(pieces: Sequence[Piece], size: int, width: int) -> Iterator[str]:
    """The pieces in lines, then their ids; neighbours differ in colour, and are parted by │ where there is none."""
    from rich.cells import cell_len

    line, cells = "", 0
    for place, piece in enumerate(pieces):
        text = piece.shown + "│"
        wide = cell_len(text)
        if line and cells + wide > width:
            yield line
            line, cells = "", 0
        line += style(piece.shown, fg="cyan" if place % 2 else "yellow") + style("│", dim=True)
        cells += wide
    if line:
        yield line
    per_token = f", {size / len(pieces):.2f} bytes a token" if pieces else ""
    yield style(f"{count_of(len(pieces), 'token')}{per_token}", bold=True)
