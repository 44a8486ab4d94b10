"""The numbers that explain: which embeddings are near, what each head does, what may come next.

They are plain functions of a model's tensors, so that each can be checked against a computation by hand.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

Habit = Literal["first", "previous", "itself", "elsewhere"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A token and the cosine of the angle between its embedding and another's."""

    id: int
    cosine: float


@dataclass(frozen=True, slots=True)
class Head:
    """Where a head's attention goes, as shares of all it has, over the tokens that have a choice."""

    first: float
    """To the first token of the text."""
    previous: float
    itself: float

    @property
    def elsewhere(self) -> float:
        return max(0.0, 1.0 - self.first - self.previous - self.itself)

    @property
    def habit(self) -> tuple[Habit, float]:
        """The largest share and what it goes to."""
        shares: dict[Habit, float] = {
            "first": self.first,
            "previous": self.previous,
            "itself": self.itself,
            "elsewhere": self.elsewhere,
        }
        return max(shares.items(), key=lambda one: one[1])


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that may come next: its probability as the model has it, and at the temperature asked for."""

    id: int
    probability: float
    tempered: float


@dataclass(frozen=True, slots=True)
class Next:
    """What may come next; entropies are in bits."""

    candidates: tuple[Candidate, ...]
    """The most probable first."""
    entropy: float
    temperature: float
    tempered_entropy: float
    vocabulary: int


def find_neighbours(
    embedding: Any, ids: Iterable[int], *, count: int = 5, without: Collection[int] = (), size: int = 0
) -> dict[int, list[Neighbour]]:
    """For each of `ids`, the tokens whose embeddings point most nearly the same way, itself left out.

    `embedding` is a tensor (vocabulary, width). Tokens of `without`, rows of zeros, and rows from `size` on, which fill
    up a matrix but belong to no token, are nobody's neighbours.
    """
    import torch

    with torch.inference_mode():
        lengths = torch.linalg.vector_norm(embedding, dim=1)
        barred = lengths == 0
        if size:
            barred[size:] = True
        if known := [number for number in without if number < len(barred)]:
            barred[torch.tensor(known, device=barred.device)] = True
        found = {}
        for number in dict.fromkeys(ids):
            cosines = embedding @ embedding[number] / (lengths * lengths[number]).clamp_min(1e-12)
            cosines[barred] = -math.inf
            cosines[number] = -math.inf
            best = torch.topk(cosines, min(count, len(cosines)))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            found[number] = [Neighbour(one, min(cosine, 1.0)) for one, cosine in pairs if cosine > -math.inf]
    return found


def sum_up_heads(attention: Mapping[int, NDArray[Any]]) -> dict[int, list[Head]]:
    """What each head of each layer attends to, from maps (heads, T, T).

    Only the third token and those behind it count: to the others the first, the previous and they themselves are not
    three different tokens. Of a shorter text, all count.
    """
    return {layer: [_sum_up(one) for one in maps] for layer, maps in attention.items()}


def _sum_up(weights: NDArray[Any]) -> Head:
    """Of one head's map (T, T)."""
    size = len(weights)
    rows = range(2, size) if size > 2 else range(size)
    count = len(rows)
    first = itself = previous = 0.0
    for row in rows:
        # What is two of them at once is counted once, so that the shares add up.
        itself += float(weights[row, row])
        previous += float(weights[row, row - 1]) if row > 0 else 0.0
        first += float(weights[row, 0]) if row > 1 else 0.0
    return Head(first / count, previous / count, itself / count)


def find_next(logits: NDArray[Any], *, count: int = 10, temperature: float = 1.0) -> Next:
    """The distribution over the vocabulary: softmax of the logits (vocabulary,), divided by the temperature. At 0 all
    of it is the most probable token's."""
    plain = soften(logits, 1.0)
    tempered = soften(logits, temperature)
    order = sorted(range(len(plain)), key=lambda number: (-plain[number], number))[:count]
    return Next(
        tuple(Candidate(number, float(plain[number]), float(tempered[number])) for number in order),
        measure_entropy(plain),
        temperature,
        measure_entropy(tempered),
        len(plain),
    )


def soften(logits: NDArray[Any], temperature: float) -> NDArray[Any]:
    """The probabilities, in float64."""
    import numpy as np

    values = np.asarray(logits, dtype=np.float64)
    if temperature == 0:
        chosen = np.zeros(len(values))
        chosen[int(values.argmax())] = 1.0
        return chosen
    with np.errstate(over="ignore"):  # near 0 it is minus infinity, whose power is 0
        powers = np.exp((values - values.max()) / temperature)
    return np.asarray(powers / powers.sum())


def measure_entropy(probabilities: NDArray[Any]) -> float:
    """In bits: the mean of -log₂ p. What has no probability adds nothing."""
    import numpy as np

    present = probabilities[probabilities > 0]
    return float(-(present * np.log2(present)).sum()) + 0.0
