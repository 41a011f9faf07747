"""Two sets of runs compared: each figure before and after, and the range that its change is in."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import inf, isfinite, nan
from typing import Final, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.baseline import Changed, changes
from causepath_analyzer.analyses.budgets.intervals import (
    Interval,
    difference,
    percentile_interval,
    rate_interval,
    ratio_interval,
)
from causepath_analyzer.analyses.budgets.measures import Sample, Unit, sampled, unit_of
from causepath_analyzer.analyses.comparison.attribution import (
    Cause,
    Share,
    attribution_by_agent,
)
from causepath_analyzer.analyses.comparison.work import mean_work, work
from causepath_analyzer.analyses.path.cost import TABLE_ONLY, OwnPrices, cost_of
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import ModelCall

Verdict = Literal["more", "less", "same", "unknown"]
"""``same``: a change is smaller than `SMALL`; ``unknown``: nobody can tell from these runs."""
ERROR: Final = 0.025
"""The chance that a range ends on the wrong side of the truth, at each of its ends."""
SMALL: Final = 0.05
"""A change of so small a part is none that anybody minds."""
_NOTHING: Final = 1e-9
"""The part of a figure that sums in another order may differ by."""
_CACHE_POINTS: Final = 0.1
"""First requests of two sets that differ by so much in what a cache gave are not alike."""

_MIX: Final = 0.1
"""An agent's part of the runs may differ by so much, by chance."""

_MEDIANS: Final = ("wall", "perceived")
_MEANS: Final = (
    "calls.llm", "calls.tool", "tokens.input", "tokens.output", "cost",
)  # fmt: skip


class Figure(Struct, frozen=True):
    """A figure of the runs before and after. ``known`` runs of each side say it."""

    name: str
    unit: Unit
    before: Interval
    after: Interval
    change: Interval
    verdict: Verdict
    known: tuple[int, int]


class Comparison(Struct, frozen=True):
    """Runs before and after. ``causes`` add up to ``change_ns``, the change of the mean wall.

    ``first_cached`` is the part of the input that a cache gave to the first request of a run, on
    either side, and ``neutral_usd`` the mean cost if no cache had given anything: a cache that was
    warm on one side alone looks like a change of the cost.
    """

    runs: tuple[int, int]
    agents: tuple[Mapping[str, float], Mapping[str, float]]
    """The part of the runs that each agent has, on either side."""
    figures: tuple[Figure, ...]
    change_ns: float
    mean_ns: tuple[float, float]
    causes: tuple[Cause, ...]
    findings: Mapping[str, tuple[float, float]]
    """By code: the part of the runs that have it, before and after."""
    changed: tuple[Changed, ...]
    first_cached: tuple[float, float] | None
    neutral_usd: tuple[Decimal, Decimal] | None

    @property
    def is_mix_changed(self) -> bool:
        """Tells whether the two sides are so different agents that their figures say little."""
        was, now = self.agents
        return any(abs(was.get(name, 0) - now.get(name, 0)) >= _MIX for name in {**was, **now})

    @property
    def is_cache_confounded(self) -> bool:
        """Tells whether the first requests of one side found a warmer cache."""
        if self.first_cached is None:
            return False
        return abs(self.first_cached[0] - self.first_cached[1]) >= _CACHE_POINTS


def compared(
    before: Sequence[Run], after: Sequence[Run], prices: OwnPrices = TABLE_ONLY
) -> Comparison:
    """Compares runs `before` a change with runs `after` it, of each at least one."""
    measures = (*_MEDIANS, *_MEANS, "failed")
    was = [sampled(run, measures) for run in before]
    now = [sampled(run, measures) for run in after]
    figures = [_figure(name, was, now, _median) for name in _MEDIANS]
    figures += [_figure(name, was, now, _mean) for name in _MEANS]
    figures.append(_figure("failed", was, now, _rate))
    shares = [_shares(side, runs) for side, runs in ((was, before), (now, after))]
    walls = [sum(one.part * one.wall_ns for one in of.values()) for of in shares]
    return Comparison(
        runs=(len(before), len(after)),
        agents=(_parts(shares[0]), _parts(shares[1])),
        figures=tuple(one for one in figures if one is not None),
        change_ns=walls[1] - walls[0],
        mean_ns=(walls[0], walls[1]),
        causes=attribution_by_agent(shares[0], shares[1]),
        findings=_findings(before, after),
        changed=changes(was, now),
        first_cached=_both(_first_cached(before), _first_cached(after)),
        neutral_usd=_both(_neutral_usd(before, prices), _neutral_usd(after, prices)),
    )


