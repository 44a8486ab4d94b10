"""Intervals contain what they promise to contain, for values whose distribution is known."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from chatbot.admin.evaluation.statistics import (
    Interval,
    Series,
    contrast_interval,
    mean_interval,
    needed_samples,
    ratio_interval,
)


def test_the_same_values_give_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(1).normal(size=50).tolist()
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


@pytest.mark.parametrize("count", [8, 40])
def test_the_interval_of_a_mean_contains_the_truth_as_often_as_it_says(count: int) -> None:
    generator = np.random.default_rng(7)
    hits = 0
    for seed in range(300):
        found = mean_interval(generator.normal(0.3, 1, count).tolist(), resamples=1000, seed=seed)
        hits += found.low <= 0.3 <= found.high
    assert 0.91 <= hits / 300 <= 0.98


def test_the_interval_of_a_ratio_contains_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(8)
    hits, errors, estimates = 0, [], []
    for seed in range(300):
        tokens = generator.integers(5, 60, 40)
        found = ratio_interval(
            (tokens * generator.normal(-0.1, 0.3, 40)).tolist(), tokens.tolist(), resamples=1000, seed=seed
        )
        hits += found.low <= -0.1 <= found.high
        errors.append(found.stderr)
        estimates.append(found.mean)
    assert 0.91 <= hits / 300 <= 0.98
    assert float(np.mean(errors)) == pytest.approx(float(np.std(estimates)), rel=0.15)


def test_a_ratio_weighs_long_items_more_than_short_ones() -> None:
    found = ratio_interval([10.0, 0.0], [90.0, 10.0])
    assert found.mean == pytest.approx(0.1)
    assert mean_interval([10 / 90, 0.0]).mean == pytest.approx(1 / 18)


def test_a_ratio_over_equal_weights_is_the_mean() -> None:
    values = np.random.default_rng(2).normal(size=30).tolist()
    mean, ratio = mean_interval(values), ratio_interval([7 * value for value in values], [7.0] * 30)
    for own, other in zip(
        (mean.mean, mean.low, mean.high, mean.stderr), (ratio.mean, ratio.low, ratio.high, ratio.stderr), strict=True
    ):
        assert own == pytest.approx(other)
    assert mean.stderr == pytest.approx(np.std(values, ddof=1) / math.sqrt(30))


def test_equal_models_differ_by_nothing() -> None:
    assert mean_interval([0.0] * 20) == Interval(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("values", [[], [0.5], [0.1, math.nan, 0.2], [0.1, math.inf, 0.2]])
def test_too_few_values_or_broken_ones_say_nothing(values: list[float]) -> None:
    found = mean_interval(values)
    assert (found.low, found.high, found.stderr) == (-math.inf, math.inf, math.inf)


def test_items_without_tokens_do_not_count() -> None:
    assert ratio_interval([3.0, 0.0], [2.0, 0.0]).high == math.inf
    assert math.isfinite(ratio_interval([3.0, 1.0, 0.0], [2.0, 1.0, 0.0]).high)
    assert math.isnan(ratio_interval([0.0, 0.0], [0.0, 0.0]).mean), "of nothing there is no estimate"


def test_nonsense_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="as many"):
        ratio_interval([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="negative"):
        ratio_interval([1.0, 2.0], [1.0, -2.0])


def test_ten_thousand_resamples_of_a_suite_are_quick() -> None:
    values = np.random.default_rng(3).normal(size=300).tolist()
    begun = time.process_time()
    mean_interval(values)
    assert time.process_time() - begun < 1.5


def test_with_the_needed_samples_four_of_five_evaluations_decide() -> None:
    first = mean_interval(np.random.default_rng(4).normal(0.2, 1, 40).tolist())
    spread, difference = first.stderr * math.sqrt(40), 0.2
    needed = needed_samples(difference, first.stderr, 40)
    assert needed is not None
    assert needed == pytest.approx((2.8016 * spread / difference) ** 2, rel=0.01)
    generator = np.random.default_rng(5)
    decided = sum(
        mean_interval(generator.normal(difference, spread, needed).tolist(), resamples=500, seed=seed).low > 0
        for seed in range(200)
    )
    assert 0.7 <= decided / 200 <= 0.9


def test_an_undecided_difference_always_needs_more_than_it_had() -> None:
    for count in (10, 100):
        assert (needed_samples(-0.19, 0.1, count) or 0) > 2 * count


@pytest.mark.parametrize(
    ("difference", "stderr", "count"),
    [(0.0, 0.1, 50), (0.1, math.inf, 50), (math.nan, 0.1, 50), (0.1, 0.1, 1), (1e-9, 1.0, 50)],
)
def test_what_cannot_be_said_is_not_said(difference: float, stderr: float, count: int) -> None:
    assert needed_samples(difference, stderr, count) is None


def test_rows_of_one_group_are_one_witness() -> None:
    """Each said ten times, twelve values are no surer than once."""
    values = np.random.default_rng(6).normal(0.3, 1, 12)
    groups = [str(number) for number in range(12)]
    once = mean_interval(values.tolist(), groups)
    often = mean_interval(np.repeat(values, 10).tolist(), np.repeat(groups, 10).tolist())
    blind = mean_interval(np.repeat(values, 10).tolist())
    for name in ("mean", "low", "high", "stderr"):
        assert getattr(often, name) == pytest.approx(getattr(once, name))
    assert blind.stderr < 0.4 * often.stderr
    assert blind.high - blind.low < 0.5 * (often.high - often.low)
    assert mean_interval([0.5] * 40, ["one"] * 40).high == math.inf


def test_a_contrast_is_as_sure_as_both_of_its_parts() -> None:
    generator = np.random.default_rng(9)
    hits = 0
    for seed in range(200):
        good, bad = generator.normal(1.0, 1, 25), generator.normal(0.4, 2, 10)
        found = contrast_interval(
            Series(good.tolist(), [1.0] * 25), Series(bad.tolist(), [1.0] * 10), resamples=1000, seed=seed
        )
        assert found.mean == pytest.approx(good.mean() - bad.mean())
        hits += found.low <= 0.6 <= found.high
    assert 0.9 <= hits / 200 <= 0.99
    assert contrast_interval(Series([1.0, 2.0], [1.0, 1.0]), Series([1.0], [1.0])).high == math.inf


def test_groups_that_both_parts_have_are_drawn_for_both() -> None:
    """Where what helps the one harms the other, the difference is less sure than if both were drawn by themselves."""
    generator = np.random.default_rng(10)
    hits, errors, estimates = 0, [], []
    for seed in range(200):
        common, noise = generator.normal(0, 1, 30), generator.normal(0, 0.2, (2, 30))
        groups = [str(number) for number in range(30)]
        good = Series((0.5 + common + noise[0]).tolist(), [1.0] * 30, groups)
        bad = Series((noise[1] - common).tolist()[::-1], [1.0] * 30, groups[::-1])
        found = contrast_interval(good, bad, resamples=1000, seed=seed)
        hits += found.low <= 0.5 <= found.high
        errors.append(found.stderr)
        estimates.append(found.mean)
    assert 0.91 <= hits / 200 <= 0.99
    assert float(np.mean(errors)) == pytest.approx(float(np.std(estimates)), rel=0.15)


def test_what_is_the_same_in_both_parts_is_no_difference() -> None:
    groups = ["a", "b", "c", "d", "d"]
    one = Series([1.0, 5.0, 2.0, 4.0, 0.5], [1.0, 2.0, 1.0, 3.0, 1.0], groups)
    found = contrast_interval(one, one)
    assert (found.mean, found.low, found.high, found.stderr) == pytest.approx((0.0, 0.0, 0.0, 0.0))


def test_of_no_rows_there_is_no_estimate() -> None:
    some, none = Series([1.0, 2.0, 4.0], [1.0] * 3, ["a", "b", "c"]), Series([], [], [])
    for found in (contrast_interval(some, none), contrast_interval(none, some), contrast_interval(none)):
        assert math.isnan(found.mean)
        assert (found.low, found.high, found.stderr) == (-math.inf, math.inf, math.inf)


def test_a_part_of_few_groups_leaves_an_interval_with_ends() -> None:
    """In some drawings there is none of them."""
    groups = [str(number) for number in range(40)]
    most = Series([0.1 * math.sin(number) for number in range(40)], [1.0] * 40, groups)
    found = contrast_interval(most, Series([2.0, 2.5], [1.0, 1.0], ["3", "9"]))
    assert math.isfinite(found.low)
    assert found.high < -1.5


def test_a_series_keeps_the_rows_of_some_groups() -> None:
    series = Series([1.0, 2.0, 3.0], [1.0, 2.0, 1.0], ["a", "b", "a"])
    assert series.keep({"a"}) == Series([1.0, 3.0], [1.0, 1.0], ["a", "a"])
    with pytest.raises(ValueError, match="groups"):
        mean_interval([1.0, 2.0], ["a"])
