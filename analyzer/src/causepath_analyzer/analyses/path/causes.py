"""Which model call asked for a tool, and the tree as it is once causes are taken into account.

In traces of real agents, spans of a model call and of the tools it asked for overlap as siblings,
although the tools could not start before the call had asked for them:

    agent   |--------------------------------|       agent   |--------------------------------|
    chat     |------------|                     =>   chat     |-----|
    tool            |-----------|                    tool            |-----------|

so before the critical path is walked

- a tool that starts inside a model call takes its time from that call: it is hung below the call
  if it ends with it, else the call is cut where the tool starts; so it is where the next call
  begins, after the tool, before the call has ended. Where no id or link says which call asked, it
  is the one that runs, unless something else has ended meanwhile that the tool may have followed;
- a SERVER span whose CLIENT is its sibling hangs below that client;
- what lies inside the time of an agent, a step or another span that only contains others, and that
  did nothing else then, hangs below that.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.model import LATE, NO_SPAN, SOFT, TASKS, Span, Trace

How = Literal["link", "id", "parent", "order"]
"""How it is known which call asked: a span link, the id in the recorded reply, the tool's parent,
or that the tool has a call id and runs between this call and the next of the same agent."""


class Causes(Struct, frozen=True):
    """The causes of each span of a trace, by number.

    ``issuers[i]`` is the model call that asked for tool *i*, ``how[i]`` how that is known, and
    ``answered_by[i]`` the next call of the same agent, which carried the tool's result; `NO_SPAN`
    and ``None`` where nothing says so. ``parents`` is the corrected tree, ``ends_ns`` where model
    calls end once their tools are cut out; ``started_ns`` and ``ended_ns`` are as recorded.
    ``flow`` is what reached which span.
    """

    issuers: Sequence[int]
    how: Sequence[How | None]
    answered_by: Sequence[int]
    parents: Sequence[int]
    ends_ns: Sequence[int]
    started_ns: Sequence[int]
    ended_ns: Sequence[int]
    flow: DataFlow


def causes(trace: Trace, kinds: SpanKinds) -> Causes:
    """Finds the causes in `trace`, whose spans mean `kinds`, and the tree they make."""
    spans = trace.spans
    issuers, answered_by = [NO_SPAN] * len(spans), [NO_SPAN] * len(spans)
    how: list[How | None] = [None] * len(spans)
    parents = list(trace.parents)
    started_ns = [span.start_ns for span in spans]
    ended_ns = cast("list[int]", [span.end_ns for span in spans])  # known inside a trace
    known = Causes(
        issuers, how, answered_by, parents, ended_ns, started_ns, ended_ns, DataFlow(trace)
    )
    categories = [span.category for span in spans]
    if "tool" in categories:
        known = replace(known, ends_ns=list(ended_ns))
        tools = [i for i, category in enumerate(categories) if category == "tool"]
        evidence = _Evidence(trace, kinds, known)
        for tool in tools:
            issuers[tool], how[tool] = issuer, _ = evidence.issuer(tool)
            answered_by[tool] = evidence.next_call[issuer] if issuer != NO_SPAN else NO_SPAN
        _take_tools_out(trace, kinds, tools, known, parents)
    if "server" in [span.kind for span in spans]:
        _hang_servers_below_clients(trace, known, parents)
    if not SOFT.isdisjoint(categories):
        _hang_inside_steps(trace, parents)
    return known


class _Evidence:
    """The spans and calls that can have asked for a tool: spans by id, model calls by the tool
    calls they issued and in order of time, for agents that make one call at a time.

    ``next_call[i]`` is the call after call *i* among those of its agent, else `NO_SPAN`.
    """

    def __init__(self, trace: Trace, kinds: SpanKinds, known: Causes) -> None:
        self._trace, self._calls = trace, kinds.calls
        self._by_id: dict[str, int] | None = None  # few traces have links
        self._issued: dict[str, int] = {}
        self.next_call = [NO_SPAN] * len(trace.spans)
        spans = trace.spans
        self._agents = agents = kinds.agents
        of_agent: dict[int, list[int]] = {}
        for i, call in enumerate(kinds.calls):
            if call == NO_SPAN:
                continue
            model_call = spans[i].model_call
            if model_call is not None and model_call.issued:
                self._issued.update(dict.fromkeys(model_call.issued, call))
            if call == i:
                of_agent.setdefault(agents[i], []).append(i)
        started_ns, ended_ns = known.started_ns, known.ended_ns
        self._turns: dict[int, tuple[Sequence[int], Sequence[int]]] = {}
        for agent, own in of_agent.items():  # in order of start, as spans are
            if any(started_ns[later] < ended_ns[call] for call, later in pairwise(own)):
                continue
            self._turns[agent] = own, [started_ns[call] for call in own]
            for call, later in pairwise(own):
                self.next_call[call] = later

    def issuer(self, tool: int) -> tuple[int, How | None]:
        """Finds the call that asked for `tool`, and how that is known."""
        span, calls = self._trace.spans[tool], self._calls
        for link in span.links:
            linked = self._numbered().get(link.span_id, NO_SPAN)
            if link.why in ("tool_call", None) and linked != NO_SPAN and calls[linked] != NO_SPAN:
                return calls[linked], "link"
        call_id = span.tool_call.call_id if span.tool_call is not None else None
        if call_id is not None and call_id in self._issued:
            return self._issued[call_id], "id"
        parent = self._trace.parents[tool]
        if parent != NO_SPAN and calls[parent] != NO_SPAN:
            return calls[parent], "parent"
        if call_id is not None:
            own, started_ns = self._turns.get(self._agents[tool], ((), ()))
            # Spans are numbered in order of start, but those of equal start in order of id.
            earlier = bisect_left(started_ns, span.start_ns)
            if earlier and _may_have_asked(self._trace, own[earlier - 1]):
                return own[earlier - 1], "order"
        return NO_SPAN, None

    def _numbered(self) -> dict[str, int]:
        if self._by_id is None:
            self._by_id = {span.span_id: i for i, span in enumerate(self._trace.spans)}
        return self._by_id


def _may_have_asked(trace: Trace, call: int) -> bool:
    model_call = trace.spans[call].model_call
    reasons = model_call.finish_reasons if model_call is not None else ()
    return not reasons or "tool_call" in reasons


def _take_tools_out(
    trace: Trace, kinds: SpanKinds, tools: Sequence[int], known: Causes, parents: list[int]
) -> None:
    spans, calls = trace.spans, kinds.calls
    issuers, how = known.issuers, known.how
    ends_ns = cast("list[int]", known.ends_ns)
    tools_of: dict[int, list[int]] = {}
    for parent in {trace.parents[tool] for tool in tools}:
        family = trace.children[parent] if parent != NO_SPAN else trace.roots
        if parent != NO_SPAN and calls[parent] == parent:
            own = [i for i in family if spans[i].category == "tool"]
            tools_of.setdefault(parent, []).extend(own)
            continue
        running = _Open(known)
        ends: list[int] = []  # of what can have been waited for instead, in order
        for i in family:
            call = NO_SPAN
            if calls[i] == i:
                running.add(i)
            elif spans[i].category == "tool":
                begun_ns = known.started_ns[i]
                if how[i] in ("link", "id"):
                    call = issuers[i] if _beside(trace, issuers[i], i) else NO_SPAN
                else:
                    call = running.latest(begun_ns)
                    ended = bisect_right(ends, begun_ns)
                    if call != NO_SPAN and ended and ends[ended - 1] > known.started_ns[call]:
                        call = NO_SPAN
                if call != NO_SPAN:
                    tools_of.setdefault(call, []).append(i)
            if call == NO_SPAN and spans[i].category in TASKS:
                insort(ends, known.ended_ns[i])
    for call, asked in tools_of.items():
        until_ns = _next_call_ns(trace, kinds, call)
        # From the last start to the first: each cut may put tools that began later outside.
        for tool in sorted(asked, reverse=True):
            answered = known.ended_ns[tool] <= until_ns < known.ended_ns[call]
            if known.ended_ns[tool] > ends_ns[call] or answered:
                ends_ns[call] = known.started_ns[tool]
        for tool in asked:
            inside = known.started_ns[tool] < ends_ns[call]
            parents[tool] = call if inside else trace.parents[call]


def _next_call_ns(trace: Trace, kinds: SpanKinds, call: int) -> int:
    """Finds when the next model call beside `call` begins. If that is after a tool which `call`
    asked for, and before `call` ends, its reply had been read long before: it was closed late."""
    parent = trace.parents[call]
    family = trace.children[parent] if parent != NO_SPAN else trace.roots
    later = family[bisect_right(family, call) :]
    following = (trace.spans[i].start_ns for i in later if kinds.calls[i] == i)
    return next(following, trace.spans[call].ended_ns)


def _beside(trace: Trace, call: int, tool: int) -> bool:
    """Tells whether `tool` starts inside `call`, which is its sibling."""
    asked, span = trace.spans[call], trace.spans[tool]
    siblings = trace.parents[call] == trace.parents[tool]
    return siblings and asked.start_ns < span.start_ns < asked.ended_ns


_SAME_START: Final = 16
"""Spans looked at that started at the very instant asked for, and so cannot be its cause."""


class _Open:
    """The span that started last and still runs, among spans added in order of start.

    Asked at instants that never go back, so what has ended is dropped for good.
    """

    def __init__(self, known: Causes) -> None:
        self._started_ns, self._ended_ns = known.started_ns, known.ended_ns
        self._spans: list[int] = []

    def add(self, span: int) -> None:
        self._spans.append(span)

    def latest(self, at_ns: int) -> int:
        """Finds the number of that span, which started before `at_ns`, else `NO_SPAN`."""
        spans, started_ns, ended_ns = self._spans, self._started_ns, self._ended_ns
        while spans and ended_ns[spans[-1]] <= at_ns:
            spans.pop()
        if not spans:
            return NO_SPAN
        recent = reversed(spans[-_SAME_START:])
        return next((i for i in recent if started_ns[i] < at_ns < ended_ns[i]), NO_SPAN)


def _families(trace: Trace) -> Iterator[tuple[int, Sequence[int]]]:
    """Groups all spans by parent; the roots are the children of `NO_SPAN`."""
    yield NO_SPAN, trace.roots
    for parent, family in enumerate(trace.children):
        if family:
            yield parent, family


def _hang_servers_below_clients(trace: Trace, known: Causes, parents: list[int]) -> None:
    """Hangs servers below their clients, and a request below one that another layer of the same
    server recorded."""
    spans = trace.spans
    for _, family in _families(trace):
        if len(family) < 2 or not any(spans[i].kind == "server" for i in family):
            continue
        running = {False: _Open(known), True: _Open(known)}
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
    """Emitters that lose their context record what an agent or a step does beside it.

    What lies in the time of a span that only contains others, and had nothing else to do then, is
    its work. In traces without tasks that is known of framework steps without children alone.
    """
    spans, clock_ns = trace.spans, trace.resolution_ns
    agents = any(span.category in TASKS for span in spans)
    below: list[list[int]] = [[] for _ in spans]
    for i, parent in enumerate(parents):
        if parent != NO_SPAN:
            below[parent].append(i)
    steps = 0
    waiting = [i for i, family in enumerate(below) if len(family) > 1]
    for parent in waiting:
        family = below[parent]
        if not _overlap(trace, family):
            continue
        holders = [
            i
            for i in family
            if (
                spans[i].category in SOFT
                if agents
                else spans[i].category == "chain" and not below[i]
            )
        ]
        holders.sort(key=lambda i: -spans[i].duration_ns)
        starts = [spans[i].start_ns for i in family]
        for holder in holders:
            if parents[holder] != parent:
                continue
            around = spans[holder]
            # A little early at its start is as good as a little late at its end.
            earliest_ns = around.start_ns - max(clock_ns, around.duration_ns // LATE)
            first = bisect_left(starts, earliest_ns)
            last = bisect_left(starts, around.ended_ns + clock_ns)
            steps += last - first
            if steps > _MOST_STEPS:
                return
            if any(_goes_on(spans[i], around, clock_ns) for i in family[first:last]):
                continue  # it holds not even what began in it
            begun = [spans[i].start_ns for i in below[holder]]
            busy_until = [*accumulate((spans[i].ended_ns for i in below[holder]), max)]
            inside: list[int] = []
            # When what was hung here, in order of start, has ended.
            inside_until = long_ago = earliest_ns
            for i in family[first:last]:
                span = spans[i]
                slack_ns = max(clock_ns, span.duration_ns // LATE)
                if (
                    i == holder
                    or parents[i] != parent
                    or span.start_ns < around.start_ns - slack_ns
                    or span.ended_ns > around.ended_ns + slack_ns
                    or span.duration_ns >= around.duration_ns
                    or (span.service != around.service and span.kind != "server")
                ):
                    continue
                earlier = bisect_left(begun, span.ended_ns - clock_ns)
                running = max(busy_until[earlier - 1] if earlier else long_ago, inside_until)
                if running <= span.start_ns + clock_ns:
                    parents[i] = holder
                    inside.append(i)
                    inside_until = max(inside_until, span.ended_ns)
            if inside:
                below[holder] = sorted((*below[holder], *inside))
                if len(below[holder]) > 1:
                    waiting.append(holder)
        below[parent] = [i for i in family if parents[i] == parent]


_MOST_STEPS: Final = 500_000
"""Spans looked at in one trace; no real one comes near, and a hostile one must end."""


def _goes_on(span: Span, around: Span, clock_ns: int) -> bool:
    """Tells whether the task `span` begins inside `around` and ends well after it."""
    late_ns = max(clock_ns, span.duration_ns // LATE)
    inside = around.start_ns + clock_ns < span.start_ns < around.ended_ns - late_ns
    return span.category in TASKS and inside and span.ended_ns > around.ended_ns + late_ns


def _overlap(trace: Trace, family: Sequence[int]) -> bool:
    """Tells whether any of `family`, in order of start, starts before an earlier one has ended."""
    latest_ns = trace.spans[family[0]].start_ns
    for i in family:
        span = trace.spans[i]
        if span.start_ns < latest_ns:
            return True
        latest_ns = max(latest_ns, span.ended_ns)
    return False
