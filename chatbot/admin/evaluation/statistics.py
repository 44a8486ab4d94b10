"""How sure one may be of a difference: intervals by resampling, standard errors, and how many samples would decide.

Two models that answer the same prompts are compared prompt by prompt: what makes a prompt hard makes it hard for both
and drops out of the difference. The items are drawn anew, with replacement, some thousand times, and the spread of
what comes out is the interval: the bootstrap (Efron 1979), paired as for machine translation (Koehn 2004, "Statistical
significance tests for machine translation evaluation"). Nothing is assumed of the losses' distribution, which is
skewed, and every draw comes from a seed, so that a report says the same twice.

Rows that belong together (of one conversation, or with prompts that are alike) are no independent witnesses: they are
drawn together, as one group (the cluster bootstrap), and what counts is how many groups there are. That holds across
two series too: a conversation with good replies and bad ones is drawn with both or with neither.

The plain percentile interval is too narrow for few items; its ends are moved outwards as Hesterberg (2015, "What
teachers should know about the bootstrap", section 5.3) proposes, so that the mean of normal values gets the t interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Values = NDArray[numpy.float64]

RESAMPLES = 10_000
SEED = 20_040_725
_BLOCK = 1 << 20  # draws that are held in memory at once
_MOST = 10_000_000  # samples; to need more is never to know


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, where it lies with the asked confidence, and its standard error.

    Of fewer than two items, or of values that are not finite, nothing can be said: the interval is then without ends
    and the error infinite. Of no items there is no estimate either: it is no number.
    """

    mean: float
    low: float
    high: float
    stderr: float


@dataclass(frozen=True, slots=True)
class Series:
    """Paired differences, one a row: `values` over `weights`, such as nats over tokens, each row in its group. A long
    row weighs more than a short one; without `groups` each row is one of its own."""

    values: Sequence[float]
    weights: Sequence[float]
    groups: Sequence[str] | None = None

    def keep(self, groups: Collection[str]) -> Series:
        """The rows of these groups."""
        places = [place for place, group in enumerate(self.groups or ()) if group in groups]
        return Series(
            [self.values[place] for place in places],
            [self.weights[place] for place in places],
            [(self.groups or ())[place] for place in places],
        )


