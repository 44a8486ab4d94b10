"""Drawing tokens, beside transformers' own logits processors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from chatbot.engine.choice import Choice, read_choice, settle
from chatbot.engine.protocol import Sampling
from chatbot.engine.sampling import Sampler, find_candidates, read_logprobs
from chatbot.errors import EngineError

CHOICES = [
    Choice(temperature=0.7, top_p=0.9),
    Choice(temperature=1.0, top_p=1.0, top_k=50),
    Choice(temperature=1.3, top_p=0.8, top_k=20, min_p=0.02),
    Choice(temperature=0.2, top_p=0.95, min_p=0.1),
    Choice(temperature=5.0, top_p=0.99),  # nearly flat: the nucleus is larger than the first guess
    Choice(temperature=2.0, top_p=1.0, min_p=0.001),
    Choice(temperature=1.0, top_p=1.0),
    Choice(temperature=1.0, top_p=0.0),
    Choice(temperature=0.9, top_p=1.0, top_k=1),
    Choice(temperature=0.8, top_p=0.9, top_k=40, repetition_penalty=1.3),
]


def process_with_transformers(logits: torch.Tensor, choice: Choice, seen: list[int]) -> torch.Tensor:
    """The distribution that `generate` draws from, shape (vocabulary,)."""
    from transformers import (
        LogitsProcessorList,
        MinPLogitsWarper,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(choice.repetition_penalty)])
    processors.append(TemperatureLogitsWarper(choice.temperature))
    if choice.top_k:
        processors.append(TopKLogitsWarper(choice.top_k))
    if choice.top_p < 1.0:
        processors.append(TopPLogitsWarper(choice.top_p))
    if choice.min_p:
        processors.append(MinPLogitsWarper(choice.min_p))
    scores: torch.Tensor = processors(torch.tensor([seen]), logits[None].clone())[0]
    return scores.softmax(-1)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("size", [300, 5000])
def test_the_distribution_is_that_of_transformers(choice: Choice, size: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        logits = torch.randn(size, generator=generator) * 3
        seen = torch.randint(0, size, (40,), generator=generator).tolist()
        expected = process_with_transformers(logits, choice, seen)
        ids, probabilities = find_candidates(Sampler(choice, seen, 0)._penalize(logits), choice)
        found = torch.zeros(size).index_put((ids,), probabilities)
        # A token whose mass ends within a rounding error of the bound may fall on either side.
        assert int(((found > 0) != (expected > 0)).sum()) <= 1
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-3)


def test_drawn_tokens_follow_the_distribution() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -30.0])
    choice = Choice(temperature=1.0, top_p=1.0)
    sampler = Sampler(choice, [], 3)
    counts = torch.zeros(5)
    for _ in range(20_000):
        counts[sampler.draw(logits)] += 1
    torch.testing.assert_close(counts / 20_000, logits.softmax(-1), atol=0.015, rtol=0)


def test_a_seed_decides() -> None:
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(5))

    def draw(seed: int | None) -> list[int]:
        sampler = Sampler(Choice(temperature=1.5), [], seed)
        return [sampler.draw(logits) for _ in range(20)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(None) != draw(None)
    assert draw(-5) == draw(-5)
    assert draw((1 << 64) - 1) == draw((1 << 64) - 1)


def test_the_drawn_token_is_penalised_from_then_on() -> None:
    sampler = Sampler(Choice(temperature=0.0, repetition_penalty=2.0), [0], 0)
    logits = torch.tensor([3.0, 2.9, 2.8, 1.0])
    assert [sampler.draw(logits) for _ in range(4)] == [1, 2, 0, 0]


@pytest.mark.parametrize("temperature", [0.0, 1e-12, 1e30])
def test_extreme_temperatures_do_not_break(temperature: float) -> None:
    sampler = Sampler(Choice(temperature=temperature), [], 1)
    logits = torch.tensor([1.0, 50.0, -60.0])
    drawn = {sampler.draw(logits) for _ in range(50)}
    assert drawn == {1} if temperature < 1 else len(drawn) > 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_numbers_that_are_not_finite_are_told(value: float, temperature: float) -> None:
    with pytest.raises(EngineError, match="finite"):
        Sampler(Choice(temperature=temperature), [], 1).draw(torch.tensor([0.0, value, 1.0]))


def test_logprobs_are_those_of_the_model() -> None:
    logits = torch.tensor([1.0, 3.0, 2.0])
    logprob, top = read_logprobs(logits, 0, 2)
    assert logprob == pytest.approx(float(logits.log_softmax(-1)[0]))
    assert [token for token, _ in top] == [1, 2]
    assert read_logprobs(logits, 0, 0)[1] == []


def test_what_a_request_leaves_open_is_the_models(tmp_path: Path) -> None:
    assert read_choice(tmp_path) == Choice()
    content = {"temperature": 0.6, "top_k": 20, "top_p": "high", "repetition_penalty": 1.05, "min_p": None}
    (tmp_path / "generation_config.json").write_text(json.dumps(content))
    model = read_choice(tmp_path)
    assert model == Choice(temperature=0.6, top_k=20, repetition_penalty=1.05)
    asked = settle(Sampling(temperature=0.0, top_k=0), model)
    assert (asked.temperature, asked.top_k, asked.repetition_penalty) == (0.0, 0, 1.05)
    (tmp_path / "generation_config.json").write_text("[")
    assert read_choice(tmp_path) == Choice()
