"""Many runs at once: how long they take, what they wait for, what would help how many of them."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.findings.opportunities import Fault
from causepath_analyzer.analyses.findings.rule import Evidence, Saving, added, largest_first
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.path.status import Ending, Status, endings_of
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.ids import shown_id
from causepath_analyzer.model import NO_SPAN, Health


class Brief(Struct, frozen=True, array_like=True):
    """The part of a run that a summary keeps, which needs no more of its trace.

    ``cost_usd`` is ``None`` if it is not known. ``places`` are ns on the critical path by kind,
    operation, agent and turn, ``findings`` code, saving and evidence of each, ``faults`` the rules
    that failed.
    """

    start_ns: int
    trace_id: str
    wall_ns: int
    ending: Ending
    cost_usd: Decimal | None
    places: tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int], Mapping[str, int]]
    findings: tuple[tuple[str, Saving, Evidence], ...]
    health: Health
    hands_on: bool = False
    """It may be one run with others."""
    faults: tuple[Fault, ...] = ()
    name: str = ""
    program: str | None = None
    is_inferred: bool = False
    """Nobody declared it to be a run."""
    model_calls: int = 0
    priced_usd: Decimal | None = None
    """The cost of the calls whose price is known."""
    tokens: int = 0
    priced_share: float = 0.0
    """The part of ``tokens`` whose price is known."""
    joined: tuple[str, ...] = ()
    """The ids of the other traces that it is in."""
    is_lower_bound: bool = False
    """It used more than was counted, or more than what has a price."""


class Spread(Struct, frozen=True):
    """Percentiles by nearest rank, and the mean, of whole numbers (of 0 values: zeros)."""

    p50: int
    p95: int
    p99: int
    mean: int


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


def brief(run: Run) -> Brief:
    """Keeps what `summary` needs of `run`."""
    trace = run.trace
    return Brief(
        start_ns=trace.start_ns,
        trace_id=trace.trace_id,
        wall_ns=trace.wall_ns,
        ending=run.ending,
        cost_usd=run.spent_usd,
        places=_places(run),
        findings=tuple([(one.code, one.saving, one.evidence) for one in run.findings]),
        health=run.health,
        hands_on=trace.hands_on,
        faults=run.faults,
        name=trace.spans[trace.main_root].name,
        program=next((span.program for span in trace.spans if span.program is not None), None),
        is_inferred=any(trace.spans[i].is_inferred for i in trace.roots),
        model_calls=run.usage.calls.llm,
        priced_usd=run.cost.usd,
        tokens=run.usage.tokens.input + run.usage.tokens.output,
        priced_share=run.cost.share,
        joined=trace.joined,
        is_lower_bound=run.is_lower_bound,
    )


def summary(runs: Iterable[Brief]) -> Summary:
    """Sums up `runs`, which are looked at once, in order of their start."""
    walls: list[Slow] = []
    handing = 0
    endings: list[Ending] = []
    last_failed: Failed | None = None
    inferred, is_lower_bound = 0, False
    steps: list[tuple[int, int, int]] = []
    programs: set[str | None] = set()
    starts: list[int] = []
    by_key: dict[str, dict[str, list[int]]] = {by: {} for by in _BY}
    found: dict[str, list[tuple[str, Saving, Evidence]]] = {}
    faults: dict[str, list[Fault]] = {}
    cost = Decimal(0)
    tokens, priced, is_priced = 0, 0.0, True
    healths: list[Health] = []
    for run in runs:
        walls.append(Slow(run.trace_id, run.wall_ns))
        endings.append(run.ending)
        if run.ending.status != "ok":
            last_failed = Failed(run.trace_id, run.ending)
        programs.add(run.program)
        starts.append(run.start_ns)
        inferred += run.is_inferred
        steps.append((run.start_ns, run.wall_ns, run.model_calls))
        is_lower_bound = is_lower_bound or run.is_lower_bound
        healths.append(run.health)
        handing += run.hands_on
        cost += run.priced_usd or 0
        tokens += run.tokens
        priced += run.tokens * run.priced_share
        is_priced = is_priced and run.cost_usd is not None
        for known, spent_ns in zip(by_key.values(), run.places, strict=True):
            for key, part_ns in spent_ns.items():
                known.setdefault(key, []).append(part_ns)
        for code, saving, evidence in run.findings:
            found.setdefault(code, []).append((run.trace_id, saving, evidence))
        for fault in run.faults:
            faults.setdefault(fault.code, []).append(fault)
    total_ns = sum(slow.wall_ns for slow in walls)
    rows = [
        _row(by, key, every, total_ns, len(walls))
        for by, known in by_key.items()
        for key, every in known.items()
    ]
    badly = endings_of(endings)
    return Summary(
        traces=len(walls),
        failed=sum(badly.values()),
        endings=badly,
        last_failed=last_failed,
        wall_ns=spread([slow.wall_ns for slow in walls]),
        total_wall_ns=total_ns,
        cost_usd=cost or None,  # nothing is no price, but that of runs without a call
        rows=tuple(sorted(rows, key=lambda row: (_BY.index(row.by), -row.wall_ns, row.key))),
        opportunities=tuple(
            sorted(
                (
                    Opportunity(
                        code,
                        len({trace_id for trace_id, _, _ in told}),
                        added(saving for _, saving, _ in told),
                        told[0][2],
                    )
                    for code, told in found.items()
                ),
                key=lambda one: (*largest_first(one.saving), one.code),
            )
        ),
        slowest=tuple(sorted(walls, key=lambda slow: (-slow.wall_ns, slow.trace_id))[:5]),
        health=_added(healths, [_failed(every, len(walls)) for every in faults.values()]),
        hands_on=handing,
        id_length=id_length([slow.trace_id for slow in walls]),
        undeclared=len(walls) if inferred == len(walls) and _may_be_one(steps) else 0,
        is_one_program=len(programs) == 1 and None not in programs,
        first_ns=min(starts, default=0),
        last_ns=max(starts, default=0),
        priced_share=min(1.0, priced / tokens) if tokens else 0.0,
        is_priced=is_priced,
        is_lower_bound=is_lower_bound or not is_priced,
    )


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


_BY: Final = ("kind", "operation", "agent", "turn")


def _places(
    run: Run,
) -> tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int], Mapping[str, int]]:
    """Adds up time on the critical path of `run` in ns by each of `_BY`."""
    starts = [*_turn_starts(run), _NEVER]
    turn, since_ns = 0, run.trace.start_ns
    roles: dict[str, int] = {}
    spent: dict[Kind, dict[int, int]] = {}
    for section in run.path.sections:
        start_ns = section.start_ns
        if start_ns >= starts[turn]:
            if start_ns > since_ns:
                _add(roles, _role(turn, len(starts) - 1), start_ns - since_ns)
            turn, since_ns = bisect_right(starts, start_ns), start_ns
        of_kind = spent.get(section.kind)
        if of_kind is None:
            of_kind = spent[section.kind] = {}
        span = section.span
        of_kind[span] = of_kind.get(span, 0) + section.end_ns - start_ns
    _add(roles, _role(turn, len(starts) - 1), run.trace.end_ns - since_ns)
    spans, agents = run.trace.spans, _agents(run)
    operations: dict[str, int] = {}
    by_agent: dict[str, int] = {}
    for kind, of_kind in spent.items():
        in_calls = kind == "llm" or kind in _PHASES
        for span, length in of_kind.items():
            if span == NO_SPAN:
                operation = agent = str(kind)
            else:
                agent = agents[span]
                operation = _model(run, span, kind) if in_calls else spans[span].name
            if kind == "retry":
                operation = "retries and back-off"
            operations[operation] = operations.get(operation, 0) + length
            by_agent[agent] = by_agent.get(agent, 0) + length
    kinds: dict[str, int] = dict(run.wall.path.items())
    return kinds, operations, by_agent, roles


_NEVER: Final = 1 << 80
"""Later than any time there is."""


def _add(sums: dict[str, int], key: str, amount: int) -> None:
    sums[key] = sums.get(key, 0) + amount


def _turn_starts(run: Run) -> Sequence[int]:
    """Finds when the turns of the longest conversation of `run` start."""
    longest = max(run.usage.conversations, key=lambda one: len(one.calls), default=None)
    return () if longest is None else sorted(run.trace.spans[i].start_ns for i in longest.calls)


def _role(turn: int, turns: int) -> str:
    """Names the role of one of so many turns: its call, its tools, and what follows them."""
    if not turns:
        return "none"
    if turn == 0:
        return "before"
    if turns == 1:
        return "only"
    return "first" if turn == 1 else "last" if turn == turns else "middle"


def _agents(run: Run) -> Sequence[str]:
    """Names, for each span, the agent it works for: the nearest one above, else the root."""
    spans, parents = run.trace.spans, run.trace.parents
    names = [""] * len(spans)
    for i in run.kinds.top_down:
        parent = parents[i]
        own = spans[i].category == "agent" or parent == NO_SPAN
        names[i] = spans[i].name.removeprefix("invoke_agent ") if own else names[parent]
    return names


def _model(run: Run, span: int, kind: Kind) -> str:
    """Names the model that was called with `span`, and the phase of the call."""
    call = run.trace.spans[run.kinds.calls[span]]
    model = (call.model_call and call.model_call.model) or call.name
    return model if kind == "llm" else f"{model} {_PHASES[kind]}"


_PHASES: Final[Mapping[Kind, str]] = {"first_token": "first token", "generation": "generation"}


def _row(by: str, key: str, spent: Sequence[int], total_ns: int, runs: int) -> Row:
    wall_ns = sum(spent)
    each = spread([*spent, *[0] * (runs - len(spent))])
    return Row(
        by=by,
        key=key,
        wall_ns=wall_ns,
        share=wall_ns / total_ns if total_ns else 0.0,
        p50_ns=each.p50,
        p95_ns=each.p95,
        runs=len(spent),
    )


def _failed(faults: Sequence[Fault], runs: int) -> str:
    one = faults[0]
    return f"{one.code} failed in {len(faults):,} of {runs:,} runs, please report this: {one.why}"


def _added(healths: Sequence[Health], notes: Sequence[str]) -> Health:
    """Adds up `healths`, whose notes are of single runs; `notes` are of all of them."""
    return Health(
        **{
            name: sum(getattr(health, name) for health in healths)
            for name in Health.__struct_fields__
            if name != "notes"
        },
        notes=tuple(notes),
    )
