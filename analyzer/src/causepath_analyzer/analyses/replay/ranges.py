"""How sure a prediction is: the range that as many new runs would fall into, four times of five.

What makes a measurement differ from a prediction, and how that is known:

- the runs differ from each other: a bootstrap of the percentile, of the old and of the new runs;
- a replay is off by a part of what it changes: by a few percent, more where calls that are run
  side by side share a processor, or as earlier predictions of the kind were (the ledger);
- what an edit works with was itself measured: a slope, the pace of another model;
- the machine is busier or less busy than it was: by a part of the wall, which is larger where the
  runs differed more.
"""

import random
from collections.abc import Callable, Sequence
from statistics import stdev
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

COVERAGE: Final = 0.8
"""How many of the new measurements a range is to contain."""
_DRAWS: Final = 2000
_SEED: Final = 20
_MODEL_ERROR: Final = 0.03
"""How far off a replay is taken to be, as a part of the change, while nothing was measured."""
_SIDE_BY_SIDE: Final = 0.08
"""The same where it lets calls run side by side that did not."""
_JITTER: Final = 0.01
_MOST_JITTER: Final = 0.03
"""How far a wall time is off for reasons that are in no trace: as much as the runs differ, but no
less than this, as two measurements are never alike, nor more, as runs differ for other reasons."""
_ENOUGH: Final = 5
"""Earlier predictions of a kind that say more of its errors than `_MODEL_ERROR` does."""


class Estimate(Struct, frozen=True):
    """A percentile of the wall time now and with the changes; ``low`` to ``high`` is the range
    that the new one is expected in, ``None`` where one run alone says nothing about it."""

    now_ns: int
    then_ns: int
    low_ns: int | None
    high_ns: int | None


class PastErrors(Struct, frozen=True):
    """The errors of predictions with the same kinds of changes, as parts of what was saved."""

    errors: tuple[float, ...] = ()


class Doubt(Struct, frozen=True):
    """The uncertainty of a prediction.

    ``off_ns`` is how far all runs may be off together, ``each_ns`` each of them. ``reordered``:
    calls run side by side that did not. ``at_most``: something in the traces speaks against the
    saving, so that there may be none.
    """

    off_ns: float = 0.0
    each_ns: float = 0.0
    reordered: bool = False
    at_most: bool = False


def estimate(
    now: Sequence[int], then: Sequence[int], percent: int, past: PastErrors, doubt: Doubt
) -> Estimate:
    """The percentile of the walls of all runs, `now` and `then`, and its range."""
    count = len(then)
    ordered = sorted(then)
    rank = -(-count * percent // 100)
    was, value = sorted(now)[rank - 1], ordered[rank - 1]

    def again(rng: random.Random) -> float:
        """Draws how far off the percentile of as many runs is: an order statistic of the
        bootstrap."""
        place = int(rng.betavariate(rank, count - rank + 1) * count)
        return ordered[min(place, count - 1)] - value

    return _estimate(was, value, now, again, past, doubt)


def estimated_mean(
    now: Sequence[int], then: Sequence[int], past: PastErrors, doubt: Doubt
) -> Estimate:
    """The mean of the walls of all runs, `now` and `then`, and its range."""
    count = len(then)
    was, value = sum(now) // count, sum(then) // count
    off = stdev(then) / count**0.5 if count > 1 else 0.0
    return _estimate(was, value, now, lambda rng: rng.gauss(0, off), past, doubt)


def _estimate(
    was: int,
    value: int,
    now: Sequence[int],
    again: Callable[[random.Random], float],
    past: PastErrors,
    doubt: Doubt,
) -> Estimate:
    count = len(now)
    if count < 2:
        return Estimate(was, value, None, None)
    rng = random.Random(_SEED)
    saved = was - value
    middle = max(1, sorted(now)[(count - 1) // 2])
    differ = sum(abs(wall - middle) for wall in now) / count / middle
    jitter = min(max(_JITTER, differ), _MOST_JITTER) * value
    model_error = _SIDE_BY_SIDE if doubt.reordered else _MODEL_ERROR
    each = doubt.each_ns * 1.25 / count**0.5  # of the middle one of as many
    draws = []
    for _ in range(_DRAWS):
        many = len(past.errors) >= _ENOUGH
        off = rng.choice(past.errors) if many else rng.gauss(0, model_error)
        noise = rng.gauss(0, jitter) + rng.gauss(0, doubt.off_ns) + rng.gauss(0, each)
        draws.append(round(value + again(rng) - again(rng) + off * saved + noise))
    draws.sort()
    tail = round(_DRAWS * (1 - COVERAGE) / 2)
    low, high = max(0, draws[tail]), max(0, draws[-1 - tail])
    if doubt.at_most:  # what would be measured if nothing were saved is in the range, too
        nothing = _estimate(was, was, now, again, past, replace(doubt, at_most=False))
        low, high = min(low, nothing.low_ns or 0), max(high, nothing.high_ns or 0)
    return Estimate(was, value, low, high)
