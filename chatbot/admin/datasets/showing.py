"""An item as the model will see it: token by token, and which of them are learnt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem, Turn
from chatbot.models.template import ChatTemplate


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens that make up whole characters, nearly always one; as the tokenizer writes them, not made safe to show."""

    text: str
    tokens: tuple[int, ...]
    learned: bool


@dataclass(frozen=True, slots=True)
class ShownRow:
    """`title` says which reply it is where an item has several rows: chosen, rejected, good, bad."""

    title: str
    pieces: tuple[Piece, ...]

    @property
    def tokens(self) -> int:
        return sum(len(piece.tokens) for piece in self.pieces)

    @property
    def learnt(self) -> int:
        return sum(len(piece.tokens) for piece in self.pieces if piece.learned)


def show_item(template: ChatTemplate, item: Item) -> Iterator[ShownRow]:
    """The rows of an item. Raises ModelRefused if the template refuses it."""
    from chatbot.admin.rendering import render_rows

    for title, turns in _list_rows(item):
        for row in render_rows(template, turns):
            yield ShownRow(title, tuple(_cut_pieces(template, row.tokens, row.learned)))


def _list_rows(item: Item) -> Iterator[tuple[str, Sequence[Turn]]]:
    if isinstance(item, SftItem):
        yield "", item.turns
    elif isinstance(item, PreferenceItem):
        yield "chosen", _answer(item.turns, item.chosen)
        yield "rejected", _answer(item.turns, item.rejected)
    elif isinstance(item, LabelItem):
        yield "good" if item.good else "bad", _answer(item.turns, item.reply)


def _answer(turns: Sequence[Turn], reply: str) -> Sequence[Turn]:
    return [*turns, Turn(role="assistant", content=reply, learn=True)]


def _cut_pieces(template: ChatTemplate, tokens: Sequence[int], learned: Sequence[bool]) -> Iterator[Piece]:
    """One piece for each token, but for those that hold only a part of a character's bytes."""
    begun: list[int] = []
    for token, is_learned, follows in zip(tokens, learned, [*learned[1:], None], strict=True):
        begun.append(token)
        text = str(template.tokenizer.decode(begun, skip_special_tokens=False))
        if text.endswith("\ufffd") and follows is is_learned and len(begun) < 8:
            continue
        yield Piece(text, tuple(begun), is_learned)
        begun = []
