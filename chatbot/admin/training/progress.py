"""Where a run is: what it keeps beside weights and random numbers, the order of its rows, its pace."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler

from chatbot.admin.training.config import TrainingConfig
from chatbot.admin.training.events import Data, Event, HeldOut
from chatbot.admin.training.stopping import StopRequest


@dataclass(slots=True)
class Progress:
    """What of a run is neither weights nor random numbers; it is kept in each checkpoint."""

    config: TrainingConfig
    steps: int
    folder: Path
    report: Callable[[Event], None]
    stop: StopRequest
    generate: Callable[[Any, int], tuple[str, str]]
    """Answers the held-out prompt of a number with a model: (prompt, reply)."""
    data: Data | None = None
    """What it trains on, to be told at the beginning."""
    pieces: int = 1
    """Into so many parts each forward pass is cut, since memory ran out."""
    looks: list[HeldOut] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    stopped: str = ""

    @property
    def best_look(self) -> HeldOut | None:
        """The look with the lowest loss once training began; one that is no number is none."""
        looks = (look for look in self.looks if look.step and math.isfinite(look.loss))
        return min(looks, key=lambda look: look.loss, default=None)

    def has_stalled(self) -> bool:
        """Whether the last `patience` looks brought nothing better."""
        best = self.best_look
        since = sum(look.step > best.step for look in self.looks) if best else 0
        return bool(self.config.patience) and since >= self.config.patience


class EpochOrder(Sampler[int]):  # type: ignore[misc]
    """The order of an epoch's rows: from the seed and the number of the epoch alone, whatever happened before."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(self.size, generator=generator).tolist()


class Clock:
    """Tokens per second over the last steps, looks not counted, and the time that is left."""

    def __init__(self) -> None:
        self.tokens = 0
        self._steps: deque[tuple[int, float]] = deque(maxlen=20)
        self._counted = 0
        self._start: float | None = None
        self._spent = 0.0
        self._began: float | None = None
        self._done = 0

    def add(self, tokens: int) -> None:
        self.tokens += tokens
        self._counted += tokens

    def pause(self) -> None:
        if self._start is not None:
            self._spent += time.monotonic() - self._start
            self._start = None

    def go_on(self) -> None:
        if self._start is None:
            self._start = time.monotonic()
            self._began = self._began or self._start

    def read(self, left: int) -> tuple[float, float]:
        """Ends a step: (tokens a second, seconds left for `left` more steps, looks included)."""
        self.pause()
        self._done += 1
        self._steps.append((self._counted, self._spent))
        self._counted, self._spent = 0, 0.0
        seconds = sum(spent for _, spent in self._steps)
        rate = sum(tokens for tokens, _ in self._steps) / max(seconds, 1e-9)
        return rate, (time.monotonic() - (self._began or 0.0)) / self._done * left


def count_tokens(inputs: dict[str, Any]) -> int:
    """Those of a batch, padding not counted."""
    mask = inputs.get("attention_mask")
    return int(inputs["input_ids"].numel() if mask is None else mask.sum())
