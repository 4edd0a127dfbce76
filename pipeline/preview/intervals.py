"""Intervals of 95 % for what a sample says of a whole archive.

A sample is n of N members, one at random of each of n strata of equal size. Between strata the
members differ more than within them, if at all, so intervals for a simple random sample without
replacement cover at least as much (Cochran, Sampling Techniques, 3rd ed. 1977, 5.6; for proportions
Hoeffding, Annals of Mathematical Statistics 27, 1956, 713).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from statistics import NormalDist

CONFIDENCE = 0.95
"""Share of samples whose interval holds the truth."""

_TAIL = (1 - CONFIDENCE) / 2


def of_total(values: Sequence[float], members: int) -> tuple[float, float, float]:
    """The total of a quantity over an archive: estimate, lower and upper bound.

    The mean's interval by Student's t, with Hall's transformation for skewness (Journal of the
    Royal Statistical Society B 54, 1992, 221): a few photographs of crowds have many of the faces.
    Its two coefficients are those of a finite population: of the mean of n of N values, f = n / N,
    the third cumulant is (1 - f) (1 - 2f) m3 / n², and the covariance with the sample's variance
    (1 - f) m3 / n.

    Where all of the sample is alike, nothing is known of how others differ; then as many as can
    have been missed are taken to have nothing, or twice as much, and at least 1.

    Args:
        values: of each member of the sample, none below 0.
        members: in the archive.
    """
    n = len(values)
    seen = math.fsum(values)
    if n >= members:
        return seen, seen, seen
    mean = seen / n
    deviations = [value - mean for value in values]
    spread = math.fsum(one * one for one in deviations)
    if n == 1 or spread <= 1e-18 * max(mean * mean, 1) * n:
        _, _, missed = of_count(0, n, members)
        return members * mean, (members - missed) * mean, members * mean + missed * max(mean, 1)
    share = n / members
    error = math.sqrt(spread / (n - 1) / n * (1 - share))
    skewness = math.fsum(one**3 for one in deviations) / n / (spread / n) ** 1.5
    b = skewness / (6 * math.sqrt(n * (1 - share)))
    quantile = student(1 - _TAIL, n - 1)
    high, low = (_unskewed(y, b * (2 - share), b * (1 - 2 * share)) for y in (-quantile, quantile))
    bounds = (members * (mean - error * by) for by in (low, high))
    low_total, high_total = (max(seen, bound) for bound in bounds)
    return members * mean, low_total, high_total


def _unskewed(y: float, b: float, c: float) -> float:
    """The x for which x + b x² + b² x³ / 3 + c = y: Hall's cubic, which is monotone, inverted."""
    if abs(b) < 1e-9:
        return y - c
    return (math.cbrt(1 + 3 * b * (y - c)) - 1) / b


def of_count(found: int, sampled: int, members: int) -> tuple[float, int, int]:
    """How many members of an archive are of one kind: estimate, lower and upper bound.

    Exact, by the tails of the hypergeometric distribution, as Clopper and Pearson have it for the
    binomial (Buonaccorsi, The American Statistician 41, 1987, 215). Of a kind that the sample has
    none of there may still be some.

    Args:
        found: of the kind, in the sample.
        sampled: members in the sample.
        members: in the archive.
    """
    if sampled >= members:
        return found, found, found
    kinds = range(found, members - (sampled - found) + 1)

    def is_enough(kind: int) -> bool:
        return 1 - _at_most(found - 1, sampled, kind, members) > _TAIL

    def is_too_many(kind: int) -> bool:
        return _at_most(found, sampled, kind, members) <= _TAIL

    low = kinds[bisect_left(kinds, True, key=is_enough)]
    high = kinds[bisect_left(kinds, True, key=is_too_many) - 1]
    return members * found / sampled, low, high


def _at_most(found: int, sampled: int, kind: int, members: int) -> float:
    """The chance of at most so many of a kind in a simple random sample of the members."""
    least, most = max(0, sampled - (members - kind)), min(sampled, kind)
    all_ways = _log_ways(members, sampled)
    return math.fsum(
        math.exp(_log_ways(kind, k) + _log_ways(members - kind, sampled - k) - all_ways)
        for k in range(least, min(found, most) + 1)
    )


def _log_ways(of: int, some: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)


def student(share: float, freedom: int) -> float:
    """A quantile of Student's t, to a thousandth of it.

    The expansion of Cornish and Fisher (Abramowitz and Stegun, Handbook of Mathematical Functions,
    1964, 26.7.5), and for 1 and 2 degrees of freedom, where that is poor, the closed forms.

    Args:
        share: of the distribution that is below it, above 0 and below 1.
        freedom: degrees of freedom, 1 at least.
    """
    if freedom == 1:
        return math.tan(math.pi * (share - 0.5))
    if freedom == 2:
        return (2 * share - 1) / math.sqrt(2 * share * (1 - share))
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
