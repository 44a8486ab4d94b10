"""How a run trains: one frozen value, kept as JSON beside the run.

The defaults are meant to be left alone, from 135M parameters on two cores to 8B on a GPU:

- LoRA on every linear layer with rank 16 (Biderman et al. 2024, "LoRA Learns Less and Forgets Less": all layers matter
  more than rank), without dropout, without weight decay: a few hundred rows, a few epochs, and a held-out part that
  stops the run are what guard against overfitting.
- rsLoRA (Kalajdzievski 2023) scales by alpha/√rank, so that another rank needs no other learning rate. That holds only
  if alpha stays as it is: with alpha = rank / 2 the steps of rank 64 would be twice those of rank 16. Alpha 8 at rank
  16 is a factor of 2, what classic LoRA calls alpha 32.
- The learning rate falls with the size of the model: 2e-4 at 8B, where QLoRA (Dettmers et al. 2023) uses it, and 1e-3
  at 135M, where a trial taught a new name in 4 epochs; between them it follows (8B / parameters)^0.4. Preferences
  take a tenth at 8B, since DPO and KTO only lean on what the model can already say, and soon break it; a small model
  holds more and needs more: 1e-4 and one epoch did not move 135M, 3e-4 and two moved its held-out margin. Hence 0.65.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from chatbot.errors import LearningError
from chatbot.text import printable_line

Method = Literal["sft", "dpo", "kto"]
BaseDtype = Literal["auto", "float32", "bfloat16", "float16"]

LEAST_LENGTH = 16
"""Tokens of a row; nothing shorter makes sense as a limit."""
_LARGE = 8e9  # parameters
_RATES: dict[Method, float] = {"sft": 2e-4, "dpo": 2e-5, "kto": 2e-5}
_GROWTH: dict[Method, tuple[float, float]] = {"sft": (0.4, 5.2), "dpo": (0.65, 14.0), "kto": (0.65, 14.0)}
"""The exponent by which the rate grows as the model shrinks, and the most that comes of it."""
_EPOCHS: dict[Method, float] = {"sft": 4.0, "dpo": 2.0, "kto": 2.0}
_OPTIONS = {
    "rank": "--rank", "learning_rate": "--learning-rate", "epochs": "--epochs", "patience": "--patience",
    "seed": "--seed", "max_length": "--max-tokens",
}  # fmt: skip
"""What the command line calls a setting."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Zeros mean "by the method and the size of the model and data"; `resolve` fills them in."""

    method: Method = "sft"
    rank: int = 16
    alpha: int = 8
    rslora: bool = True
    dropout: float = 0.0
    learning_rate: float = 0.0
    epochs: float = 0.0
    batch_tokens: int = 1024
    """SFT: tokens of a packed row, one forward pass. Rows are laid end to end up to it."""
    batch_rows: int = 4
    """DPO: pairs, KTO: replies in one forward pass (KTO compares within it, so at least 2)."""
    accumulation: int = 1
    """Forward passes a step, over all processes together."""
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises; then it falls along a cosine."""
    weight_decay: float = 0.0
    clip: float = 1.0
    """Largest norm of the gradient."""
    beta: float = 0.1
    """DPO and KTO: how strongly the reference model holds."""
    max_length: int = 0
    """Longer rows are left out, and counted: a cut reply would teach the model to stop in the middle. 0 is the length
    that the dataset was built with."""
    seed: int = 0
    evaluate_every: int = 0
    """Steps between looks at the held-out part."""
    held_out_rows: int = 200
    """At most so many held-out rows are looked at during training, from all of its groups."""
    patience: int = 3
    """Looks without improvement after which the run stops; 0 never stops early."""
    samples: int = 1
    """Replies shown at each look."""
    sample_tokens: int = 32
    checkpoint_every: int = 0
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    base_dtype: BaseDtype = "auto"
    """Of the frozen weights; the adapter is always float32. On a CPU only float32 is exact to the bit."""
    quantize: bool = False
    """QLoRA: frozen weights in 4 bits. Needs CUDA and bitsandbytes."""
    recompute: bool = False
    """Gradient checkpointing: less memory, a third more time."""
    threads: int = 0
    """Compute threads on a CPU; 0 for each core that this process may use. The bits of a run depend on it."""

    def __post_init__(self) -> None:
        """Raises LearningError naming the setting that makes no sense."""
        least = {
            "rank": 1, "alpha": 1, "batch_tokens": 16, "batch_rows": 2 if self.method == "kto" else 1,
            "accumulation": 1, "max_length": LEAST_LENGTH if self.max_length else 0, "held_out_rows": 1,
            "sample_tokens": 1, "keep_checkpoints": 1,
        }  # fmt: skip
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and not least.get(name, 0) <= value < 2**31:
                option = _OPTIONS.get(name)
                raise LearningError(
                    f"{name} = {value} makes no sense in a training configuration.",
                    hint=f"Give {option} another number." if option else "",
                )
        if self.method not in get_args(Method) or self.base_dtype not in get_args(BaseDtype):
            raise LearningError(printable_line(f"There is no method {self.method} with {self.base_dtype}.", 200))
        if self.dropout >= 1 or self.warmup > 1:
            raise LearningError("dropout and warmup are shares, below 1.")

    def resolve(self, *, parameters: int) -> TrainingConfig:
        """With the learning rate and epochs that suit a model of so many `parameters`."""
        exponent, highest = _GROWTH[self.method]
        factor = min((_LARGE / max(parameters, 1)) ** exponent, highest)
        return replace(
            self,
            learning_rate=self.learning_rate or float(f"{_RATES[self.method] * factor:.1e}"),
            epochs=self.epochs or _EPOCHS[self.method],
        )

    def space(self, steps: int) -> TrainingConfig:
        """With the intervals that suit a run of so many `steps`: about five looks, a checkpoint with each."""
        every = max(1, round(steps / 5))
        return replace(
            self,
            evaluate_every=self.evaluate_every or every,
            checkpoint_every=self.checkpoint_every or min(every, 50),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> TrainingConfig:
        """Raises LearningError if `text` is no configuration of this version."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        return cls.from_fields(content)

    @classmethod
    def from_fields(cls, content: Any) -> TrainingConfig:
        """The same from an object that was read already."""
        known = {field.name: field for field in fields(cls)}
        if not isinstance(content, dict) or not set(content) <= set(known):
            raise LearningError("The training configuration cannot be read: it is of another version or damaged.")
        for name, value in content.items():
            default = known[name].default
            wanted: type | tuple[type, ...] = (int, float) if isinstance(default, float) else type(default)
            if not isinstance(value, wanted) or (isinstance(value, bool) and not isinstance(default, bool)):
                raise LearningError(f"The training configuration cannot be read: {name} is of the wrong kind.")
        return cls(**content)
