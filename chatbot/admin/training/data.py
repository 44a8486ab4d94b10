"""What a run trains on, counted and in the columns that the trainers read.

Rows that are longer than `max_length` are left out and counted, never cut: the dataset has its own policy for them, and
unless another length is asked for it is the one that the dataset was built with, so nothing is left out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from chatbot.admin.datasets.folder import DatasetFolder
from chatbot.admin.datasets.items import Item, LabelItem, PreferenceItem, SftItem, Turn
from chatbot.admin.rendering import TrainingRow
from chatbot.admin.training.choosing import choose_looks
from chatbot.admin.training.config import LEAST_LENGTH, TrainingConfig
from chatbot.admin.training.events import Data
from chatbot.admin.training.rows import (
    LabelRow,
    PreferenceRow,
    make_columns,
    pack_rows,
    read_label_rows,
    read_preference_rows,
    read_sft_rows,
)
from chatbot.errors import LearningError
from chatbot.models.library import ModelFolder
from chatbot.models.template import ChatMessage, ChatTemplate

_USUAL = 1024
"""Tokens of the longest row where the dataset does not say it."""

Row = TrainingRow | PreferenceRow | LabelRow


@dataclass(frozen=True, slots=True)
class TrainingData:
    """`columns` are those of the training rows and `held_out` those of the held-out ones, by name."""

    rows: int
    left_out: int
    """Rows longer than max_length."""
    longest: int
    """Tokens of the longest row that is not left out."""
    tokens: int
    """Of all rows in one epoch."""
    learned: int
    """Those of them that carry loss."""
    columns: dict[str, list[Any]]
    held_out: dict[str, list[Any]]
    held_out_rows: int
    held_out_left_out: int
    passes: int
    """Forward passes an epoch."""

    @property
    def packed(self) -> int:
        """Entries of `columns`: packed rows for SFT, rows for the others."""
        return len(next(iter(self.columns.values()), []))

    def describe(self, config: TrainingConfig) -> Data:
        """What is told of it at the beginning."""
        return Data(
            step=0,
            rows=self.rows,
            left_out=self.left_out,
            max_length=config.max_length,
            held_out=self.held_out_rows,
            held_out_left_out=self.held_out_left_out,
            missing=self.missing,
        )

    @property
    def missing(self) -> str:
        """`good` or `bad`, if replies are held out and none of them is that."""
        labels = self.held_out.get("label") or [True, False]
        return "" if len(set(labels)) == 2 else "bad" if labels[0] else "good"


def read_data(config: TrainingConfig, dataset: DatasetFolder, template: ChatTemplate) -> TrainingData:
    """Raises LearningError if nothing is left to learn, and DatasetDamaged."""
    everything = _read_rows(config, template, list(dataset.read("train")))
    rows = [row for row in everything if _measure(row) <= config.max_length]
    if not rows:
        raise LearningError(
            f"{dataset.title} has nothing to learn in rows of at most {config.max_length} tokens.",
            hint="Give a larger --max-tokens, or add to the dataset.",
        )
    looks = choose_looks(list(dataset.read("validation")), config.held_out_rows)
    looked_at = _read_rows(config, template, looks)
    held_out = [row for row in looked_at if _measure(row) <= config.max_length]
    columns = _make_columns(config, rows)
    entries = len(next(iter(columns.values())))
    return TrainingData(
        rows=len(rows),
        left_out=len(everything) - len(rows),
        longest=max(map(_measure, rows)),
        tokens=sum(map(_count_tokens, rows)),
        learned=sum(map(_count_learned, rows)),
        columns=columns,
        held_out=_make_columns(config, held_out),
        held_out_rows=len(held_out),
        held_out_left_out=len(looked_at) - len(held_out),
        passes=entries if config.method == "sft" else -(-entries // config.batch_rows),
    )


def read_limit(dataset: DatasetFolder, model: ModelFolder) -> int:
    """Tokens of the longest row that `dataset` was built to hold; what it says itself is a stranger's word, so never
    more than the model's window."""
    most = dataset.manifest.recipe.get("max_tokens")
    if isinstance(most, bool) or not isinstance(most, int) or most < LEAST_LENGTH:
        most = _USUAL
    return min(most, model.manifest.context or most)


def read_prompts(dataset: DatasetFolder, template: ChatTemplate, count: int) -> list[tuple[str, list[int]]]:
    """The first held-out prompts, for samples: the user's last words, and the tokens that the chat would send."""
    return [
        (context[-1].content, template.encode(context))
        for context in map(_read_context, islice(dataset.read("validation"), count))
        if context and context[-1].role == "user"
    ]


def _read_context(item: SftItem | PreferenceItem | LabelItem) -> list[ChatMessage]:
    turns: Sequence[Turn] = item.turns
    if isinstance(item, SftItem):
        learned = [place for place, turn in enumerate(turns) if turn.learn]
        turns = turns[: learned[0]] if learned else ()
    messages = [turn.message for turn in turns]
    if messages and messages[0].role != "system":
        messages.insert(0, ChatMessage("system", ""))
    return messages


def _read_rows(config: TrainingConfig, template: ChatTemplate, items: Sequence[Item]) -> Sequence[Row]:
    if config.method == "sft":
        return [row for row in read_sft_rows(template, items) if any(row.learned)]
    return (read_preference_rows if config.method == "dpo" else read_label_rows)(template, items)


def _make_columns(config: TrainingConfig, rows: Sequence[Row]) -> dict[str, list[Any]]:
    if config.method == "sft":
        plain = [row for row in rows if isinstance(row, TrainingRow)]
        return make_columns(pack_rows(plain, config.batch_tokens, seed=config.seed))
    shuffled = list(rows)
    random.Random(config.seed).shuffle(shuffled)
    if config.method == "dpo":
        pairs = [row for row in shuffled if isinstance(row, PreferenceRow)]
        return {
            "prompt_ids": [list(row.prompt) for row in pairs],
            "chosen_ids": [list(row.chosen) for row in pairs],
            "rejected_ids": [list(row.rejected) for row in pairs],
        }
    labels = [row for row in shuffled if isinstance(row, LabelRow)]
    return {
        "prompt_ids": [list(row.prompt) for row in labels],
        "completion_ids": [list(row.reply) for row in labels],
        "KL_completion_ids": _rotate([list(row.reply) for row in labels], config.batch_rows),
        "label": [row.good for row in labels],
    }


def _rotate(replies: list[list[int]], size: int) -> list[list[int]]:
    """Each prompt with another's reply: KTO estimates from such pairs how far the model has moved (as TRL does)."""
    rotated = []
    for start in range(0, len(replies), size):
        part = replies[start : start + size]
        rotated += [part[-1], *part[:-1]]
    return rotated


def _measure(row: Row) -> int:
    return len(row.tokens) if isinstance(row, TrainingRow) else row.length


def _count_tokens(row: Row) -> int:
    if isinstance(row, PreferenceRow):
        return 2 * len(row.prompt) + len(row.chosen) + len(row.rejected)
    return _measure(row)


def _count_learned(row: Row) -> int:
    if isinstance(row, TrainingRow):
        return sum(row.learned)
    return len(row.chosen) + len(row.rejected) if isinstance(row, PreferenceRow) else len(row.reply)
