"""From the items of a dataset to rows of token ids, and from rows to packed rows.

Packing lays short rows end to end, so that no forward pass computes padding. Rows in a packed row do not see each
other: their positions begin anew and attention stays inside each. Which rows lie together is chosen once, from the
seed: in a shuffled order, each row goes where it leaves the least room (best fit), which wastes under two per cent and,
unlike sorting by length first, keeps long and short rows mixed.
"""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem, Turn
from chatbot.admin.rendering import TrainingRow, render_row, render_rows
from chatbot.errors import LearningError
from chatbot.models.template import ChatTemplate


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """One prompt and two replies, as token ids."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def length(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One prompt and one reply, as token ids, and whether the reply was good."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    good: bool

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.reply)


def read_sft_rows(template: ChatTemplate, items: Iterable[Item]) -> list[TrainingRow]:
    """Raises LearningError if the items are not for SFT."""
    rows: list[TrainingRow] = []
    for item in items:
        if not isinstance(item, SftItem):
            raise LearningError("This dataset holds no replies to learn, so SFT cannot use it.")
        rows += render_rows(template, item.turns)
    return rows


def read_preference_rows(template: ChatTemplate, items: Iterable[Item]) -> list[PreferenceRow]:
    """Raises LearningError if the items are not preferences."""
    rows = []
    for item in items:
        if not isinstance(item, PreferenceItem):
            raise LearningError("This dataset holds no preferences, so DPO cannot use it.")
        prompt, chosen = _split_reply(template, item.turns, item.chosen)
        rows.append(PreferenceRow(prompt, chosen, _split_reply(template, item.turns, item.rejected)[1]))
    return rows


def read_label_rows(template: ChatTemplate, items: Iterable[Item]) -> list[LabelRow]:
    """Raises LearningError if the items are not judged replies."""
    rows = []
    for item in items:
        if not isinstance(item, LabelItem):
            raise LearningError("This dataset holds no judged replies, so KTO cannot use it.")
        rows.append(LabelRow(*_split_reply(template, item.turns, item.reply), item.good))
    return rows


def _split_reply(template: ChatTemplate, turns: Sequence[Turn], reply: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    context = [turn.model_copy(update={"learn": False}) for turn in turns]
    row = render_row(template, [*context, Turn(role="assistant", content=reply, learn=True)])
    start = row.learned.index(True) if True in row.learned else len(row.tokens)
    return row.tokens[:start], row.tokens[start:]


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Rows laid end to end. `labels` has −100 where nothing is learnt; `lengths` are those of the rows."""

    tokens: list[int]
    labels: list[int]
    lengths: list[int]


def pack_rows(rows: Sequence[TrainingRow], size: int, *, seed: int = 0) -> list[PackedRow]:
    """Packed rows of at most `size` tokens; a row that is longer by itself gets one of its own."""
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    bins: list[list[int]] = []
    free: list[tuple[int, int]] = []  # room left and number of the bin, sorted
    for index in order:
        length = len(rows[index].tokens)
        place = bisect_left(free, (length, 0))
        if place < len(free):
            room, number = free.pop(place)
            bins[number].append(index)
        else:
            room, number = max(size, length), len(bins)
            bins.append([index])
        insort(free, (room - length, number))
    return [join_rows([rows[index] for index in content]) for content in bins]


def join_rows(rows: Sequence[TrainingRow]) -> PackedRow:
    """The rows as one, in their order."""
    tokens = [token for row in rows for token in row.tokens]
    return PackedRow(tokens, [label for row in rows for label in row.labels], [len(row.tokens) for row in rows])


def make_columns(packed: Sequence[PackedRow]) -> dict[str, list[Any]]:
    """As the columns that TRL's collator for packed rows reads."""
    return {
        "input_ids": [row.tokens for row in packed],
        "labels": [row.labels for row in packed],
        "seq_lengths": [row.lengths for row in packed],
    }
