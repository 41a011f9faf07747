"""The part of a run that is kept of it where there are many, once it is analysed."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct, field

from causepath_analyzer.analyses.budgets.measures import MEASURES
from causepath_analyzer.analyses.findings.opportunities import Fault
from causepath_analyzer.analyses.findings.rule import Evidence, Saving
from causepath_analyzer.analyses.labels import group_of_values
from causepath_analyzer.analyses.path.cost import TABLE_ONLY, Cost, OwnPrices, cost_of
from causepath_analyzer.analyses.path.critical_path import generated_until_ns
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.path.status import Ending
from causepath_analyzer.analyses.path.usage import is_hasty
from causepath_analyzer.analyses.proof.over_runs import CacheTrial
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN, TASKS, Category, Health

BY: Final = ("kind", "operation", "agent", "turn")
"""What the time on the critical path is told by."""


class ModelUse(Struct, array_like=True):
    """The use that one run made of a model. Times are of single calls, in ns; ``rates`` are tokens
    written in 1,000 seconds after the first one."""

    calls: int = 0
    failed: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    priced_tokens: int = 0
    usd: Decimal = Decimal(0)
    first_token_ns: list[int] = []
    rates: list[int] = []


class CallTimes(Struct, array_like=True):
    """The calls of one operation: how long they took, in ns, and how many failed."""

    durations_ns: list[int] = []
    failed: int = 0


class SideBySide(Struct, array_like=True):
    """The tools of the replies that asked for several: ``sum_ns`` is what they took one by one,
    ``busy_ns`` how long at least one of them ran, and ``longest_ns`` what they would take if all
    of a reply began together."""

    replies: int = 0
    sum_ns: int = 0
    busy_ns: int = 0
    longest_ns: int = 0


class Brief(Struct, frozen=True, array_like=True):
    """The part of a run that a summary keeps, which needs no more of its trace.

    ``cost_usd`` is ``None`` if it is not known. ``places`` are ns on the critical path by each of
    `BY`, ``findings`` code, saving and evidence of each, ``faults`` the rules that failed.
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
    service: str | None = None
    session: str | None = None
    user: str | None = None
    perceived_ns: int | None = None
    """Until the last answer began to come, if that is known."""
    input: int = 0
    cache_read: int = 0
    """Of ``input``, which is a part of ``tokens``."""
    kind_sums: Mapping[Kind, int] = {}
    """Plain sums of the durations of spans by kind, in ns."""
    models: Mapping[str, ModelUse] = {}
    calls: Mapping[Category, Mapping[str, CallTimes]] = {}
    """Calls by category and operation."""
    side_by_side: SideBySide = field(default_factory=SideBySide)
    caches: tuple[CacheTrial, ...] = ()
    """Caches over all runs, which findings of this one have tried."""
    is_picked: bool | None = True
    """An expression that says which runs are wanted is true of it; ``None`` if nobody knows."""
    label: str = ""
    """What it says of the attribute that runs are grouped by; empty where it says nothing."""


def brief(
    run: Run,
    prices: OwnPrices = TABLE_ONLY,
    is_picked: bool | None = True,
    attribute: str | None = None,
) -> Brief:
    """Keeps what many runs together are told by, with what it says of `attribute`. `prices` are
    those that `run` has its cost by."""
    trace = run.trace
    spans = trace.spans
    root = spans[trace.main_root]
    perceived = MEASURES["perceived"].of(run).amount
    tokens = run.usage.tokens
    models, calls = _used(run, prices)
    return Brief(
        start_ns=trace.start_ns,
        trace_id=trace.trace_id,
        wall_ns=trace.wall_ns,
        ending=run.ending,
        cost_usd=run.spent_usd,
        places=_places(run),
        findings=tuple([(one.code, one.saving, one.evidence) for one in run.findings]),
        caches=tuple([one.cache for one in run.findings if one.cache is not None]),
        health=run.health,
        hands_on=trace.hands_on,
        faults=run.faults,
        name=root.name,
        program=next((span.program for span in spans if span.program is not None), None),
        is_inferred=any(spans[i].is_inferred for i in trace.roots),
        model_calls=run.usage.calls.llm,
        priced_usd=run.cost.usd,
        tokens=tokens.input + tokens.output,
        priced_share=run.cost.share,
        joined=trace.joined,
        is_lower_bound=run.is_lower_bound,
        service=root.service,
        session=next((span.session for span in spans if span.session is not None), None),
        user=next((span.user for span in spans if span.user is not None), None),
        perceived_ns=perceived if isinstance(perceived, int) else None,
        input=tokens.input,
        cache_read=tokens.cache_read,
        kind_sums=run.wall.kind_sums,
        models=models,
        calls=calls,
        side_by_side=_side_by_side(run),
        is_picked=is_picked,
        label="" if attribute is None else group_of_values(trace, attribute),
    )