_T = TypeVar("_T")


def _both(one: _T | None, other: _T | None) -> tuple[_T, _T] | None:
    return None if one is None or other is None else (one, other)


def _shares(samples: Sequence[Sample], runs: Sequence[Run]) -> Mapping[str, Share]:
    by_name: dict[str, list[Run]] = {}
    for sample, run in zip(samples, runs, strict=True):
        by_name.setdefault(sample.name, []).append(run)
    return {
        name: Share(len(those) / len(runs), mean_work([work(run) for run in those]))
        for name, those in sorted(by_name.items())
    }


def _parts(shares: Mapping[str, Share]) -> Mapping[str, float]:
    return {name: share.part for name, share in shares.items()}


def _figure(
    name: str,
    before: Sequence[Sample],
    after: Sequence[Sample],
    of: Callable[[Sequence[float]], Interval],
) -> Figure | None:
    values = [
        [
            float(used.amount)
            for sample in side
            for used in (sample.used[name],)
            if used.amount is not None and used.why is None
        ]
        for side in (before, after)
    ]
    if not any(values):
        return None
    was, now = (of(side) if side else _UNKNOWN for side in values)
    change = difference(now, was)
    unit: Unit = "share" if name == "failed" else unit_of(name)
    known = (len(values[0]), len(values[1]))
    return Figure(name, unit, was, now, change, _verdict(was, change, unit), known)


_UNKNOWN: Final = Interval(nan, -inf, inf)


def _median(values: Sequence[float]) -> Interval:
    return percentile_interval(sorted(values), 0.5, ERROR, len(values))


def _mean(values: Sequence[float]) -> Interval:
    return ratio_interval(values, [1.0] * len(values), ERROR)


def _rate(values: Sequence[float]) -> Interval:
    return rate_interval(int(sum(values)), len(values), ERROR)


def _verdict(was: Interval, change: Interval, unit: Unit) -> Verdict:
    nothing = _NOTHING * abs(was.value)
    if change.low > nothing:
        return "more"
    if change.high < -nothing:
        return "less"
    small = SMALL if unit == "share" else SMALL * abs(was.value)
    is_small = isfinite(change.low) and isfinite(change.high)
    return "same" if is_small and max(-change.low, change.high) <= small else "unknown"


def _findings(before: Sequence[Run], after: Sequence[Run]) -> Mapping[str, tuple[float, float]]:
    counts = [
        Counter(code for run in runs for code in {finding.code for finding in run.findings})
        for runs in (before, after)
    ]
    return {
        code: (counts[0][code] / len(before), counts[1][code] / len(after))
        for code in sorted({*counts[0], *counts[1]})
    }


def _first_cached(runs: Sequence[Run]) -> float | None:
    """Computes which part of the input of first requests came from a cache."""
    read = whole = 0
    for run in runs:
        calls = [span for span in run.trace.spans if span.category == "llm" and span.model_call]
        first = min(calls, key=lambda span: span.start_ns, default=None)
        told = None if first is None or first.model_call is None else first.model_call.tokens
        if told is not None:
            read += told.cache_read
            whole += told.input
    return read / whole if whole else None


def _neutral_usd(runs: Sequence[Run], prices: OwnPrices) -> Decimal | None:
    total = Decimal(0)
    for run in runs:
        calls = [_uncached(call) for call in run.usage.models]
        cost = cost_of(calls, run.usage.started_ns, prices)
        if cost.usd is None or not cost.is_whole:
            return None
        total += cost.usd
    return total / len(runs)


def _uncached(call: ModelCall) -> ModelCall:
    if call.tokens is None:
        return call
    return replace(call, tokens=replace(call.tokens, cache_read=0, cache_write=0, cache_write_1h=0))
