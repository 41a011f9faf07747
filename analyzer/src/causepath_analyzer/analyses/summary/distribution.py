"""Values as a distribution that takes little memory: all of them while they are few, then bins.

Up to `MOST_EXACT` values every percentile is exact. Beyond that each is within `ERROR` of the exact
one: values lie in bins whose bounds grow by a constant factor, as in DDSketch (Masson, Rim and Lee,
VLDB 2019), so that a distribution has some hundred bins, whatever it is of. What a distribution
tells depends on the values alone: neither their order matters, nor how they were split before
parts were joined.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import ceil, log
from typing import Final

from msgspec import Struct

ERROR: Final = 0.01
"""A percentile of many values is off by at most this part of it, and by the rounding to a whole."""
MOST_EXACT: Final = 10_000
"""So many values are kept as they are. A baseline keeps as many runs."""
_GAMMA: Final = (1 + ERROR) / (1 - ERROR)
_LOG_GAMMA: Final = log(_GAMMA)
_ZERO: Final = -1
"""The bin of 0; that of 1 is 0."""


class Spread(Struct, frozen=True):
    """Percentiles by nearest rank, and the mean, of whole numbers (of 0 values: zeros)."""

    p50: int
    p95: int
    p99: int
    mean: int


class Distribution(Struct, array_like=True):
    """The spread of whole numbers from 0 on: ``values`` are all of them, in no order. Where these
    are too many there are ``bins`` instead, which count them, with the sum and the largest."""

    values: list[int] = []
    bins: dict[int, int] = {}
    binned: int = 0
    binned_total: int = 0
    most: int = 0

    def add(self, value: int) -> None:
        """Adds one value."""
        self.values.append(value)
        if len(self.values) > MOST_EXACT or self.bins:
            self._give_up()

    def extend(self, values: Sequence[int]) -> None:
        """Adds `values`."""
        self.values += values
        if len(self.values) > MOST_EXACT or self.bins:
            self._give_up()

    def join(self, other: "Distribution") -> None:
        """Adds all values of `other`, which stays as it is."""
        self.extend(other.values)
        if not other.bins:
            return
        self._give_up()
        for place, number in other.bins.items():
            self.bins[place] = self.bins.get(place, 0) + number
        self.binned += other.binned
        self.binned_total += other.binned_total
        self.most = max(self.most, other.most)

    @property
    def count(self) -> int:
        return self.binned or len(self.values)

    @property
    def total(self) -> int:
        return self.binned_total if self.bins else sum(self.values)

    @property
    def is_exact(self) -> bool:
        """Tells whether every value is known."""
        return not self.bins

    @property
    def spread(self) -> Spread:
        """Tells how the values are spread."""
        p50, p95, p99 = self.percentiles((50, 95, 99))
        return Spread(p50, p95, p99, self.total // self.count if self.count else 0)

    def percentiles(self, percents: Sequence[int], of: int = 0) -> Sequence[int]:
        """Finds percentiles by nearest rank, of no values 0.

        Of more values than there are, the others are taken to be 0.
        """
        every = max(of, self.count)
        ranks = [max(1, -(-every * percent // 100)) - (every - self.count) for percent in percents]
        if not every:
            return [0] * len(percents)
        return [self._ranked(rank) if rank > 0 else 0 for rank in ranks]

    def percentile(self, percent: int) -> int:
        """Finds one percentile."""
        return self.percentiles((percent,))[0]

    def counted(self, bounds: Sequence[int]) -> Sequence[int]:
        """Counts the values below each of `bounds`, which grow, but not below the one before; and
        then the rest."""
        found = [0] * (len(bounds) + 1)
        for value, number in self._items():
            found[sum(value >= bound for bound in bounds)] += number
        return found

    def _give_up(self) -> None:
        """Puts the values that are kept into bins."""
        bins = self.bins
        for value in self.values:
            place = bin_of(value)
            bins[place] = bins.get(place, 0) + 1
        self.binned += len(self.values)
        self.binned_total += sum(self.values)
        self.most = max(self.most, *self.values) if self.values else self.most
        self.values = []

    def _items(self) -> Iterable[tuple[int, int]]:
        """Gives values with their numbers, in order."""
        if not self.bins:
            return [(value, 1) for value in sorted(self.values)]
        return [(self._middle(place), number) for place, number in sorted(self.bins.items())]

    def _ranked(self, rank: int) -> int:
        if not self.bins:
            self.values.sort()
            return self.values[rank - 1]
        items = sorted(self.bins.items())
        place = next(
            place
            for (place, _), up_to in zip(items, accumulate(n for _, n in items), strict=True)
            if up_to >= rank
        )
        return self._middle(place)

    def _middle(self, place: int) -> int:
        """Gives the value that stands for all in a bin."""
        return 0 if place == _ZERO else min(self.most, round(2 * _GAMMA**place / (_GAMMA + 1)))


def spread(values: Sequence[int]) -> Spread:
    """Tells how `values` are spread."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0, 0, 0, 0)
    return Spread(
        _nearest_rank(ordered, 50),
        _nearest_rank(ordered, 95),
        _nearest_rank(ordered, 99),
        sum(ordered) // len(ordered),
    )


def _nearest_rank(ordered: Sequence[int], percent: int) -> int:
    return ordered[-(-len(ordered) * percent // 100) - 1]


def bin_of(value: int) -> int:
    """Finds the bin of a value."""
    return _ZERO if value <= 0 else ceil(log(value) / _LOG_GAMMA)
