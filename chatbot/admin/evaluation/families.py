"""Rows that begin with the same prompt, as one: what they share is read once.

A suite asks the same prompt with four answers, and most of the tokens are the prompt's. Laid out as a tree (the prompt,
then each answer as a branch that sees the prompt and itself, as in Cai et al. 2024, "Medusa", arXiv:2401.10774), a
family of rows takes a third of the work and gives the same losses. It needs a model that takes positions and a mask of
its own; whether it does is found out by asking it both ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatbot.admin.rendering import TrainingRow

if TYPE_CHECKING:
    import torch

_MOST = 768
"""Tokens of a family of several rows: the mask grows with their square."""


@dataclass(frozen=True, slots=True)
class Family:
    """Rows laid out in one. All tuples but `rows` and the last three are as long as the tokens."""

    rows: tuple[int, ...]
    """Their indices."""
    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    branches: tuple[int, ...]
    """0 for what is shared, then 1, 2, … for each row's own."""
    sources: tuple[int, ...]
    """Where the hidden state stands that predicts a learnt token,"""
    targets: tuple[int, ...]
    """the token,"""
    owners: tuple[int, ...]
    """and the row of it, counted within the family."""


def gather(rows: Sequence[TrainingRow], *, shared: bool = True) -> list[Family]:
    """Every row in one family. Only rows whose learnt tokens are their end, all together, are put with others."""
    kin: dict[tuple[int, ...], list[int]] = {}
    alone: list[int] = []
    for index, row in enumerate(rows):
        begin = _find_end(row)
        if shared and begin:
            kin.setdefault(row.tokens[:begin], []).append(index)
        else:
            alone.append(index)
    families = [_lay_out(rows, [index]) for index in alone]
    for prefix, indices in kin.items():
        families += [_lay_out(rows, part) for part in _cut(rows, len(prefix), indices)]
    return families


def make_mask(families: Sequence[Family], width: int, dtype: torch.dtype) -> torch.Tensor:
    """Shape (families, 1, width, width): 0 where a token may look, else the least number. Padding sees itself."""
    import torch

    branches = torch.full((len(families), width), -1)
    for number, family in enumerate(families):
        branches[number, : len(family.branches)] = torch.tensor(family.branches)
    own = branches[:, :, None] == branches[:, None, :]
    seen = (own | (branches[:, None, :] == 0)) & torch.ones(width, width, dtype=torch.bool).tril()
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
    return mask[:, None]


def _find_end(row: TrainingRow) -> int:
    """Where the learnt tokens begin that the row ends with; 0 if there are others before, none, or nothing before."""
    begin = next((place for place, learnt in enumerate(row.learned) if learnt), 0)
    return begin if all(row.learned[begin:]) else 0


def _cut(rows: Sequence[TrainingRow], prefix: int, indices: Sequence[int]) -> Iterator[list[int]]:
    part: list[int] = []
    size = prefix
    for index in indices:
        own = len(rows[index].tokens) - prefix
        if part and size + own > _MOST:
            yield part
            part, size = [], prefix
        part.append(index)
        size += own
    yield part


def _lay_out(rows: Sequence[TrainingRow], indices: Sequence[int]) -> Family:
    if len(indices) == 1:
        row = rows[indices[0]]
        learnt = [place for place in range(1, len(row.tokens)) if row.learned[place]]
        size = len(row.tokens)
        return Family(
            rows=tuple(indices),
            tokens=row.tokens,
            positions=tuple(range(size)),
            branches=(0,) * size,
            sources=tuple(place - 1 for place in learnt),
            targets=tuple(row.tokens[place] for place in learnt),
            owners=(0,) * len(learnt),
        )
    prefix = _find_end(rows[indices[0]])
    tokens = list(rows[indices[0]].tokens[:prefix])
    positions, branches = list(range(prefix)), [0] * prefix
    sources: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for owner, index in enumerate(indices):
        answer = rows[index].tokens[prefix:]
        sources += [prefix - 1, *range(len(tokens), len(tokens) + len(answer) - 1)]
        targets += answer
        owners += [owner] * len(answer)
        tokens += answer
        positions += range(prefix, prefix + len(answer))
        branches += [owner + 1] * len(answer)
    return Family(
        tuple(indices), tuple(tokens), tuple(positions), tuple(branches), tuple(sources), tuple(targets), tuple(owners)
    )
