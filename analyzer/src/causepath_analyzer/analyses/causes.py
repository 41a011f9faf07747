"""Which model call asked for a tool, and the tree as it is once causes are taken into account.

In traces of real agents, spans of a model call and of the tools it asked for overlap as siblings,
although the tools could not start before the call had asked for them:

    agent   |--------------------------------|       agent   |--------------------------------|
    chat     |------------|                     =>   chat     |-----|
    tool            |-----------|                    tool            |-----------|

so before the critical path is walked

- a tool that starts inside a model call takes its time from that call: it is hung below the call
  if it ends with it, else the call is cut where the tool starts;
- a SERVER span whose CLIENT is its sibling hangs below that client.
"""

from collections.abc import Sequence
from typing import Literal

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
        _take_tools_out(trace, tools, calls, issuers, how, parents, ends_ns)
    _hang_servers_below_clients(trace, parents)
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
        before = NO_SPAN
        for call in evidence.turns.calls.get(evidence.turns.agents[tool], ()):
            if trace.spans[call].start_ns >= span.start_ns:
                break
            before = call
        if before != NO_SPAN and _may_have_asked(trace, before):
            return before, "order"
    return NO_SPAN, None


def _next_call(turns: _Turns, call: int) -> int:
    """The call after `call` among those of its agent."""
    own = turns.calls.get(turns.agents[call], ()) if call != NO_SPAN else ()
    return next((later for later in own if later > call), NO_SPAN)


def _may_have_asked(trace: Trace, call: int) -> bool:
    model_call = trace.spans[call].model_call
    reasons = model_call.finish_reasons if model_call is not None else ()
    return not reasons or "tool_call" in reasons


def _take_tools_out(
    trace: Trace,
    tools: Sequence[int],
    calls: Sequence[int],
    issuers: Sequence[int],
    how: Sequence[How | None],
    parents: list[int],
    ends_ns: list[int],
) -> None:
    spans = trace.spans
    tools_of: dict[int, list[int]] = {}
    for i in tools:
        span = spans[i]
        parent = parents[i]
        if parent != NO_SPAN and calls[parent] == parent:
            tools_of.setdefault(parent, []).append(i)
            continue
        beside = [
            j
            for j in (trace.children[parent] if parent != NO_SPAN else trace.roots)
            if calls[j] == j and spans[j].start_ns < span.start_ns < spans[j].ended_ns
        ]
        if how[i] in ("link", "id"):
            beside = [j for j in beside if j == issuers[i]]
        if beside:
            tools_of.setdefault(max(beside), []).append(i)
    for call, asked in tools_of.items():
        # From the last start to the first: each cut may put tools that began later outside.
        for tool in sorted(asked, reverse=True):
            if spans[tool].ended_ns > ends_ns[call]:
                ends_ns[call] = spans[tool].start_ns
        for tool in asked:
            inside = spans[tool].start_ns < ends_ns[call]
            parents[tool] = call if inside else trace.parents[call]


def _hang_servers_below_clients(trace: Trace, parents: list[int]) -> None:
    spans = trace.spans
    families = [family for family in (trace.roots, *trace.children) if len(family) > 1]
    for family in families:
        servers = [i for i in family if spans[i].kind == "server"]
        if not servers:
            continue
        clients = [
            i
            for i in family
            if spans[i].kind == "client"
            and not any(spans[j].kind == "server" for j in trace.children[i])
        ]
        if clients:
            for i in servers:
                _hang_below_client(trace, i, clients, servers, parents)


def _hang_below_client(
    trace: Trace, server: int, clients: list[int], servers: list[int], parents: list[int]
) -> None:
    """Below the client that started last before it, inside any request that encloses it."""
    spans = trace.spans
    span = spans[server]
    called = [
        i
        for i in clients
        if spans[i].start_ns <= span.start_ns < spans[i].ended_ns
        and (spans[i].category == "llm") == (span.category == "llm")
    ]
    if not called:
        return
    client = called[-1]
    # Two layers of a server may record the same request: the inner one hangs below the outer.
    outer = [
        i
        for i in servers
        if i < server
        and spans[i].service == span.service
        and spans[client].start_ns <= spans[i].start_ns
        and span.ended_ns <= spans[i].ended_ns
    ]
    parents[server] = outer[-1] if outer else client
