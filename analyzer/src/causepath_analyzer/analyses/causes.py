"""Which model call asked for a tool, and the tree as it is once causes are taken into account.

In traces of real agents, spans of a model call and of the tools it asked for overlap as siblings,
although the tools could not start before the call had asked for them:

    agent   |--------------------------------|       agent   |--------------------------------|
    chat     |------------|                     =>   chat     |-----|
    tool            |-----------|                    tool            |-----------|

so before the critical path is walked

- a tool that starts inside a model call takes its time from that call: it is hung below the call
  if it ends with it, else the call is cut where the tool starts;
- a SERVER span whose CLIENT is its sibling hangs below that client;
- what lies inside the time of a childless framework step hangs below that step.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.kinds import SpanKinds
from causepath_analyzer.model import NO_SPAN, Trace

How = Literal["link", "id", "parent", "order"]
"""How it is known which call asked: a span link, the id in the recorded reply, the tool's parent,
or that the tool has a call id and runs between this call and the next of the same agent."""


class Causes(Struct, frozen=True):
    """For each span of a trace, by number.

    ``issuers[i]`` is the model call that asked for tool *i*, ``how[i]`` how that is known, and
    ``answered_by[i]`` the next call of the same agent, which carried the tool's result; `NO_SPAN`
    and ``None`` where nothing says so. ``parents`` is the corrected tree, ``ends_ns`` where model
    calls end once their tools are cut out.
    """

    issuers: Sequence[int]
    how: Sequence[How | None]
    answered_by: Sequence[int]
    parents: Sequence[int]
    ends_ns: Sequence[int]


def causes(trace: Trace, kinds: SpanKinds) -> Causes:
    """The causes in `trace`, whose spans mean `kinds`, and the tree they make."""
    spans = trace.spans
    issuers, answered_by = [NO_SPAN] * len(spans), [NO_SPAN] * len(spans)
    how: list[How | None] = [None] * len(spans)
    parents = list(trace.parents)
    ends_ns = [span.ended_ns for span in spans]
    tools = [i for i, span in enumerate(spans) if span.category == "tool"]
    if tools:
        calls = kinds.calls
        evidence = _evidence(trace, calls)
        for tool in tools:
            issuers[tool], how[tool] = _issuer(trace, tool, calls, evidence)
            answered_by[tool] = _next_call(evidence.turns, issuers[tool])
        _take_tools_out(trace, kinds, issuers, how, parents, ends_ns)
    _hang_servers_below_clients(trace, parents)
    _hang_inside_steps(trace, parents)
    return Causes(issuers, how, answered_by, parents, ends_ns)


class _Evidence(Struct, frozen=True):
    """Look-ups for finding who asked: spans by id, model calls by the tool calls they issued."""

    spans: dict[str, int]
    issued: dict[str, int]
    turns: "_Turns"


def _evidence(trace: Trace, calls: Sequence[int]) -> _Evidence:
    return _Evidence(
        {span.span_id: i for i, span in enumerate(trace.spans)},
        {
            call_id: calls[i]
            for i, span in enumerate(trace.spans)
            if span.model_call is not None and calls[i] != NO_SPAN
            for call_id in span.model_call.issued
        },
        _turns(trace, calls),
    )


class _Turns(Struct, frozen=True):
    """``agents[i]``: the agent (or tool, or root) that span *i* works for; ``calls``: its model
    calls in order of time, for agents that make one call at a time."""

    agents: tuple[int, ...]
    calls: dict[int, list[int]]


def _turns(trace: Trace, calls: Sequence[int]) -> _Turns:
    spans = trace.spans
    agents = [NO_SPAN] * len(spans)
    of_agent: dict[int, list[int]] = {}
    for i in trace.top_down():
        parent = trace.parents[i]
        if parent == NO_SPAN:
            agents[i] = i
        elif spans[parent].category in ("agent", "tool"):
            agents[i] = parent
        else:
            agents[i] = agents[parent]
    for i, call in enumerate(calls):
        if call == i:
            of_agent.setdefault(agents[i], []).append(i)
    for agent, turn_calls in list(of_agent.items()):
        latest_ns = None
        for i in turn_calls:  # in order of start, as spans are
            if latest_ns is not None and spans[i].start_ns < latest_ns:
                del of_agent[agent]
                break
            latest_ns = spans[i].ended_ns
    return _Turns(tuple(agents), of_agent)


def _issuer(
    trace: Trace, tool: int, calls: Sequence[int], evidence: _Evidence
) -> tuple[int, How | None]:
    span = trace.spans[tool]
    for link in span.links:
        linked = evidence.spans.get(link.span_id, NO_SPAN)
        if link.why in ("tool_call", None) and linked != NO_SPAN and calls[linked] != NO_SPAN:
            return calls[linked], "link"
    call_id = span.tool_call.call_id if span.tool_call is not None else None
    if call_id is not None and call_id in evidence.issued:
        return evidence.issued[call_id], "id"
    parent = trace.parents[tool]
    if parent != NO_SPAN and calls[parent] != NO_SPAN:
        return calls[parent], "parent"
    if call_id is not None:
        own = evidence.turns.calls.get(evidence.turns.agents[tool], ())
        # Spans are numbered in order of start, but those of equal start in order of id.
        earlier = bisect_left(own, span.start_ns, key=lambda call: trace.spans[call].start_ns)
        if earlier and _may_have_asked(trace, own[earlier - 1]):
            return own[earlier - 1], "order"
    return NO_SPAN, None


def _next_call(turns: _Turns, call: int) -> int:
    """The call after `call` among those of its agent."""
    own = turns.calls.get(turns.agents[call], ()) if call != NO_SPAN else ()
    later = bisect_right(own, call)
    return own[later] if later < len(own) else NO_SPAN


def _may_have_asked(trace: Trace, call: int) -> bool:
    model_call = trace.spans[call].model_call
    reasons = model_call.finish_reasons if model_call is not None else ()
    return not reasons or "tool_call" in reasons


def _take_tools_out(
    trace: Trace,
    kinds: SpanKinds,
    issuers: Sequence[int],
    how: Sequence[How | None],
    parents: list[int],
    ends_ns: list[int],
) -> None:
    spans = trace.spans
    tools_of: dict[int, list[int]] = {}
    for parent, family in _families(trace):
        if parent != NO_SPAN and kinds.calls[parent] == parent:
            own = [i for i in family if spans[i].category == "tool"]
            if own:
                tools_of.setdefault(parent, []).extend(own)
            continue
        running = _Open(trace)
        for i in family:
            if spans[i].category == "tool":
                call = running.latest(spans[i].start_ns)
                if how[i] in ("link", "id"):
                    call = issuers[i] if _beside(trace, issuers[i], i) else NO_SPAN
                if call != NO_SPAN:
                    tools_of.setdefault(call, []).append(i)
            elif kinds.calls[i] == i:
                running.add(i)
    for call, asked in tools_of.items():
        # From the last start to the first: each cut may put tools that began later outside.
        for tool in sorted(asked, reverse=True):
            if spans[tool].ended_ns > ends_ns[call]:
                ends_ns[call] = spans[tool].start_ns
        for tool in asked:
            inside = spans[tool].start_ns < ends_ns[call]
            parents[tool] = call if inside else trace.parents[call]


def _beside(trace: Trace, call: int, tool: int) -> bool:
    """Whether `tool` starts inside `call`, which is its sibling."""
    asked, span = trace.spans[call], trace.spans[tool]
    siblings = trace.parents[call] == trace.parents[tool]
    return siblings and asked.start_ns < span.start_ns < asked.ended_ns


_SAME_START: Final = 16
"""Spans looked at that started at the very instant asked for, and so cannot be its cause."""


class _Open:
    """Of spans added in order of start the one that started last and still runs.

    Asked at instants that never go back, so what has ended is dropped for good.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._spans: list[int] = []

    def add(self, span: int) -> None:
        self._spans.append(span)

    def latest(self, at_ns: int) -> int:
        """The number of that span, which started before `at_ns`, else `NO_SPAN`."""
        spans = self._trace.spans
        while self._spans and spans[self._spans[-1]].ended_ns <= at_ns:
            self._spans.pop()
        recent = reversed(self._spans[-_SAME_START:])
        running = (i for i in recent if spans[i].start_ns < at_ns < spans[i].ended_ns)
        return next(running, NO_SPAN)


