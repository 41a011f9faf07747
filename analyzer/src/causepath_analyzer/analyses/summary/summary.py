"""What many runs tell: how long they take, what they wait for, what would help how many of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.findings.rule import Evidence, Saving, largest_first
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.path.status import STATUSES, Ending, Status
from causepath_analyzer.analyses.proof.over_runs import CacheTrial
from causepath_analyzer.analyses.summary.brief import BY, Brief, SideBySide
from causepath_analyzer.analyses.summary.distribution import Distribution, Spread
from causepath_analyzer.analyses.summary.sums import (
    PLAIN,
    FaultSums,
    Periods,
    Shape,
    Sums,
    Totals,
    summed,
)
from causepath_analyzer.ids import TRACE_BYTES, shown_id
from causepath_analyzer.model import Category, Health


class Row(Struct, frozen=True):
    """The time that the runs waited for one kind, operation, agent or turn.

    ``wall_ns`` is its time on the critical paths of all runs, ``share`` its part of all wall time,
    ``p50_ns`` and ``p95_ns`` percentiles per run (0 in runs without it), ``runs`` in how many it
    occurs. Turns are those of the longest conversation of a run, so that runs of any length can be
    added up: the first, those in the middle, the last, and what comes before the first.
    """

    by: str
    key: str
    wall_ns: int
    share: float
    p50_ns: int
    p95_ns: int
    runs: int


class Opportunity(Struct, frozen=True):
    """All findings of one code. Their savings are of single findings, each taken alone."""

    code: str
    runs: int
    saving: Saving
    evidence: Evidence


class Slow(Struct, frozen=True):
    trace_id: str
    wall_ns: int


class Failed(Struct, frozen=True):
    """A run that did not end well."""

    trace_id: str
    ending: Ending


class Example(Struct, frozen=True):
    """A run whose wall time is a percentile of all."""

    percent: int
    trace_id: str
    wall_ns: int


class Model(Struct, frozen=True):
    """The use of one model. ``share`` is its part of all tokens, ``rate`` the tokens that it writes
    in 1,000 seconds after the first one; ``timed`` calls and ``rated`` ones say how long the first
    token took, and how fast the others came. ``cost_usd`` is ``None`` without any price."""

    name: str
    runs: int
    calls: int
    failed: int
    input: int
    output: int
    share: float
    cache_share: float | None
    first_token_ns: Spread
    timed: int
    rate: Spread
    rated: int
    cost_usd: Decimal | None
    is_priced: bool


class Operation(Struct, frozen=True):
    """All calls of one operation: of a tool, a model, a retriever. ``total_ns`` is the plain sum of
    their durations."""

    category: Category
    name: str
    runs: int
    calls: int
    failed: int
    duration_ns: Spread
    total_ns: int


class Group(Struct, frozen=True):
    """The runs of one agent, of one model or the like; ``name`` is empty where they do not say.

    ``perceived_ns`` is until the last answer began, of the ``perceived_runs`` that tell, and
    ``tiers`` counts these by what people feel. ``cache_share`` is the part of the input that was
    read from a cache, ``None`` where there is no input.
    """

    name: str
    runs: int
    failed: int
    wall_ns: Spread
    total_wall_ns: int
    perceived_ns: Spread
    perceived_runs: int
    tiers: tuple[int, ...]
    cost_usd: Decimal | None
    priced_share: float
    is_priced: bool
    is_lower_bound: bool
    tokens: int
    cache_share: float | None


class Stretch(Struct, frozen=True):
    """The runs that began in a stretch of time."""

    start_ns: int
    end_ns: int
    runs: int
    failed: int
    mean_wall_ns: int
    cache_share: float | None
    cost_usd: Decimal


class Step(Struct, frozen=True):
    """A step of a histogram: so many runs took so long; the last is without an end."""

    start_ns: int
    end_ns: int | None
    runs: int


class Summary(Struct, frozen=True):
    """``cost_usd`` is that of the calls whose price is known, ``None`` where there is none;
    ``priced_share`` is their part of all tokens, and ``is_priced`` whether they are all."""

    traces: int
    failed: int
    """Runs that did not end well."""
    endings: Mapping[Status, int]
    """How many runs ended how, those that ended well left out."""
    last_failed: Failed | None
    wall_ns: Spread
    total_wall_ns: int
    cost_usd: Decimal | None
    rows: tuple[Row, ...]
    opportunities: tuple[Opportunity, ...]
    slowest: tuple[Slow, ...]
    health: Health
    hands_on: int
    """Runs that may be one with others."""
    id_length: int
    """So many characters of their ids tell all runs apart."""
    undeclared: int = 0
    """Runs that nobody declared and that may be steps of one: they follow each other closely, and
    most are a single call. 0 where any is something else."""
    is_one_program: bool = False
    """All runs are of one start of a program by ``causepath run``."""
    first_ns: int = 0
    last_ns: int = 0
    """When the first and the last run began."""
    priced_share: float = 0.0
    is_priced: bool = False
    is_lower_bound: bool = False
    """The runs used more than was counted, or more than what has a price."""
    whole: Group | None = None
    """All runs, as a group; ``None`` if there is none."""
    histogram: tuple[Step, ...] = ()
    """Wall times; empty for few runs."""
    examples: tuple[Example, ...] = ()
    models: tuple[Model, ...] = ()
    """The most calls first."""
    operations: tuple[Operation, ...] = ()
    """The longest in total first."""
    kind_sums: Mapping[Kind, int] = {}
    side_by_side: SideBySide | None = None
    """``None`` where no reply asked for several tools."""
    periods: tuple[Stretch, ...] = ()
    """At most `_STRETCHES`, empty where all runs began within a second."""
    group_by: str | None = None
    is_by_attribute: bool = False
    groups: tuple[Group, ...] = ()
    """The most wall time first, at most `MOST_GROUPS` or as many rows as were asked for."""
    other_groups: int = 0
    others: Group | None = None
    """The groups after these, as one."""
    caches: tuple[CacheTrial, ...] = ()
    """Tools whose results came again over runs."""
    is_exact: bool = True
    """All percentiles are those of the values; else each is within `ERROR` of it."""
    left_out: int = 0
    """Runs that were not wanted."""
    unknown: int = 0
    """Those of them of which nobody knows whether they were."""


def summary(runs: Iterable[Brief], shape: Shape = PLAIN) -> Summary:
    """Sums up `runs`, which are looked at once."""
    return told(summed(runs, shape))


def told(sums: Sums) -> Summary:
    """Tells what `sums` say."""
    totals = sums.totals
    whole = _group("", totals)
    groups, others = _groups(sums)
    total_ns = totals.wall.total
    steps = sorted(sums.steps)
    all_inferred = sums.inferred == totals.runs == len(steps)
    rows = [
        _row(by, key, spent, total_ns, totals.runs)
        for by in BY
        for key, spent in sums.rows.get(by, {}).items()
    ]
    return Summary(
        traces=totals.runs,
        failed=totals.failed,
        endings={status: sums.endings[status] for status in STATUSES if status in sums.endings},
        last_failed=None if sums.last_failed is None else Failed(*sums.last_failed[1:]),
        wall_ns=whole.wall_ns,
        total_wall_ns=total_ns,
        cost_usd=whole.cost_usd,
        rows=tuple(sorted(rows, key=lambda row: (BY.index(row.by), -row.wall_ns, row.key))),
        opportunities=tuple(
            sorted(
                (
                    Opportunity(code, one.runs, one.saving, one.evidence)
                    for code, one in sums.found.items()
                ),
                key=lambda one: (*largest_first(one.saving), one.code),
            )
        ),
        caches=tuple(sums.caches[tool] for tool in sorted(sums.caches)),
        slowest=tuple(Slow(trace_id, wall_ns) for wall_ns, trace_id in sums.slowest),
        health=Health(**sums.health, notes=tuple(_failed(totals.runs, sums.faults))),
        hands_on=sums.hands_on,
        id_length=id_length([trace_id for _, trace_id in sums.runs]) if sums.runs else _WHOLE_ID,
        undeclared=totals.runs if all_inferred and _may_be_one(steps) else 0,
        is_one_program=len(sums.programs) == 1 and "" not in sums.programs,
        first_ns=sums.first_ns or 0,
        last_ns=sums.last_ns,
        priced_share=whole.priced_share,
        is_priced=whole.is_priced,
        is_lower_bound=whole.is_lower_bound,
        whole=whole if totals.runs else None,
        histogram=_histogram(totals.wall),
        examples=_examples(sums),
        models=_models(sums),
        operations=_operations(sums),
        kind_sums={
            kind: ns
            for kind, ns in sorted(sums.kind_sums.items(), key=lambda item: (-item[1], item[0]))
            # The own time of agents is no sum of spans: they contain everything else.
            if kind not in ("agent", "other")
        },
        side_by_side=sums.side_by_side if sums.side_by_side.replies else None,
        periods=_stretches(sums.periods),
        group_by=sums.shape.group_by,
        is_by_attribute=sums.shape.attribute is not None,
        groups=groups,
        other_groups=len(sums.groups) - len(groups),
        others=others,
        is_exact=all(one.is_exact for one in _distributions(sums)),
        left_out=sums.left_out,
        unknown=sums.unknown,
    )


_WHOLE_ID: Final = 2 * TRACE_BYTES
MOST_GROUPS: Final = 1_000
"""So many groups are told one by one, and the rest of them together."""


def _groups(sums: Sums) -> tuple[tuple[Group, ...], Group | None]:
    """Tells the groups with the most wall time, and all others as one."""
    most = max(MOST_GROUPS, sums.shape.top)
    ordered = sorted(sums.groups.items(), key=lambda one: (-one[1].wall.total, one[0]))
    rest = Totals()
    for _, one in ordered[most:]:
        rest.join(one)
    told = tuple(_group(name, one) for name, one in ordered[:most])
    return told, _group("", rest) if rest.runs else None


def _group(name: str, totals: Totals) -> Group:
    priced = totals.priced_tokens / totals.tokens if totals.tokens else 0.0
    return Group(
        name=name,
        runs=totals.runs,
        failed=totals.failed,
        wall_ns=totals.wall.spread,
        total_wall_ns=totals.wall.total,
        perceived_ns=totals.perceived.spread,
        perceived_runs=totals.perceived.count,
        tiers=tuple(totals.tiers),
        cost_usd=totals.usd or None,  # nothing is no price, but that of runs without a call
        priced_share=min(1.0, priced),
        is_priced=totals.is_priced,
        is_lower_bound=totals.is_lower_bound or not totals.is_priced,
        tokens=totals.tokens,
        cache_share=_part(totals.cache_read, totals.input),
    )


def _distributions(sums: Sums) -> Iterator[Distribution]:
    """Lists everything that percentiles are told of."""
    for totals in (sums.totals, *sums.groups.values()):
        yield totals.wall
        yield totals.perceived
    for rows in sums.rows.values():
        yield from rows.values()
    for model in sums.models.values():
        yield model.first_token_ns
        yield model.rates
    for calls in sums.calls.values():
        yield from (call.durations_ns for call in calls.values())


def _part(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _examples(sums: Sums) -> tuple[Example, ...]:
    found = [(percent, sums.example(percent)) for percent in (50, 95, 99)]
    return tuple(Example(percent, one[1], one[0]) for percent, one in found if one is not None)


def _models(sums: Sums) -> tuple[Model, ...]:
    every = sum(one.input + one.output for one in sums.models.values())
    found = [
        Model(
            name=name,
            runs=one.runs,
            calls=one.calls,
            failed=one.failed,
            input=one.input,
            output=one.output,
            share=(one.input + one.output) / every if every else 0.0,
            cache_share=_part(one.cache_read, one.input),
            first_token_ns=one.first_token_ns.spread,
            timed=one.first_token_ns.count,
            rate=one.rates.spread,
            rated=one.rates.count,
            cost_usd=one.usd or None,
            is_priced=one.priced_tokens >= one.input + one.output,
        )
        for name, one in sums.models.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.calls, one.name)))


def _operations(sums: Sums) -> tuple[Operation, ...]:
    found = [
        Operation(
            category=category,
            name=name,
            runs=one.runs,
            calls=one.durations_ns.count,
            failed=one.failed,
            duration_ns=one.durations_ns.spread,
            total_ns=one.durations_ns.total,
        )
        for category, calls in sums.calls.items()
        for name, one in calls.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.total_ns, one.category, one.name)))


_STRETCHES: Final = 24
"""Columns of a line that shows how something went over time."""


def _stretches(periods: Periods) -> tuple[Stretch, ...]:
    """Divides the time in which runs began into stretches of equal length."""
    joined = Periods()
    joined.join(periods)
    numbers = joined.by_number
    while numbers and max(numbers) - min(numbers) >= _STRETCHES:
        joined.coarsen()
        numbers = joined.by_number
    if len(numbers) < 2:
        return ()
    return tuple(
        Stretch(
            start_ns=number * joined.length_ns,
            end_ns=(number + 1) * joined.length_ns,
            runs=one.runs,
            failed=one.failed,
            mean_wall_ns=one.wall_ns // one.runs,
            cache_share=_part(one.cache_read, one.input),
            cost_usd=one.usd,
        )
        for number, one in sorted(numbers.items())
    )


_FEWEST: Final = 10
"""Of fewer runs a histogram shows nothing that the percentiles do not."""
_STEPS: Final = 10


def _histogram(wall: Distribution) -> tuple[Step, ...]:
    """Divides wall times into steps of equal length up to the 99th percentile, about."""
    first_ns, last_ns = wall.percentiles((1, 99))
    if wall.count < _FEWEST or last_ns <= first_ns:
        return ()
    length_ns = _round_up(max(1, (last_ns - first_ns) // _STEPS))
    start_ns = first_ns // length_ns * length_ns
    bounds = list(range(start_ns + length_ns, last_ns + 1, length_ns))
    if not bounds:
        return ()
    counts = wall.counted(bounds)
    starts = [0 if wall.counted([start_ns])[0] else start_ns, *bounds]
    ends = [*bounds, None]
    return tuple(map(Step, starts, ends, counts))


def _round_up(value: int) -> int:
    """Finds the next of 1, 2, 5, 10, 20, 50, ... from `value` on."""
    power = int("1".ljust(len(str(value)), "0"))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value)


def _may_be_one(runs: Sequence[tuple[int, int, int]]) -> bool:
    """Tells whether `runs`, by start, length and model calls, may be steps of one.

    Those that overlap, or that have long pauses between them, are answers to several who ask; a
    run of several calls is a whole one by itself.
    """
    if len(runs) < 2 or any(one[0] + one[1] > later[0] for one, later in pairwise(runs)):
        return False
    within_ns = runs[-1][0] + runs[-1][1] - runs[0][0]
    is_close = 2 * sum(length_ns for _, length_ns, _ in runs) >= within_ns
    return is_close and 2 * sum(calls <= 1 for _, _, calls in runs) >= len(runs)


def id_length(trace_ids: Sequence[str]) -> int:
    """Counts how many characters, eight or more, tell `trace_ids` apart."""
    ordered = sorted(set(map(shown_id, trace_ids)))
    return max(8, max((_common(*pair) for pair in pairwise(ordered)), default=0) + 1)


def _common(one: str, other: str) -> int:
    """Counts how many characters two strings have in common at their start."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _row(by: str, key: str, spent: Distribution, total_ns: int, runs: int) -> Row:
    p50_ns, p95_ns = spent.percentiles((50, 95), runs)
    return Row(
        by=by,
        key=key,
        wall_ns=spent.total,
        share=spent.total / total_ns if total_ns else 0.0,
        p50_ns=p50_ns,
        p95_ns=p95_ns,
        runs=spent.count,
    )


def _failed(runs: int, faults: Mapping[str, FaultSums]) -> Iterable[str]:
    """Says which rules failed in how many runs."""
    for code, one in sorted(faults.items()):
        yield f"{code} failed in {one.runs:,} of {runs:,} runs, please report this: {one.why}"
