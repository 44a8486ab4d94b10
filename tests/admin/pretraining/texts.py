"""Small streams of tokens and loops over them, for the tests of pretraining."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chatbot.admin.pretraining.architecture import Architecture
from chatbot.admin.pretraining.config import PretrainingConfig
from chatbot.admin.training.events import Event
from chatbot.admin.training.stopping import StopRequest

TINY = Architecture(layers=2, width=32, heads=2, kv_heads=1, hidden=48, context=32)
WORDS = 40


@dataclass(frozen=True)
class Stream:
    """Tokens in memory."""

    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def window(self, start: int, length: int) -> np.ndarray:
        found = self.ids[start : start + length]
        assert len(found) == length, "read beyond the end"
        return found


def make_stream(length: int, seed: int = 0) -> Stream:
    """A language with something to learn: each token mostly decides the next one."""
    numbers = np.random.default_rng(seed)
    ids = [0]
    for _ in range(length - 1):
        ids.append(int(numbers.integers(WORDS)) if numbers.random() < 0.1 else (3 * ids[-1] + 1) % WORDS)
    return Stream(np.array(ids, dtype=np.int64))


def make_config(**changes: Any) -> PretrainingConfig:
    values: dict[str, Any] = {
        "tokens": 12 * 4 * 16, "length": 16, "rows": 4, "pass_rows": 4, "learning_rate": 4e-3, "matrix_rate": 0.02,
        "architecture": TINY, "looks": 3, "threads": 1,
    }  # fmt: skip
    return PretrainingConfig(**values | changes)


def make_loop(
    config: PretrainingConfig,
    folder: Path,
    report: Callable[[Event], None] = lambda _: None,
    stop: StopRequest | None = None,
) -> Any:
    from chatbot.admin.pretraining.loop import Loop, Texts
    from chatbot.admin.pretraining.network import make_model

    texts = Texts(make_stream(2000), make_stream(300, seed=1), 600)
    model = make_model(config, WORDS, 0)
    return Loop(config, model, texts, folder, report, stop or StopRequest(folder), lambda _model, step: ("", f"{step}"))