def _used(
    run: Run, prices: OwnPrices
) -> tuple[Mapping[str, ModelUse], Mapping[Category, Mapping[str, CallTimes]]]:
    """Tells what `run` used of each model, and how long the calls of each operation took: what an
    agent asks for and waits for."""
    calls = run.kinds.calls
    times: dict[Category, dict[str, CallTimes]] = {}
    models: dict[str, ModelUse] = {}
    for i, span in enumerate(run.trace.spans):
        category = span.category
        if category not in TASKS:
            continue
        if category == "llm":
            if calls[i] != i:
                continue
            call = span.model_call
            name = (call and call.model) or span.name
            _called(run, i, models.setdefault(name, ModelUse()))
        else:
            name = (span.tool_call and span.tool_call.name) or span.name
        operations = times.setdefault(category, {})
        known = operations.get(name)
        if known is None:
            known = operations[name] = CallTimes()
        known.durations_ns.append(span.ended_ns - span.start_ns)
        if span.error is not None:
            known.failed += 1
    used = run.usage
    names = [
        call.model or run.trace.spans[span].name
        for call, span in zip(used.models, used.spans, strict=True)
    ]
    for name, call in zip(names, used.models, strict=True):
        one = models.setdefault(name, ModelUse())
        tokens = call.tokens
        if tokens is not None:
            one.input += tokens.input
            one.output += tokens.output
            one.cache_read += min(tokens.cache_read, tokens.input)
    for name, cost in _costs(run, names, prices).items():
        one = models[name]
        one.usd = cost.usd or Decimal(0)
        one.priced_tokens = round(cost.share * (one.input + one.output))
    return models, times


def _called(run: Run, call: int, model: ModelUse) -> None:
    """Adds a call of a `model`."""
    span = run.trace.spans[call]
    told = span.model_call
    model.calls += 1
    if span.error is not None:
        model.failed += 1
        return
    if told is None or told.ttft_ns is None:
        return
    model.first_token_ns.append(max(0, told.ttft_ns))
    if told.tokens is None or not told.tokens.output or told.partial:
        return
    until_ns = None if told.generated_ns is None else generated_until_ns(run.trace, call)
    generated_ns = (until_ns or span.ended_ns) - span.start_ns - told.ttft_ns
    if generated_ns > 0 and not is_hasty(told, generated_ns):
        model.rates.append(told.tokens.output * _RATE // generated_ns)


_RATE: Final = 1_000 * 1_000_000_000
"""Seconds in which the rate of a model is counted, in ns."""


def _costs(run: Run, names: Sequence[str], prices: OwnPrices) -> Mapping[str, Cost]:
    """Tells the cost of the calls of each model."""
    used = run.usage
    different = dict.fromkeys(names)
    if len(different) < 2:
        return dict.fromkeys(different, run.cost)
    return {
        name: cost_of(
            [call for call, its in zip(used.models, names, strict=True) if its == name],
            [ns for ns, its in zip(used.started_ns, names, strict=True) if its == name],
            prices,
        )
        for name in different
    }


def _side_by_side(run: Run) -> SideBySide:
    """Tells how far the tools of one reply ran side by side."""
    spans = run.trace.spans
    asked: dict[int, list[int]] = {}
    for i, issuer in enumerate(run.causes.issuers):
        if issuer != NO_SPAN and spans[i].category == "tool":
            asked.setdefault(issuer, []).append(i)
    told = SideBySide()
    for tools in asked.values():
        if len(tools) < 2:
            continue
        windows = sorted(
            (spans[i].start_ns, spans[i].ended_ns)
            for i in tools
            if (call := spans[i].tool_call) is None or not call.inferred
        )
        if len(windows) < 2:
            continue
        told.replies += 1
        until_ns = windows[0][0]
        for start_ns, end_ns in windows:
            told.sum_ns += end_ns - start_ns
            told.busy_ns += max(0, end_ns - max(start_ns, until_ns))
            until_ns = max(until_ns, end_ns)
        told.longest_ns += max(end_ns - start_ns for start_ns, end_ns in windows)
    return told


def _places(
    run: Run,
) -> tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int], Mapping[str, int]]:
    """Adds up time on the critical path of `run` in ns by each of `BY`."""
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
