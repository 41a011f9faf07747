"""What many runs would have been like with some changes: wall, cost, path, and how sure that is.

Every trace is replayed with all changes at once. The range says what measuring as many new runs
would show in four cases of five: the runs differ from each other (bootstrap of the percentile, for
the old and for the new runs), and a replay is wrong by a few percent of what it changes.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct, field

from causepath_analyzer.analyses.causes import Causes, causes
from causepath_analyzer.analyses.cost import cost_usd
from causepath_analyzer.analyses.critical_path import (
    Overflow,
    critical_path,
    first_token_ns,
)
from causepath_analyzer.analyses.data_flow import DataFlow
from causepath_analyzer.analyses.edits import (
    Apply,
    Cache,
    Eager,
    Early,
    Edit,
    Editing,
    NoRetries,
    OtherModel,
    Remove,
    Scale,
    Together,
    described,
    kind_of,
    outermost,
    scale_of,
)
from causepath_analyzer.analyses.findings import CODES, Candidate
from causepath_analyzer.analyses.independence import NOWHERE, Elsewhere, elsewhere
from causepath_analyzer.analyses.kinds import SpanKinds, span_kinds
from causepath_analyzer.analyses.operations import name_of, operation_of, operations, selected
from causepath_analyzer.analyses.opportunities import apply, candidates
from causepath_analyzer.analyses.pace import Pace, Timed, pace, timed_calls
from causepath_analyzer.analyses.replay import (
    Changes,
    Replayed,
    Schedule,
    Turns,
    new_trace,
    replayed,
    schedule,
)
from causepath_analyzer.analyses.usage import usage
from causepath_analyzer.errors import UsageError
from causepath_analyzer.model import NO_SPAN, NO_TOKENS, Trace

COVERAGE: Final = 0.8
"""How many of the new measurements a range is to contain."""
_DRAWS: Final = 2000
_SEED: Final = 20
_MODEL_ERROR: Final = 0.03
"""How far off a replay is taken to be, as a part of the change, while nothing was measured."""
_JITTER: Final = 0.002
"""How far a wall time is off for reasons that are in no trace."""


class Estimate(Struct, frozen=True):
    """A percentile of the wall time now and with the changes; ``low`` to ``high`` is the range
    that the new one is expected in, ``None`` where one run alone says nothing about it."""

    now_ns: int
    then_ns: int
    low_ns: int | None
    high_ns: int | None


class Place(Struct, frozen=True):
    """An operation and its part of the wall time of a typical run."""

    name: str
    share: float


class PastErrors(Struct, frozen=True):
    """How far predictions with the same kinds of changes were off, as parts of what was saved."""

    errors: tuple[float, ...] = ()


class WhatIf(Struct, frozen=True):
    """``agents`` says how many runs each agent had; ``turns`` is the median of a run, with the
    changes. ``cost_usd`` are the means per run, ``None`` where a price is not known."""

    edits: tuple[str, ...]
    kinds: tuple[str, ...]
    runs: int
    touched: int
    p50: Estimate
    p95: Estimate
    cost_now_usd: Decimal | None
    cost_then_usd: Decimal | None
    path_now: tuple[Place, ...]
    path_then: tuple[Place, ...]
    assumes: tuple[str, ...]
    not_predicted: tuple[str, ...]
    agents: Mapping[str, int]
    turns: int
    past: PastErrors = PastErrors()


class Change(Struct, frozen=True):
    """One run with changes: its schedule, what they are, and the times they give."""

    plan: Schedule
    changes: Changes
    times: Replayed


def changed(trace: Trace, edits: Sequence[Edit]) -> Change:
    """`trace` with all of `edits`, found in it alone."""
    run = _run(trace, NOWHERE if any(isinstance(change, Apply) for change in edits) else None)
    plan = schedule(trace, run.causes)
    editing = Editing(plan, run.kinds)
    for change in edits:
        _applied(run, plan, editing, change, _paces([run], edits), _Notes())
    changes = editing.done()
    return Change(plan, changes, replayed(plan, changes))


class _Guesses(Struct):
    """Of tools that are started on a guess at every model call."""

    runs: int = 0
    calls: int = 0
    wrong: int = 0
    wasted_ns: int = 0


class _Notes(Struct):
    """What to say about all runs, gathered while each is edited."""

    said: dict[str, None] = field(default_factory=dict)
    guesses: dict[str, _Guesses] = field(default_factory=dict)

    def told(self) -> tuple[str, ...]:
        guessed = (
            f"{tools}: guessed at every model call, right {of.calls - of.wrong} of {of.calls} "
            f"times; the wrong ones are {of.wasted_ns / of.runs / 1e6:.0f} ms of work in vain in "
            "each run"
            for tools, of in self.guesses.items()
        )
        return *self.said, *guessed


class _Run(Struct, frozen=True):
    trace: Trace
    kinds: SpanKinds
    causes: Causes
    found: Sequence[Candidate]


def what_if(
    traces: Sequence[Trace],
    edits: Sequence[Edit],
    overflow: Overflow = "async",
    past: Callable[[Sequence[str]], PastErrors] | None = None,
) -> WhatIf:
    """All of `traces` with all of `edits`.

    Raises `UsageError` for an edit that finds nothing to change, with what there is.
    """
    trusted = [trace for trace in traces if not trace.untrusted]
    if not trusted:
        raise UsageError("the times in these traces mean nothing, so nothing can be predicted")
    wanted = any(isinstance(change, Apply) for change in edits)
    others = elsewhere(trusted) if wanted else None
    runs = [_run(trace, others) for trace in trusted]
    paces = _paces(runs, edits)
    touched = [0] * len(edits)
    notes = _Notes()
    now: list[int] = []
    then: list[int] = []
    costs: list[tuple[Decimal | None, Decimal | None]] = []
    turns: list[int] = []
    changed_runs = 0
    kept: dict[int, tuple[Schedule, Changes, Replayed]] = {}
    middle = sorted(range(len(runs)), key=lambda n: runs[n].trace.wall_ns)[len(runs) // 2]
    for number, run in enumerate(runs):
        plan = schedule(run.trace, run.causes)
        editing = Editing(plan, run.kinds)
        counts = [_applied(run, plan, editing, change, paces, notes) for change in edits]
        touched = [total + count for total, count in zip(touched, counts, strict=True)]
        changed_runs += any(counts)
        changes = editing.done()
        times = replayed(plan, changes)
        now.append(run.trace.wall_ns)
        then.append(times.wall_ns)
        if number == middle:
            kept[number] = (plan, changes, times)
        costs.append(_costs(run, changes, plan, times))
        unpaid = {i for i, call in changes.calls.items() if call.tokens is NO_TOKENS}
        gone = sum(run.kinds.calls[i] == i for i in changes.dropped | unpaid)
        turns.append(usage(run.trace).turns - gone - _merged(run, edits))
    for change, count in zip(edits, touched, strict=True):
        if not count:
            raise UsageError(_nothing(change, runs))
    kinds = tuple(dict.fromkeys(kind_of(change) for change in edits))
    errors = past(kinds) if past is not None else PastErrors()
    plan, changes, times = kept[middle]
    return WhatIf(
        edits=tuple(described(change) for change in edits),
        kinds=kinds,
        runs=len(runs),
        touched=changed_runs,
        p50=_estimate(now, then, 50, errors),
        p95=_estimate(now, then, 95, errors),
        cost_now_usd=_mean([cost for cost, _ in costs]),
        cost_then_usd=_mean([cost for _, cost in costs]),
        path_now=_path(runs[middle].trace, overflow),
        path_then=_path(new_trace(plan, changes, times), overflow),
        assumes=(*notes.told(), *_assumptions(edits, len(traces) - len(runs))),
        not_predicted=_not_predicted(edits),
        agents=agents(trusted),
        turns=sorted(turns)[len(turns) // 2],
        past=errors,
    )


def agents(traces: Sequence[Trace]) -> dict[str, int]:
    """How many runs each agent has in `traces`."""
    counted: dict[str, int] = {}
    for trace in traces:
        name = trace.spans[trace.main_root].name.removeprefix("invoke_agent ")
        counted[name] = counted.get(name, 0) + 1
    return dict(sorted(counted.items()))


def median_turns(traces: Sequence[Trace]) -> int:
    """The turns of a typical run."""
    turns = sorted(usage(trace).turns for trace in traces)
    return turns[len(turns) // 2]


def _run(trace: Trace, others: Elsewhere | None) -> _Run:
    """`trace` with what is known of it; candidates only where they are wanted."""
    kinds = span_kinds(trace)
    known = causes(trace, kinds)
    found = () if others is None else candidates(trace, kinds, known, others)
    return _Run(trace, kinds, known, found)


def _applied(
    run: _Run,
    plan: Schedule,
    editing: Editing,
    change: Edit,
    paces: Mapping[str, Pace | None],
    notes: _Notes,
) -> int:
    """Applies `change` to one run; says how much of it there was to change."""
    trace, kinds, known = run.trace, run.kinds, run.causes
    if isinstance(change, Apply):
        chosen = [candidate for candidate in run.found if candidate.code == change.code]
        for candidate in chosen:
            apply(editing, candidate, change.limit)
            if isinstance(candidate.change, Turns):
                notes.said[_merging(candidate.change)] = None
        return len(chosen)
    if isinstance(change, NoRetries):
        editing.no_retries()
        return sum(span.category == "retry" for span in trace.spans)
    if isinstance(change, OtherModel):
        return _other_model(run, editing, change, paces.get(change.new))
    if isinstance(change, Scale):
        return scale_of(plan, kinds, change, editing)
    found = selected(trace, kinds, change.what)
    if isinstance(change, Together):
        groups = _groups(trace, known, found)
        for group in groups:
            editing.together([(span,) for span in group], change.limit)
        return len(groups)
    if isinstance(change, Early | Eager):
        asked: dict[int, list[int]] = {}
        for tool in found:
            if known.issuers[tool] != NO_SPAN:
                asked.setdefault(known.issuers[tool], []).append(tool)
        for issuer, tools in asked.items():
            if isinstance(change, Eager):
                if first_token_ns(trace, kinds, issuer) is None:
                    notes.said["replies without a time to first token stay as they are"] = None
                editing.eager(tools, issuer)
            else:
                for tool in tools:
                    editing.early(tool, issuer)
        if isinstance(change, Early) and asked:
            _waste(run, found, asked, notes)
        return len(asked)
    found = outermost(known.parents, found)
    if isinstance(change, Remove):
        for span in found:
            editing.remove(span)
        return len(found)
    repeats = _repeats(run, found)
    for span in repeats:
        editing.fixed(span, min(change.lookup_ns, trace.spans[span].duration_ns))
    return len(repeats)


def _merging(turns: Turns) -> str:
    """What has to hold for `turns` to become one."""
    tools = "side by side, as this agent does" if turns.beside else "one after the other"
    if turns.estimated:
        return (
            "CP103: replies whose first token is not known were written at the pace of other calls "
            f"of their model; the tools of both turns run {tools}"
        )
    return (
        "CP103: the first reply also writes what the second one wrote, in the same time; the "
        f"tools of both turns run {tools}"
    )


def _groups(trace: Trace, known: Causes, found: Sequence[int]) -> list[list[int]]:
    """Spans below one parent that follow each other, in order of start."""
    groups: dict[tuple[int, int], list[int]] = {}
    for span in found:
        groups.setdefault((known.parents[span], known.issuers[span]), []).append(span)
    spans = trace.spans
    return [
        group
        for group in groups.values()
        if len(group) > 1
        and max(spans[i].start_ns for i in group) >= min(spans[i].ended_ns for i in group)
    ]


def _repeats(run: _Run, found: Sequence[int]) -> Sequence[int]:
    """Calls that came again after an equal one had ended: equal arguments, and results if known."""
    spans = run.trace.spans
    flow = DataFlow(run.trace)
    first: dict[object, int] = {}
    repeats = []
    for i in found:
        asked, answer = _asked(flow, i)
        if asked is None:
            continue
        before = first.setdefault((name_of(run.trace, run.kinds, i), asked), i)
        if before == i or spans[before].ended_ns > spans[i].start_ns:
            continue
        earlier = _asked(flow, before)[1]
        if answer is None or earlier is None or answer == earlier:
            repeats.append(i)
    return repeats


def _asked(flow: DataFlow, span: int) -> tuple[object, object]:
    """What a call was given and what it returned, to be compared; ``None`` where not known."""
    told = flow.trace.spans[span]
    if told.tool_call is not None:
        return told.tool_call.arguments, told.tool_call.result
    blocks = told.model_call.blocks if told.model_call is not None else None
    answered = [block.digest for block in blocks.answered] if blocks is not None else None
    return flow.given(span) or None, answered or None


def _waste(
    run: _Run, found: Sequence[int], asked: Mapping[int, Sequence[int]], notes: _Notes
) -> None:
    """Notes how often a guess would have been wrong, and what that would have cost."""
    names = sorted({name_of(run.trace, run.kinds, i) for i in found})
    calls = sum(run.kinds.calls[i] == i for i in range(len(run.trace.spans)))
    each_ns = sum(run.trace.spans[i].duration_ns for i in found) // len(found)
    guesses = notes.guesses.setdefault(", ".join(names), _Guesses())
    guesses.runs += 1
    guesses.calls += calls
    guesses.wrong += calls - len(asked)
    guesses.wasted_ns += (calls - len(asked)) * each_ns


def _other_model(run: _Run, editing: Editing, change: OtherModel, pace: Pace | None) -> int:
    if pace is None:
        return 0
    count = 0
    for i, call in enumerate(run.kinds.calls):
        told = run.trace.spans[i].model_call
        if call == i and told is not None and told.model == change.old:
            editing.other_model(i, change.new, pace)
            count += 1
    return count


def _paces(runs: Sequence[_Run], edits: Sequence[Edit]) -> dict[str, Pace | None]:
    """How fast the models are that `edits` change to, in all of `runs`."""
    calls: dict[str, list[Timed]] = {c.new: [] for c in edits if isinstance(c, OtherModel)}
    if calls:
        for run in runs:
            for model, timed in timed_calls(run.trace, run.kinds, run.causes).items():
                if model in calls:
                    calls[model] += timed
    return {model: pace(timed) for model, timed in calls.items()}


def _merged(run: _Run, edits: Sequence[Edit]) -> int:
    """How many turns become part of others."""
    codes = {change.code for change in edits if isinstance(change, Apply)}
    return sum(c.code in codes and not isinstance(c.change, tuple) for c in run.found)


def _costs(
    run: _Run, changes: Changes, plan: Schedule, times: Replayed
) -> tuple[Decimal | None, Decimal | None]:
    used = usage(run.trace)
    if not used.calls.llm:
        return Decimal(0), Decimal(0)
    cost = cost_usd(used.models, run.trace.start_ns)
    if not changes.calls and not any(run.kinds.calls[i] != NO_SPAN for i in changes.dropped):
        return cost, cost
    edited = new_trace(plan, changes, times)
    models = usage(edited).models
    return cost, cost_usd(models, run.trace.start_ns) if models else Decimal(0)


def _mean(costs: Sequence[Decimal | None]) -> Decimal | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) / len(known) if len(known) == len(costs) else None


def _path(trace: Trace, overflow: Overflow) -> tuple[Place, ...]:
    """The operations that `trace` waited for most, largest share first."""
    kinds = span_kinds(trace)
    path = critical_path(trace, kinds, causes(trace, kinds), overflow)
    spent: dict[str, int] = {}
    for section in path.sections:
        if section.span == NO_SPAN:
            name = "covered by no span"
        else:
            unit = kinds.units[section.span]
            name = operation_of(trace, kinds, unit if unit != NO_SPAN else section.span)
            if section.kind in ("first_token", "generation"):
                name = name.replace("llm:", f"llm.{section.kind}:", 1)
            elif section.kind == "retry":
                name = "retry"
        spent[name] = spent.get(name, 0) + section.end_ns - section.start_ns
    wall = max(1, trace.wall_ns)
    most = sorted((item for item in spent.items() if item[1]), key=lambda one: (-one[1], one[0]))[
        :3
    ]
    return tuple(Place(name, length / wall) for name, length in most)


def _estimate(now: Sequence[int], then: Sequence[int], percent: int, past: PastErrors) -> Estimate:
    ordered_now, ordered = sorted(now), sorted(then)
    rank = -(-len(ordered) * percent // 100)
    was, value = ordered_now[rank - 1], ordered[rank - 1]
    if len(ordered) < 2:
        return Estimate(was, value, None, None)
    rng = random.Random(_SEED)

    def again() -> int:
        """How far off the percentile of as many runs is: an order statistic of the bootstrap."""
        place = int(rng.betavariate(rank, len(ordered) - rank + 1) * len(ordered))
        return ordered[min(place, len(ordered) - 1)] - value

    change = abs(was - value)
    draws = []
    for _ in range(_DRAWS):
        off = rng.choice(past.errors) if len(past.errors) >= 5 else rng.gauss(0, _MODEL_ERROR)
        noise = rng.gauss(0, _JITTER) * value
        draws.append(value + again() - again() + round(off * change + noise))
    draws.sort()
    tail = round(_DRAWS * (1 - COVERAGE) / 2)
    return Estimate(was, value, max(0, draws[tail]), max(0, draws[-1 - tail]))


def _assumptions(edits: Sequence[Edit], untrusted: int) -> list[str]:
    """What has to hold for the prediction to come true."""
    told = ["calls take as long as they took, the agent's own code too"]
    for change in edits:
        if isinstance(change, Together) or (isinstance(change, Apply) and change.code != "CP103"):
            limit = f"at most {change.limit} at once" if change.limit else "with the limits seen"
            told.append(f"{described(change)}: calls run together are no slower, {limit}")
        elif isinstance(change, Cache):
            told.append(f"{described(change)}: a hit costs {change.lookup_ns / 1_000_000:g} ms")
        elif isinstance(change, OtherModel):
            told.append(f"{change.new} writes as many tokens as {change.old} did")
        elif isinstance(change, Eager):
            told.append("the parts of a reply arrive evenly after its first token")
    if untrusted:
        told.append(f"{untrusted} traces whose times mean nothing are left out")
    return list(dict.fromkeys(told))


def _not_predicted(edits: Sequence[Edit]) -> tuple[str, ...]:
    told = []
    if any(isinstance(c, OtherModel | Remove) or kind_of(c) == "CP103" for c in edits):
        told.append("change of answer quality, and of the number of turns")
    if any(isinstance(c, Cache) for c in edits):
        told.append("answers that are out of date")
    if any(isinstance(c, Together) or kind_of(c) in ("CP101", "CP102") for c in edits):
        told.append("rate limits of the services that are called")
    return tuple(told) or ("what else the change does",)


def _nothing(change: Edit, runs: Sequence[_Run]) -> str:
    """Why `change` changed nothing, and what could be changed."""
    if isinstance(change, Apply):
        codes = {candidate.code for run in runs for candidate in run.found}
        unknown = "" if change.code in CODES else "no finding has this code; "
        there = f"there is {', '.join(sorted(codes))}" if codes else "nothing was found at all"
        return f"{change.code}: {unknown}no such finding in these traces; {there}"
    if isinstance(change, NoRetries):
        return "no-retries: there are no retries in these traces"
    spent: dict[str, int] = {}
    for run in runs:
        for name, time_ns in operations(run.trace, run.kinds).items():
            spent[name] = spent.get(name, 0) + time_ns
    most = sorted(spent, key=lambda name: (-spent[name], name))
    listed = ", ".join(most[:12]) + (f" and {len(most) - 12} more" if len(most) > 12 else "")
    why = "names nothing in these traces"
    if isinstance(change, OtherModel):
        models = sorted(name.partition(":")[2] for name in spent if name.startswith("llm:"))
        there = ", ".join(models) if models else "no call of a model"
        return f"{described(change)}: needs calls of both models; there is {there}"
    if isinstance(change, Cache) and any(
        selected(run.trace, run.kinds, change.what) for run in runs
    ):
        return (
            f"{described(change)}: no call is known to repeat another one; whether arguments are "
            "equal can only be told where they were recorded"
        )
    if isinstance(change, Together | Early | Eager | Scale) and any(
        selected(run.trace, run.kinds, change.what) for run in runs
    ):
        why = {
            "together": "no two of these run in sequence below one span",
            "scale": "no time to first token was recorded for these",
        }.get(kind_of(change).partition(" ")[0], "no model call is known to have asked for these")
    return f"{described(change)}: {why}; there is {listed}"
