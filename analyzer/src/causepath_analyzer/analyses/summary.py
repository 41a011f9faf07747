"""Many runs at once: how long they take, what they wait for, what would help how many of them."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.critical_path import Section
from causepath_analyzer.analyses.findings import Evidence
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN, Health


class Spread(Struct, frozen=True):
    """Percentiles by nearest rank, and the mean, of whole numbers (of 0 values: zeros)."""

    p50: int
    p95: int
    p99: int
    mean: int


class Row(Struct, frozen=True):
    """What the runs waited for, by kind, operation, agent or turn.

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
    saving_ns: int
    evidence: Evidence


class Slow(Struct, frozen=True):
    trace_id: str
    wall_ns: int


class Summary(Struct, frozen=True):
    """``cost_usd`` is ``None`` unless the cost of every run is known."""

    traces: int
    failed: int
    wall_ns: Spread
    total_wall_ns: int
    cost_usd: Decimal | None
    rows: tuple[Row, ...]
    opportunities: tuple[Opportunity, ...]
    slowest: tuple[Slow, ...]
    health: Health
    id_length: int
    """So many characters of their ids tell all runs apart."""


def summary(runs: Iterable[Run]) -> Summary:
    """The summary of `runs`, which are looked at once, in any order."""
    walls: list[Slow] = []
    failed = 0
    by_key: dict[tuple[str, str], list[int]] = {}
    found: dict[str, list[tuple[str, int, Evidence]]] = {}
    cost: Decimal | None = Decimal(0)
    healths: list[Health] = []
    for run in runs:
        trace = run.trace
        walls.append(Slow(trace.trace_id, trace.wall_ns))
        failed += any(trace.spans[i].error is not None for i in trace.roots)
        healths.append(run.health)
        spent = run.spent_usd
        cost = cost + spent if cost is not None and spent is not None else None
        for key, spent_ns in _places(run).items():
            by_key.setdefault(key, []).append(spent_ns)
        for finding in run.findings:
            told = (trace.trace_id, finding.saving_ns, finding.evidence)
            found.setdefault(finding.code, []).append(told)
    total_ns = sum(slow.wall_ns for slow in walls)
    rows = [_row(key, spent, total_ns, len(walls)) for key, spent in by_key.items()]
    return Summary(
        traces=len(walls),
        failed=failed,
        wall_ns=spread([slow.wall_ns for slow in walls]),
        total_wall_ns=total_ns,
        cost_usd=cost if walls else None,
        rows=tuple(sorted(rows, key=lambda row: (_BY.index(row.by), -row.wall_ns, row.key))),
        opportunities=tuple(
            Opportunity(
                code,
                len({trace_id for trace_id, _, _ in told}),
                sum(saving_ns for _, saving_ns, _ in told),
                told[0][2],
            )
            for code, told in sorted(found.items())
        ),
        slowest=tuple(sorted(walls, key=lambda slow: (-slow.wall_ns, slow.trace_id))[:5]),
        health=_added(healths),
        id_length=id_length([slow.trace_id for slow in walls]),
    )


def id_length(trace_ids: Sequence[str]) -> int:
    """How many characters, eight or more, tell `trace_ids` apart."""
    ordered = sorted(set(trace_ids))
    return max(8, max((_common(*pair) for pair in pairwise(ordered)), default=0) + 1)


def _common(one: str, other: str) -> int:
    """How many characters two strings have in common at their start."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def spread(values: Sequence[int]) -> Spread:
    """How `values` are spread."""
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


_BY: Final = ("kind", "operation", "agent", "turn")


def _places(run: Run) -> Mapping[tuple[str, str], int]:
    """Time on the critical path of `run` by kind, operation, agent and turn, in ns."""
    spent: dict[tuple[str, str], int] = {}
    turns = _turn_starts(run)
    agents = _agents(run)
    for section in run.path.sections:
        length = section.end_ns - section.start_ns
        for key in (
            ("kind", section.kind),
            ("operation", _operation(run, section)),
            ("agent", agents[section.span] if section.span != NO_SPAN else section.kind),
            ("turn", _turn(turns, section.start_ns)),
        ):
            spent[key] = spent.get(key, 0) + length
    return spent


def _turn_starts(run: Run) -> Sequence[int]:
    """When the turns of the longest conversation of `run` start."""
    longest = max(run.usage.conversations, key=lambda one: len(one.calls), default=None)
    return () if longest is None else sorted(run.trace.spans[i].start_ns for i in longest.calls)


def _turn(starts: Sequence[int], at_ns: int) -> str:
    """The role of the turn that goes on at `at_ns`: its call, its tools, and what follows them."""
    turn = bisect_right(starts, at_ns)
    if not starts:
        return "none"
    if turn == 0:
        return "before"
    if len(starts) == 1:
        return "only"
    return "first" if turn == 1 else "last" if turn == len(starts) else "middle"


def _agents(run: Run) -> Sequence[str]:
    """For each span the name of the agent it works for: the nearest one above, else the root."""
    spans, parents = run.trace.spans, run.trace.parents
    names = [""] * len(spans)
    for i in run.trace.top_down():
        parent = parents[i]
        own = spans[i].category == "agent" or parent == NO_SPAN
        names[i] = spans[i].name.removeprefix("invoke_agent ") if own else names[parent]
    return names


def _operation(run: Run, section: Section) -> str:
    """What a section was doing, in words that are the same in every run: the tool, the model."""
    if section.span == NO_SPAN:
        return section.kind
    if section.kind == "retry":
        return "retries and back-off"
    spans = run.trace.spans
    call = run.kinds.calls[section.span]
    if call != NO_SPAN:
        model_call = spans[call].model_call
        model = (model_call and model_call.model) or spans[call].name
        return model if section.kind == "llm" else f"{model} {_PHASES[section.kind]}"
    return spans[section.span].name


_PHASES: Final = {"first_token": "first token", "generation": "generation"}


def _row(key: tuple[str, str], spent: Sequence[int], total_ns: int, runs: int) -> Row:
    wall_ns = sum(spent)
    each = spread([*spent, *[0] * (runs - len(spent))])
    return Row(
        by=key[0],
        key=key[1],
        wall_ns=wall_ns,
        share=wall_ns / total_ns if total_ns else 0.0,
        p50_ns=each.p50,
        p95_ns=each.p95,
        runs=len(spent),
    )


def _added(healths: Sequence[Health]) -> Health:
    """The counts of all `healths`; their notes are of single runs and left out."""
    return Health(
        **{
            name: sum(getattr(health, name) for health in healths)
            for name in Health.__struct_fields__
            if name != "notes"
        }
    )