def mean_interval(
    differences: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """The mean of paired differences, one for each item."""
    ones = [1.0] * len(differences)
    return ratio_interval(differences, ones, groups, confidence=confidence, resamples=resamples, seed=seed)


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """The ratio of sums, such as nats over tokens, in which a long item weighs more than a short one.

    The groups are drawn, each with its numerator and its denominator; the standard error is that of the ratio estimator
    (Cochran 1977, "Sampling techniques", section 6.4). Raises ValueError if the lengths differ or a denominator is
    negative.
    """
    series = Series(numerators, denominators, groups)
    return contrast_interval(series, confidence=confidence, resamples=resamples, seed=seed)


def contrast_interval(
    one: Series,
    other: Series | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """The ratio of `one` less that of `other`, if there is one. A group that both have is drawn for both. Raises as
    `ratio_interval`."""
    import numpy as np

    parts = _sum_groups([series for series in (one, other) if series is not None])
    if not all(np.isfinite(part).all() for both in parts for part in both):  # the losses of a model that training broke
        return Interval(math.nan, -math.inf, math.inf, math.inf)
    counts = [int(np.count_nonzero(bottom)) for _, bottom in parts]
    if min(counts) == 0:
        return Interval(math.nan, -math.inf, math.inf, math.inf)
    means = [float(top.sum()) / float(bottom.sum()) for top, bottom in parts]
    mean = means[0] - sum(means[1:])
    if min(counts) < 2:
        return Interval(mean, -math.inf, math.inf, math.inf)
    errors = [_find_errors(*part, own) for part, own in zip(parts, means, strict=True)]
    error = float(np.linalg.norm(errors[0] - sum(errors[1:])))
    drawn = _resample(parts, resamples, seed)
    tail = _widen((1 - confidence) / 2, min(counts))
    low, high = np.quantile(drawn[np.isfinite(drawn)], [tail, 1 - tail])
    return Interval(mean, float(low), float(high), error)


def needed_samples(
    difference: float, stderr: float, n: int, *, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """How many items it would take until the interval leaves 0 out with the probability `power`, were the true
    difference the one that `n` items showed; None if that cannot be said.

    The usual sample size of a paired test, ((z₁₋α/₂ + z_power) · σ / δ)², with σ = stderr · √n (Cohen 1988).
    """
    if n < 2 or not (math.isfinite(difference) and math.isfinite(stderr)) or not difference:
        return None
    normal = NormalDist()
    wanted = normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(power)
    needed = (wanted * stderr / difference) ** 2 * n
    return max(math.ceil(needed), 2) if needed <= _MOST else None


def _find_errors(top: Values, bottom: Values, mean: float) -> Values:
    """What each group adds to the error of a ratio; the root of the sum of squares is its standard error."""
    import numpy as np

    count = np.count_nonzero(bottom)
    return (top - mean * bottom) * math.sqrt(count / (count - 1)) / float(bottom.sum())


def _sum_groups(series: Sequence[Series]) -> list[tuple[Values, Values]]:
    """Numerator and denominator of each group, of each row if there are no groups, for each of the series. A group has
    the same place in all of them, with zeros where it has no rows; one without weight in any is left out."""
    import numpy as np

    names: dict[tuple[int, int] | str, int] = {}
    found = []
    for number, one in enumerate(series):
        top, bottom = (np.asarray(values, dtype=np.float64) for values in (one.values, one.weights))
        if top.ndim != 1 or top.shape != bottom.shape:
            raise ValueError("there must be as many numerators as denominators")
        if (bottom < 0).any():
            raise ValueError("a denominator is negative")
        if one.groups is not None and len(one.groups) != len(top):
            raise ValueError("there must be as many groups as numerators")
        own = one.groups if one.groups is not None else [(number, row) for row in range(len(top))]
        found.append((np.asarray([names.setdefault(name, len(names)) for name in own], dtype=np.intp), top, bottom))
    sums = [
        [np.bincount(places, part, len(names)).astype(np.float64) for part in (top, bottom)]
        for places, top, bottom in found
    ]
    weighty = np.any([bottom != 0 for _, bottom in sums], axis=0)
    return [(top[weighty], bottom[weighty]) for top, bottom in sums]


def _resample(parts: Sequence[tuple[Values, Values]], resamples: int, seed: int) -> Values:
    """The contrast in each of `resamples` drawings of as many groups as there are; no number where none was drawn that
    has weight in one of the parts. Shape: (resamples,)."""
    import numpy as np

    generator = np.random.default_rng(seed)
    count = len(parts[0][0])
    contrasts = np.empty(resamples)
    rows = max(_BLOCK // count, 1)
    for start in range(0, resamples, rows):
        end = min(start + rows, resamples)
        drawn = generator.integers(0, count, size=(end - start, count), dtype=np.int32)
        ratios = []
        for top, bottom in parts:
            even = bool((bottom == bottom[0]).all())
            weights = bottom[0] * count if even else bottom[drawn].sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios.append(top[drawn].sum(axis=1) / weights)
        contrasts[start:end] = ratios[0] - sum(ratios[1:])
    return contrasts


def _widen(tail: float, count: int) -> float:
    """The share to cut off at each end of the resampled means, so that few items get as wide an interval as they
    deserve: Φ(t · √(n / (n − 1))), t being Student's quantile of `tail` at n − 1 degrees of freedom."""
    return NormalDist().cdf(_student_quantile(tail, count - 1) * math.sqrt(count / (count - 1)))


def _student_quantile(share: float, degrees: int) -> float:
    """Abramowitz and Stegun 26.7.5, exact in the first two cases; within 0.1 % from 5 degrees of freedom on."""
    if degrees == 1:
        return math.tan(math.pi * (share - 0.5))
    if degrees == 2:
        return (2 * share - 1) / math.sqrt(2 * share * (1 - share))
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / float(degrees**power) for power, term in enumerate(terms))
