"""Sampling as conversations keep it: what an import may have put there does no harm."""

from __future__ import annotations

from typing import Any

import pytest

from chatbot.dialogue.sampling import read_sampling
from chatbot.engine.protocol import Sampling


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"temperature": 0, "top_p": 0.5, "seed": 7, "stop": ["a"]}, Sampling(0, 0.5, seed=7, stop=("a",))),
        ({"foo": 1, "top_k": 5}, Sampling(top_k=5)),
        ({"stop": 5, "top_k": "5", "min_p": None, "seed": True, "max_tokens": 1.5}, Sampling()),
        ({"stop": ["a", 1]}, Sampling()),
        ({"stop": ["a", ""]}, Sampling()),
        ({"temperature": float("nan"), "top_k": 10**400, "top_p": -0.1, "max_tokens": [1]}, Sampling()),
    ],
)
def test_only_what_a_sampling_can_be_made_of_is_kept(values: dict[str, Any], kept: Sampling) -> None:
    assert Sampling(**read_sampling(values)) == kept
