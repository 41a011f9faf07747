"""Where the money of a run went: by what is billed, call, agent, model and session.

The parts of all calls add up to the cost of the run exactly. A call without a price is in no sum,
and is counted.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.money.carried import Carried, carried
from causepath_analyzer.analyses.path.cost import PARTS, Part, counts_of, rates_of


class Amount(Struct, frozen=True):
    """``usd`` for a ``count`` of tokens, of searches or of calls."""

    usd: Decimal
    count: int


class CallCost(Struct, frozen=True):
    """The cost of the call in ``span``, ``None`` if its price is not known, and what of it was paid
    for which part."""

    span: int
    usd: Decimal | None
    parts: Mapping[Part, Decimal]


class Share(Struct, frozen=True):
    """The cost of all ``calls`` of one agent, model or session, or inside one tool, but those that
    are ``unpriced``."""

    by: str
    key: str
    usd: Decimal | None
    calls: int
    unpriced: int


class Money(Struct, frozen=True):
    """The cost of a run, taken apart. ``parts`` has those that cost something, ``shares`` are the
    largest first."""

    usd: Decimal
    parts: Mapping[Part, Amount]
    calls: tuple[CallCost, ...]
    shares: tuple[Share, ...]
    carried: tuple[Carried, ...]


def money(facts: Facts) -> Money | None:
    """Takes the cost of a run apart; ``None`` where no call has a known price."""
    used = facts.usage
    usd = facts.cost.usd
    if usd is None:
        return None
    sums = [Decimal(0)] * len(PARTS)
    counts = [0] * len(PARTS)
    calls = []
    for call, start_ns, span in zip(used.models, used.started_ns, used.spans, strict=True):
        rates = rates_of(call, start_ns, facts.prices)
        if rates is None:
            calls.append(CallCost(span, None, {}))
            continue
        of_call = counts_of(call)
        costs = [rate * count for rate, count in zip(rates, of_call, strict=True)]
        for part, (cost, count) in enumerate(zip(costs, of_call, strict=True)):
            sums[part] += cost
            counts[part] += count
        paid = {part: cost for part, cost in zip(PARTS, costs, strict=True) if cost}
        calls.append(CallCost(span, sum(costs, Decimal(0)), paid))
    parts = {
        part: Amount(cost, count)
        for part, cost, count in zip(PARTS, sums, counts, strict=True)
        if cost
    }
    return Money(usd, parts, tuple(calls), _shares(facts, calls), carried(facts))


def _shares(facts: Facts, calls: Sequence[CallCost]) -> tuple[Share, ...]:
    """Adds up `calls` by agent, model, session and the tool that they were made in."""
    spans = facts.trace.spans
    sessions = {span.session for span in spans} - {None}
    only = sessions.pop() if len(sessions) == 1 else None
    found: dict[tuple[str, str], list[CallCost]] = {}
    for one in calls:
        span = spans[one.span]
        call = span.model_call or span.repeats
        agent, tool = _worked_for(facts, one.span)
        keys = {
            "agent": agent,
            "model": None if call is None else call.model,
            "session": span.session or only,
            "tool": tool,
        }
        for by, key in keys.items():
            if key is not None:
                found.setdefault((by, key), []).append(one)
    shares = [_share(by, key, every) for (by, key), every in found.items()]
    return tuple(sorted(shares, key=lambda one: (one.by, -(one.usd or 0), one.key)))


def _worked_for(facts: Facts, call: int) -> tuple[str | None, str | None]:
    """Names the agent that `call` worked for, else its root, and the tool that it was made in."""
    spans, agents = facts.trace.spans, facts.kinds.agents
    tool = None
    above = agents[call]
    while spans[above].category == "tool" and agents[above] != above:
        told = spans[above].tool_call
        tool = tool or (told and told.name) or spans[above].name
        above = agents[above]
    if above == call:
        return None, tool
    return spans[above].name.removeprefix("invoke_agent "), tool


def _share(by: str, key: str, calls: Sequence[CallCost]) -> Share:
    known = [one.usd for one in calls if one.usd is not None]
    usd = sum(known, Decimal(0)) if known else None
    return Share(by, key, usd, len(calls), len(calls) - len(known))
