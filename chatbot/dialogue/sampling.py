"""Sampling as a mapping: how conversations keep it, and what of such a mapping can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatbot.engine.protocol import SAMPLING_BOUNDS


def read_sampling(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that a Sampling can be made of; `stop` becomes a tuple. An import may hold anything."""
    found = {name: value for name, value in values.items() if name in SAMPLING_BOUNDS and _is_allowed(name, value)}
    stop = values.get("stop")
    if isinstance(stop, list | tuple) and stop and all(isinstance(text, str) and text for text in stop):
        found["stop"] = tuple(stop)
    return found


def _is_allowed(name: str, value: object) -> bool:
    low, high = SAMPLING_BOUNDS[name]
    wanted = int if isinstance(low, int) else int | float  # a count has whole bounds
    return isinstance(value, wanted) and not isinstance(value, bool) and low <= value <= high
