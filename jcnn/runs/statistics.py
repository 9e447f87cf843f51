"""How far figures spread: intervals of shares and of means, and differences beyond chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Figures of several runs of one experiment.

    Attributes:
        count: How many.
        mean: Their mean.
        deviation: Their standard deviation, with n - 1; None of one figure, NaN where one is
            infinite.
        low: Lower end of Student's 95 % interval of the mean, cut off at what figures can't leave;
            None of one figure, and where one is infinite.
        high: Its upper end.
        least: The smallest.
        largest: The largest.
    """

    count: int
    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    least: float
    largest: float


def spread(values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)) -> Spread:
    """Measure how far figures spread.

    Args:
        values: One figure at least.
        within: What no figure can be below or above, and so no mean: the interval ends there.

    >>> found = spread([4.0, 6.0])
    >>> found.mean, round(found.deviation, 3), round(found.low, 2), round(found.high, 2)
    (5.0, 1.414, -7.71, 17.71)
    >>> spread([4.0, 6.0], within=(0.0, 100.0)).low
    0.0
    """
    from scipy.stats import t

    mean = statistics.fmean(values)
    if len(values) < 2:
        return Spread(len(values), mean, None, None, None, min(values), max(values))
    if not all(map(math.isfinite, values)):
        return Spread(len(values), mean, math.nan, None, None, min(values), max(values))
    deviation = statistics.stdev(values)
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    ends = max(mean - reach, within[0]), min(mean + reach, within[1])
    return Spread(len(values), mean, deviation, *ends, min(values), max(values))


def share_interval(correct: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    >>> [round(end, 3) for end in share_interval(90, 100)]
    [0.826, 0.945]
    """
    from scipy.stats import binomtest

    ends = binomtest(correct, count).proportion_ci(CONFIDENCE, method="wilson")
    return float(ends.low), float(ends.high)


def chance(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return how probable means at least so far apart are by chance: Welch's test, two-sided.

    Args:
        first: At least two figures.
        second: Likewise.

    Returns:
        The probability; None of two means that differ where neither has a spread to compare with.

    >>> round(chance([0.90, 0.91, 0.92], [0.95, 0.96, 0.97]), 4)
    0.0036
    >>> chance([0.9, 0.9], [0.9, 0.9])
    1.0
    >>> chance([1.0, 1.0], [0.9, 0.9]) is None
    True
    """
    from scipy.stats import ttest_ind_from_stats

    if len(set(first)) == len(set(second)) == 1:
        return 1.0 if first[0] == second[0] else None
    figures = [(statistics.fmean(own), statistics.stdev(own), len(own)) for own in (first, second)]
    # from the figures' statistics, since ttest_ind warns of a group that has no spread
    return float(np.asarray(ttest_ind_from_stats(*figures[0], *figures[1], equal_var=False))[1])


def holm(chances: Sequence[float | None]) -> list[float | None]:
    """Correct the chances of several comparisons, so that all of them together err in 5 %.

    Where a chance is None nothing was tested: it stays so, and counts for nothing.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    >>> holm([None, 0.01])
    [None, 0.01]
    """
    corrected: list[float | None] = [None] * len(chances)
    tested = sorted((p, k) for k, p in enumerate(chances) if p is not None)
    largest = 0.0
    for rank, (p, k) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        corrected[k] = largest
    return corrected