def _families(trace: Trace) -> Iterator[tuple[int, Sequence[int]]]:
    """Every parent with its children; the roots are the children of `NO_SPAN`."""
    yield NO_SPAN, trace.roots
    for parent, family in enumerate(trace.children):
        if family:
            yield parent, family


def _hang_servers_below_clients(trace: Trace, parents: list[int]) -> None:
    """Also a request inside one that another layer of the same server recorded."""
    spans = trace.spans
    for _, family in _families(trace):
        if len(family) < 2 or not any(spans[i].kind == "server" for i in family):
            continue
        running = {False: _Open(trace), True: _Open(trace)}
        outer = NO_SPAN
        for i in family:
            span = spans[i]
            models = span.category == "llm"
            if span.kind == "client":
                if not any(spans[j].kind == "server" for j in trace.children[i]):
                    running[models].add(i)
            elif span.kind == "server":
                client = running[models].latest(span.start_ns)
                # A tool that was taken out of its model call has the better reason.
                if client == NO_SPAN or parents[i] != trace.parents[i]:
                    continue
                layered = (
                    outer != NO_SPAN
                    and spans[outer].service == span.service
                    and spans[outer].start_ns >= spans[client].start_ns
                    and spans[outer].ended_ns >= span.ended_ns
                )
                parents[i] = outer if layered else client
                if not layered or not trace.children[outer]:
                    outer = i


def _hang_inside_steps(trace: Trace, parents: list[int]) -> None:
    """Frameworks that lose their context record what a step does beside it.

    A step without children does no work of its own, so what lies inside its time is its work.
    """
    spans = trace.spans
    for _, family in _families(trace):
        if len(family) < 2:
            continue
        step = NO_SPAN
        for i in family:
            span = spans[i]
            if (
                step != NO_SPAN
                and parents[i] == trace.parents[i]
                and span.ended_ns <= spans[step].ended_ns
                and span.duration_ns < spans[step].duration_ns
                and span.service == spans[step].service
            ):
                parents[i] = step
            elif span.category == "chain" and not trace.children[i]:
                step = i
