"""The four steps of an explanation, as one record: tokens, embeddings, attention, the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatbot.admin.explaining.figures import Head, Neighbour, Next, find_neighbours, find_next, sum_up_heads
from chatbot.admin.tokenizing.pieces import Piece, TokenReader
from chatbot.errors import InvalidInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chatbot.admin.explaining.loading import Subject


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a model makes of a text."""

    model: str
    tokens: list[Piece]
    neighbours: dict[int, list[tuple[Piece, float]]]
    """By place in the text: tokens and cosines, the nearest first."""
    heads: dict[int, list[Head]]
    """By layer."""
    attention: dict[int, NDArray[Any]]
    """By layer, (heads, T, T)."""
    next: Next
    candidates: list[Piece]
    """Of `next`, in its order."""
    width: int
    """Of an embedding."""

    def find_map(self, layer: int, head: int) -> NDArray[Any]:
        """(T, T). Raises InvalidInput if the model has no such head."""
        if layer not in self.attention:
            known = sorted(self.attention)
            which = f"layers {known[0]} to {known[-1]}" if known else "none"
            raise InvalidInput(f"There is no attention map of layer {layer}: the model has {which}.")
        maps = self.attention[layer]
        if not 0 <= head < len(maps):
            raise InvalidInput(f"There is no head {head} in layer {layer}: it has heads 0 to {len(maps) - 1}.")
        found: NDArray[Any] = maps[head]
        return found


def explain(
    subject: Subject, reader: TokenReader, ids: Sequence[int], *, places: Sequence[int] = (), temperature: float = 1.0
) -> Explanation:
    """Everything about `ids`; neighbours only of the tokens at `places`, if any are given.

    Raises InvalidInput for a place that is not there, OutOfMemory, ModelRefused.
    """
    check_places(places, len(ids))
    tokens = [reader.piece(number) for number in ids]
    seen = subject.read(ids)
    chosen = list(places) or range(len(ids))
    embedding = subject.embedding
    near = find_neighbours(
        embedding,
        [ids[place] for place in chosen],
        without=reader.special,
        size=reader.tokenizer.get_vocab_size(),
    )

    def name(found: Sequence[Neighbour]) -> list[tuple[Piece, float]]:
        return [(reader.piece(one.id), one.cosine) for one in found]

    following = find_next(seen.logits, temperature=temperature)
    return Explanation(
        model=subject.name,
        tokens=tokens,
        neighbours={place: name(near[ids[place]]) for place in chosen},
        heads=sum_up_heads(seen.attention),
        attention=seen.attention,
        next=following,
        candidates=[reader.piece(one.id) for one in following.candidates],
        width=int(embedding.shape[1]),
    )


def check_places(places: Sequence[int], count: int) -> None:
    """Raises InvalidInput for a place at which no token stands."""
    for place in places:
        if not 0 <= place < count:
            raise InvalidInput(f"There is no token {place}: the text has tokens 0 to {count - 1}.")
