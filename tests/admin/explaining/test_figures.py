"""The numbers of an explanation are those of a computation by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from chatbot.admin.explaining.figures import find_neighbours, find_next, measure_entropy, soften, sum_up_heads


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def test_neighbours_are_really_the_nearest() -> None:
    embedding = torch.randn(40, 8, generator=torch.Generator().manual_seed(1))
    rows = embedding.tolist()
    found = find_neighbours(embedding, [3, 7, 3], count=5, without=[0, 1])
    assert list(found) == [3, 7]
    for number, near in found.items():
        naive = sorted(
            ((cosine(rows[number], rows[other]), other) for other in range(2, 40) if other != number), reverse=True
        )[:5]
        assert [one.id for one in near] == [other for _, other in naive]
        assert [one.cosine for one in near] == pytest.approx([value for value, _ in naive], abs=1e-5)


def test_rows_that_are_no_tokens_are_nobody_s_neighbours() -> None:
    embedding = torch.ones(6, 4)
    embedding[2] = 0
    found = find_neighbours(embedding, [0], count=10, without=[1, 99], size=5)
    assert {one.id for one in found[0]} == {3, 4}
    assert all(one.cosine <= 1.0 for one in found[0])
    assert find_neighbours(embedding, [2], count=2)[2]  # of nothing, all are as far; but none is no number
    assert not any(math.isnan(one.cosine) for one in find_neighbours(embedding, [2])[2])


def test_what_a_head_attends_to_adds_up() -> None:
    one = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.2, 0.3, 0.5, 0], [0.1, 0.4, 0.3, 0.2]])
    head = sum_up_heads({3: one[None]})[3][0]
    # The first two tokens have no three different ones to look at.
    assert head.first == pytest.approx((0.2 + 0.1) / 2)
    assert head.previous == pytest.approx((0.3 + 0.3) / 2)
    assert head.itself == pytest.approx((0.5 + 0.2) / 2)
    assert head.elsewhere == pytest.approx(0.4 / 2)
    assert head.habit == ("itself", head.itself)
    for size in (1, 2):
        short = sum_up_heads({0: one[None, :size, :size]})[0][0]
        assert short.first + short.previous + short.itself == pytest.approx(1)


def test_the_next_token_is_a_softmax() -> None:
    logits = np.array([1.0, 3.0, 3.0, -2.0, 0.0], dtype=np.float32)
    powers = [math.exp(value) for value in logits.tolist()]
    found = find_next(logits, count=3, temperature=2.0)
    assert [one.id for one in found.candidates] == [1, 2, 0]
    assert [one.probability for one in found.candidates] == pytest.approx([powers[n] / sum(powers) for n in (1, 2, 0)])
    softer = [math.exp(value / 2) for value in logits.tolist()]
    assert [one.tempered for one in found.candidates] == pytest.approx([softer[n] / sum(softer) for n in (1, 2, 0)])
    assert found.tempered_entropy > found.entropy
    assert found.entropy == pytest.approx(-sum(p / sum(powers) * math.log2(p / sum(powers)) for p in powers))


def test_temperature_zero_takes_the_most_probable() -> None:
    logits = np.array([1.0, 2.0, 2.0])
    assert soften(logits, 0.0).tolist() == [0, 1, 0]
    assert find_next(logits, temperature=0.0).tempered_entropy == 0
    assert soften(logits * 1e6, 1e-6).tolist() == pytest.approx([0, 0.5, 0.5])  # no overflow
    assert soften(logits, 1e-310).tolist() == pytest.approx([0, 0.5, 0.5])
    assert measure_entropy(np.full(8, 1 / 8)) == pytest.approx(3)
