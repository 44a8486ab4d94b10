"""With which numbers a token is drawn, none of them left open.

A request sets some and leaves the rest to the model. The engine settles them before it draws, and the dialogue writes
the same numbers down with the reply: a judgement must still tell how a reply was drawn when the defaults have changed.
Hence this stands apart from the drawing, which needs torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatbot.engine.protocol import Sampling


@dataclass(frozen=True, slots=True)
class Choice:
    """Every number that drawing needs, none left open. Neutral values switch a step off."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


def read_choice(folder: Path) -> Choice:
    """The model's own recommendation: what its generation_config.json says, our defaults for what it does not."""
    try:
        content = json.loads((folder / "generation_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return Choice()
    if not isinstance(content, dict):
        return Choice()

    def read(name: str, low: float, high: float) -> dict[str, Any]:
        value = content.get(name)
        usable = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return {name: value} if usable else {}

    return Choice(
        **read("temperature", 0.0, 100.0),
        **read("top_p", 0.0, 1.0),
        **{name: int(value) for name, value in read("top_k", 0, 1 << 20).items()},
        **read("min_p", 0.0, 1.0),
        **read("repetition_penalty", 0.01, 100.0),
    )


def settle(sampling: Sampling, defaults: Choice) -> Choice:
    """`sampling` with what it leaves open taken from `defaults`."""

    def pick(asked: float | None, default: float) -> float:
        return default if asked is None else asked

    return Choice(
        temperature=pick(sampling.temperature, defaults.temperature),
        top_p=pick(sampling.top_p, defaults.top_p),
        top_k=int(pick(sampling.top_k, defaults.top_k)),
        min_p=pick(sampling.min_p, defaults.min_p),
        repetition_penalty=pick(sampling.repetition_penalty, defaults.repetition_penalty),
    )
