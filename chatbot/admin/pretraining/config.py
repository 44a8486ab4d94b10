"""How a pretraining goes: one frozen value, kept as JSON beside the run.

The defaults are meant to be left alone:

- From nothing, Muon trains the matrices and AdamW the rest (see `muon`); a model that is read on keeps to AdamW, which
  most models were trained with, at a rate low enough that it does not forget: 5e-5 for all weights, 5e-4 for LoRA.
- AdamW's rate from nothing falls with the square root of the width, from 4e-3 at 128. Muon's needs no such rule: its
  steps have the same size whatever the gradient's.
- The rate rises over the first 2 % of the steps and falls along a cosine to nothing, because what a step shakes loose
  at the end is not mended any more (Hägele et al. 2024, arXiv:2405.18392).
- A batch holds a two-thousandth of all tokens, since very small models learn from many small steps; for large ones
  that is about the half a million tokens that is usual.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from chatbot.admin.pretraining.architecture import Architecture
from chatbot.errors import InvalidInput, LearningError

Optimizer = Literal["muon", "adamw"]
Dtype = Literal["float32", "bfloat16"]
_STEPS = 2000
_MOST_BATCH = 1 << 19  # tokens


@dataclass(frozen=True, slots=True)
class PretrainingConfig:
    """`architecture` is None where a model is read on."""

    tokens: int
    """To train on, all in all; a text that has fewer is read several times."""
    length: int
    """Of a window, in tokens."""
    rows: int
    """Windows a step, over all processes."""
    pass_rows: int
    """Windows in one forward pass of one process."""
    learning_rate: float
    """Of AdamW."""
    matrix_rate: float
    """Of Muon."""
    optimizer: Optimizer = "muon"
    architecture: Architecture | None = None
    lora_rank: int = 0
    """0 trains all weights."""
    warmup: float = 0.02
    """Share of the steps."""
    floor: float = 0.0
    """What is left of the rate at the end."""
    clip: float = 1.0
    weight_decay: float = 0.0
    seed: int = 0
    dtype: Dtype = "float32"
    """Of the arithmetic; weights and optimizer are float32 always."""
    compile: bool = False
    """Whether torch compiles the model; where it cannot, it trains as it is."""
    looks: int = 10
    """At the held-out part, before the first step and after the last not counted."""
    held_out_tokens: int = 1 << 16
    """In a look; at the end all are read as well."""
    checkpoint_every: int = 0
    """Steps between two checkpoints, settled once, so that a resumed run writes them on the same; 0 makes ten."""
    keep_checkpoints: int = 2
    threads: int = 0

    def __post_init__(self) -> None:
        """Raises LearningError naming the setting that makes no sense."""
        for name in ("tokens", "length", "rows", "pass_rows", "held_out_tokens", "keep_checkpoints"):
            self._check(name, 1 <= getattr(self, name) < 1 << 50)
        for name in ("lora_rank", "looks", "threads", "checkpoint_every"):
            self._check(name, 0 <= getattr(self, name) < 1 << 50)
        for name in ("learning_rate", "matrix_rate", "clip", "weight_decay"):
            self._check(name, 0 <= getattr(self, name) < 1e6)
        self._check("seed", 0 <= self.seed < 1 << 63)
        self._check("optimizer", self.optimizer in get_args(Optimizer))
        self._check("dtype", self.dtype in get_args(Dtype))
        if not (0 <= self.warmup < 1 and 0 <= self.floor <= 1):
            raise LearningError("warmup and floor are shares.")

    def _check(self, name: str, fits: bool) -> None:
        if not fits:
            raise LearningError(f"{name} = {getattr(self, name)} makes no sense for a pretraining.")

    @property
    def steps(self) -> int:
        return max(1, self.tokens // (self.rows * self.length))

    def scale_rate(self, step: int) -> float:
        """The share of the highest rate in a step, the first of which is 0."""
        import math

        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return (step + 1) / rising
        done = (step - rising) / max(1, self.steps - rising)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))

    def describe(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_fields(cls, content: Any) -> PretrainingConfig:
        """The reverse of `describe`. Raises LearningError."""
        known = {field.name for field in fields(cls)}
        if not isinstance(content, dict) or set(content) - known:
            raise LearningError("The configuration of the pretraining is of another version or damaged.")
        values = dict(content)
        try:
            if values.get("architecture") is not None:
                values["architecture"] = Architecture(**values["architecture"]).check()
            return cls(**values)
        except (TypeError, InvalidInput) as error:
            raise LearningError(f"The configuration of the pretraining is damaged: {error}.") from None


def choose_rows(tokens: int, length: int, processes: int = 1) -> int:
    """Windows a step for a run of so many `tokens`, a multiple of `processes`."""
    batch = min(max(tokens // _STEPS, length), _MOST_BATCH)
    rows = max(1, round(batch / length))
    return -(-rows // processes) * processes


def choose_rate(width: int) -> float:
    """AdamW's rate from nothing."""
    return float(f"{4e-3 * (128 / width) ** 0.5:.1e}")


def parse_amount(text: str) -> float:
    """20M, 1.5B, 300k or a plain number. Raises InvalidInput."""
    factors = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}
    number, unit = (text[:-1], text[-1].lower()) if text and text[-1].lower() in factors else (text, "")
    try:
        value = float(number) * factors.get(unit, 1.0)
    except ValueError:
        value = 0.0
    if not 1 <= value < 1e15:
        raise InvalidInput(f"{text!r} is no number of tokens.", hint="Such as 300k, 20M or 1.5B.")
    return value


def parse_budget(text: str) -> float:
    """Seconds of 45s, 10m, 1.5h or 2d. Raises InvalidInput."""
    factors = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    try:
        value = float(text[:-1]) * factors[text[-1:].lower()]
    except (ValueError, KeyError):
        value = 0.0
    if not 1 <= value < 1e9:
        raise InvalidInput(f"{text!r} is no time.", hint="Such as 45s, 10m, 1.5h or 2d.")
    return value
