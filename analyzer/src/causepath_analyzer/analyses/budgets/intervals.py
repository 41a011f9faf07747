"""Confidence intervals for few and skewed values, without assuming how these are distributed.

A budget on a percentile, a rate or a mean speaks of the agent, not of the runs that happen to be in
a file. Each function gives the range in which the figure of the agent lies; the end of the range
that decides is wrong with the chance ``error`` at most (for means: about).
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, exp, inf, isfinite, lgamma, log, log1p, nan, sqrt
from random import Random
from statistics import NormalDist
from typing import Final

from msgspec import Struct

_RESAMPLES: Final = 1_000
_MANY: Final = 500
"""With so many values a mean is distributed normally, however skewed they are."""
_FEWEST: Final = 5
"""Of fewer values nothing can be said about a mean: how much they differ is not known."""
_MOST_RUNS: Final = 10_000
"""It is of no use to say that a million runs would tell."""


class Interval(Struct, frozen=True):
    """A figure and the range it is in; `inf` where nothing limits it."""

    value: float
    low: float
    high: float


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _at_most(k: int, n: int, p: float) -> float:
    """Computes the chance of `k` or fewer hits in `n` trials that hit with the chance `p`."""
    if k >= n or p <= 0:
        return 1.0
    if k < 0 or p >= 1:
        return 0.0
    hit, miss = log(p), log1p(-p)
    terms = [_log_choose(n, i) + i * hit + (n - i) * miss for i in range(k + 1)]
    most = max(terms)
    return min(1.0, exp(most) * sum(exp(term - most) for term in terms))


@lru_cache(maxsize=1024)
def rate_interval(hits: int, trials: int, error: float) -> Interval:
    """Computes the exact interval of a chance (Clopper and Pearson 1934)."""
    if not trials:
        return Interval(nan, 0.0, 1.0)
    low = _solved(lambda p: 1 - _at_most(hits - 1, trials, p), error) if hits else 0.0
    high = _solved(lambda p: 1 - _at_most(hits, trials, p), 1 - error) if hits < trials else 1.0
    return Interval(hits / trials, low, high)


def _solved(rising, target: float) -> float:  # type: ignore[no-untyped-def]
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if rising(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def percentile(ordered: Sequence[float], share: float) -> float:
    """Gives the percentile by nearest rank of `ordered` values, as the reports do."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def percentile_interval(
    ordered: Sequence[float], share: float, error: float, runs: int
) -> Interval:
    """Computes the interval of a percentile from the order of the values alone.

    The end is the value at the rank that so few of the values would lie beyond by chance, between
    two ranks where that is exact (Nyblom 1992); there is none, `inf`, where even the largest would
    not do. Values of one run may be alike, so that as many count as there are `runs`.
    """
    value = percentile(ordered, share)
    below, above = _end(runs, share, error), _end(runs, 1 - share, error)
    low = -inf if below is None else _between(ordered, below, runs)
    # From above it is the same with the largest first.
    high = inf if above is None else -_between([-one for one in reversed(ordered)], above, runs)
    return Interval(value, min(low, value), max(high, value))


def _between(ordered: Sequence[float], end: tuple[int, float], runs: int) -> float:
    """Gives the value at a rank of 1 to `runs` among perhaps more, or on the way to the next."""
    rank, way = end
    at, beyond = (
        min(len(ordered), max(1, round(r * len(ordered) / runs))) - 1 for r in (rank, rank + 1)
    )
    return ordered[at] + way * (ordered[beyond] - ordered[at]) if way else ordered[at]


@lru_cache(maxsize=1024)
def _end(n: int, share: float, error: float) -> tuple[int, float] | None:
    """Finds the last rank of `n` values that is above the percentile with the chance `error` at
    most, and how much of the way to the next rank uses that chance up."""
    # The value at rank r is above it if fewer than r values lie below.
    rank = bisect_left(range(1, n + 1), True, key=lambda r: _at_most(r - 1, n, share) > error)
    if not rank:
        return None
    if rank == n:
        return n, 0.0
    before, after = _at_most(rank - 1, n, share), _at_most(rank, n, share)
    part = (error - before) / (after - before)
    return rank, part and 1 / (1 + rank * (1 - share) * (1 - part) / ((n - rank) * share * part))


def ratio_interval(parts: Sequence[float], wholes: Sequence[float], error: float) -> Interval:
    """Computes the interval of the sum of `parts` over that of `wholes`, a pair for each run: with
    wholes of 1 the mean.

    Of few runs both a resampling of them and Student's t decide, whichever is wider: the one is too
    narrow for very few, the other for skewed ones.
    """
    n = len(parts)
    whole = sum(wholes)
    if not whole:
        return Interval(nan, -inf, inf)
    value = sum(parts) / whole
    if n < _FEWEST:
        return Interval(value, -inf, inf)
    rests = [part - value * of for part, of in zip(parts, wholes, strict=True)]
    spread = sqrt(sum(rest * rest for rest in rests) / (n - 1)) * sqrt(n) / whole
    reach = _student(error, n - 1) * spread
    low, high = value - reach, value + reach
    if n < _MANY and spread:
        resampled = _resampled(parts, wholes)
        at = min(len(resampled) - 1, int(error * len(resampled)))
        low, high = min(low, resampled[at]), max(high, resampled[-1 - at])
    return Interval(value, low, high)


def _resampled(parts: Sequence[float], wholes: Sequence[float]) -> list[float]:
    random = Random(len(parts))  # the same runs have the same verdict
    n = len(parts)
    if len(set(wholes)) == 1:
        whole = wholes[0] * n
        return sorted([sum(random.choices(parts, k=n)) / whole for _ in range(_RESAMPLES)])
    pairs = list(zip(parts, wholes, strict=True))
    found = []
    for _ in range(_RESAMPLES):
        drawn_parts, drawn_wholes = zip(*random.choices(pairs, k=n), strict=True)
        whole = sum(drawn_wholes)
        if whole:
            found.append(sum(drawn_parts) / whole)
    return sorted(found)


def _student(error: float, freedom: int) -> float:
    """Approximates the quantile of Student's t (Cornish and Fisher; four digits from 4 on)."""
    z = NormalDist().inv_cdf(1 - error)
    n = freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def difference(one: Interval, other: Interval) -> Interval:
    """Computes the interval of the difference of two independent figures from those of each (Zou
    and Donner 2008)."""
    value = one.value - other.value
    low = high = inf
    if isfinite(one.low) and isfinite(other.high):
        low = sqrt((one.value - one.low) ** 2 + (other.high - other.value) ** 2)
    if isfinite(one.high) and isfinite(other.low):
        high = sqrt((one.high - one.value) ** 2 + (other.value - other.low) ** 2)
    return Interval(value, value - low, value + high)


def runs_for_percentile(share: float, error: float) -> int:
    """Counts the runs from which on a percentile can be known to be below anything at all."""
    return ceil(log(error) / log(share))


def runs_to_settle(found: Interval, limit: float, runs: int) -> int | None:
    """Estimates how many runs would tell on which side of `limit` a figure is.

    The range narrows with the root of their number. ``None`` where more would not help.
    """
    distance = abs(found.value - limit)
    reach = found.high - found.value if found.value < limit else found.value - found.low
    if not distance or not isfinite(reach) or reach <= 0:
        return None
    needed = ceil(runs * (reach / distance) ** 2)
    return max(runs + 1, needed) if needed <= _MOST_RUNS else None
