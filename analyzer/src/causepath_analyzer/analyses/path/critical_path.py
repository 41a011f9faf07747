"""What the run waited for, at every instant of its wall time.

The walk goes from the end of the run backwards. At instant *t* in span *s* the child that *s* was
waiting for takes over (see `waiting`), cut at *t*; where it had ended before, the time between is
the span's own. Where *s* can have waited for none, all time to its start is its own:

    s   |-----------------------------|     own, b, own, c, own   (a ended before c began, and
    a        |------|                                              c and b overlap, so what s was
    b      |------------|                                          waiting for before c is b only
    c                     |------|                                 if b ended before c began)

Children are cut to their parent first. Four rules go beyond that:

- Causes correct the tree before it is walked (see `causes`).
- The virtual root waits for nobody, so at *t* any root that is still open takes over, cut at *t*;
  where none is, what is still open below one that has ended, or that has not begun, does. So time
  counts as uncovered exactly if no span covers it. Where the run ends: see `read.run_end`.
- While a person or a queue is waited for, what works elsewhere in the trace takes over: a wait
  covers nothing. A poll hands over to the sibling that worked meanwhile and whose end is nearest.
- A failed model call that was asked again is a retry, and so is the pause after it (see
  `retries`).

Own time is what nothing below covers. Where the walk leaves time to a span while a task below it
runs, that time is ``beside``: a branch that nobody waited for, as far as anybody measured. It is
not, where the walk cut that task (what is left of it is a late end), or where the task goes on
after the run.

Invariant: sections touch, are in order of time, none is empty, and together they are the wall.
It is checked on every path; a path that breaks it carries a `fault` that reports show.

How this differs from published walks: for Jaeger UI and CRISP, a child that outlives its parent,
or that still runs when its sibling begins, was not waited for (CRISP: give or take 1 %), so that
one span that is closed late moves its whole time to its parent. A recorded end is a bad witness.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.kinds import Kind, SpanKinds
from causepath_analyzer.analyses.path.retries import Retry, retries
from causepath_analyzer.analyses.path.waiting import Family, Waiting
from causepath_analyzer.model import NO_SPAN, Trace

Edge = Literal["data", "issue", "time"]
"""Why a section stands where it does: ``data`` (an id, a link or the digest of a block says so),
``issue`` (it comes later in the order of one reply), ``time`` (it started after what is before it,
nothing more is known)."""


class Section(Struct, frozen=True, gc=False):
    """A stretch of the path. ``span`` is a span number, or `NO_SPAN` where nothing covers it.

    ``beside`` is a task that ran below ``span`` meanwhile, in a section of that kind.
    """

    span: int
    start_ns: int
    end_ns: int
    kind: Kind
    edge: Edge
    beside: int = NO_SPAN


class CriticalPath(Struct, frozen=True):
    """``sections`` in order of time. ``fault`` says what is wrong if they do not tile the wall.

    ``alone_ns`` is by span how long on the path it did something that nothing below it shows, of
    agents, steps, other spans and, as `NO_SPAN`, of the time that no span covers.
    """

    sections: tuple[Section, ...]
    alone_ns: Mapping[int, int] = {}
    fault: str | None = None


def critical_path(trace: Trace, kinds: SpanKinds, causes: Causes) -> CriticalPath:
    """Finds the critical path of `trace`, whose spans mean `kinds` and have `causes`."""
    walk = _Walk(trace, causes)
    stretches = walk.stretches()
    if not stretches:  # a trace without length
        stretches = [(trace.main_root, trace.start_ns, trace.end_ns)]
    return _path(trace, kinds, causes, stretches, walk)


Stretch = tuple[int, int, int]
"""Span number, start and end in ns."""

_IDLE: Final = frozenset(("human", "wait"))
"""What waits for somebody: what works meanwhile takes over."""

_NEIGHBOURS: Final = 64
"""Siblings of a poll that are looked at; bounds the work on a hostile trace."""

HELD_NS: Final = 10_000_000
"""Time of a consumer that is worth telling from the model's."""

_MOST_STEPS: Final = 20_000_000
"""Spans looked at again in one trace; no real one comes near, and a hostile one must end."""


class _Walk:
    """One walk, backwards. The state is the instant *t* and the stretches found so far."""

    def __init__(self, trace: Trace, causes: Causes) -> None:
        self._trace = trace
        self._starts, self._ends = causes.started_ns, causes.ends_ns
        self._parents = causes.parents
        self._roots: Sequence[int] = trace.roots
        if causes.parents == list(trace.parents):
            self._below: Sequence[Sequence[int]] = trace.children
        else:
            below: list[list[int]] = [[] for _ in trace.spans]
            roots: list[int] = []
            for i, parent in enumerate(causes.parents):
                (below[parent] if parent != NO_SPAN else roots).append(i)
            self._below, self._roots = below, roots
        self.waiting = Waiting(trace, causes, self._below)
        self._idle = frozenset(i for i, s in enumerate(trace.spans) if s.category in _IDLE)
        self._polls = frozenset(i for i in self._idle if trace.spans[i].category == "wait")
        self._t = trace.end_ns
        self._found: list[Stretch] = []
        self.overlapped: set[int] = set()
        """Spans in whose own time something below them may have run."""
        self.cut: set[int] = set()
        """Spans from which the walk took what came after."""
        self._steps = 0
        self._idling = (
            0  # waits that the walk is in: those in what it found elsewhere look no further
        )
        self._extents: list[int] | None = None
        self._disordered = False

    def stretches(self) -> list[Stretch]:
        """Finds the stretches from the start to the end of the run, in order of time."""
        starts, ends, roots = self._starts, self._ends, self._roots
        start_ns = self._trace.start_ns
        if len(roots) == 1 and starts[roots[0]] == start_ns and ends[roots[0]] == self._t:
            if start_ns < self._t:
                self._walk(roots[0], start_ns)
        else:
            self._through(start_ns)
        self._found.reverse()
        return self._found

    def _through(self, start_ns: int) -> None:
        """Walks below the virtual root from the end of the run to `start_ns`."""
        starts, ends = self._starts, self._ends
        tops = sorted((i for i in self._roots if starts[i] < ends[i]), key=lambda i: (ends[i], -i))
        open_tops: list[int] = []  # numbered in order of start
        strays = self._outside_their_roots()
        stray_ends = sorted(strays, key=lambda i: (ends[i], -i))
        open_strays: list[int] = []
        while self._t > start_ns:
            while tops and ends[tops[-1]] >= self._t:
                heappush(open_tops, tops.pop())
            while open_tops and starts[open_tops[0]] >= self._t:
                heappop(open_tops)
            if open_tops:
                # Cut at t they all end now; the earliest start decides.
                top = heappop(open_tops)
                self._walk(top, starts[top])
                continue
            until = ends[tops[-1]] if tops else start_ns
            while stray_ends and ends[stray_ends[-1]] >= self._t:
                heappush(open_strays, stray_ends.pop())
            while open_strays and starts[open_strays[0]] >= self._t:
                heappop(open_strays)
            if open_strays:
                stray = open_strays[0]
                self._walk(stray, max(until, starts[stray]))
                continue
            if stray_ends:
                until = max(until, ends[stray_ends[-1]])
            self._found.append((NO_SPAN, until, self._t))
            self._t = until

    def _outside_their_roots(self) -> list[int]:
        """Finds what runs before its root begins or after it has ended, and waits for nobody."""
        starts, ends, parents = self._starts, self._ends, self._parents
        root = list(range(len(starts)))
        found = []
        for i in self.waiting.top_down():
            if parents[i] == NO_SPAN:
                continue
            root[i] = above = root[parents[i]]
            outside = starts[i] < starts[above] or ends[i] > ends[above]
            if outside and starts[i] < ends[i] and i not in self._idle:
                found.append(i)
        return found

    def _walk(self, top: int, stop: int) -> None:
        """Walks `top` from *t* to `stop`, not before it starts."""
        starts, ends, below = self._starts, self._ends, self._below
        found, idle, background = self._found, self._idle, self._trace.background
        polls = self._polls
        t = self._t
        stack = [self._entered(top, stop, t)]
        self._idling += top in idle
        while stack:
            family = stack[-1]
            child = family.waited_for(t) if t > family.stop else NO_SPAN
            if child == NO_SPAN:
                if family.stop < t:
                    found.append((family.span, family.stop, t))
                    t = family.stop
                stack.pop()
                if family.overlapped:
                    self.overlapped.add(family.span)
                self._idling -= family.span in idle
                continue
            if child in polls:
                end, begin = min(ends[child], t), max(starts[child], family.stop)
                worker = self._worker(family.span, child, begin, end)
                if worker != NO_SPAN:
                    if end < t:
                        found.append((family.span, end, t))
                        t = end
                    if ends[worker] < t:
                        found.append((child, ends[worker], t))
                        self.overlapped.add(child)
                        t = ends[worker]
                    family.took(worker)
                    child = worker
            end, begin = ends[child], max(starts[child], family.stop)
            if end < t:
                found.append((family.span, end, t))
                t = end
            elif end > t:
                self.cut.add(child)
            if child not in idle:
                steps = below[child]
                if not steps:
                    found.append((child, begin, t))
                    t = begin
                    continue
                only = steps[0]
                # Most calls hold one step at most, such as their request over HTTP: no families.
                plain = not below[only] and only not in idle and only not in background
                if len(steps) == 1 and plain and ends[only] <= t:
                    first, last = max(starts[only], begin), ends[only]
                    if first < last:
                        if last < t:
                            found.append((child, last, t))
                        found.append((only, first, last))
                        t = first
                    if begin < t:
                        found.append((child, begin, t))
                        t = begin
                    continue
            stack.append(self._entered(child, begin, t))
            if child in idle:
                self._idling += 1
        self._t = t

    def _entered(self, span: int, stop: int, t: int) -> Family:
        """Gives `span` with what it can have waited for between `stop` and *t*."""
        if span in self._idle and not self._idling:
            working = [*self._below[span], *self._elsewhere(span, stop, t)]
            return self.waiting.family(span, sorted(working), stop, t)
        return self.waiting.family(span, self._below[span], stop, t)

    def _worker(self, parent: int, poll: int, start: int, end: int) -> int:
        """Finds what a poll was waiting for: of the siblings that worked between `start` and `end`
        the one whose end is nearest to its own, else `NO_SPAN`."""
        ends = self._ends
        working = self.waiting.running(parent, start, end)
        return min(
            (
                i
                for i in islice(working, _NEIGHBOURS)
                if i not in self._idle and self._starts[i] < ends[i]
            ),
            key=lambda i: (abs(ends[i] - ends[poll]), i),
            default=NO_SPAN,
        )

    def _elsewhere(self, wait: int, stop: int, t: int) -> Iterator[int]:
        """Finds what runs between `stop` and *t* and is neither above nor below `wait`: the
        outermost."""
        above = {wait}
        at = self._parents[wait]
        while at != NO_SPAN:
            above.add(at)
            at = self._parents[at]
        starts, ends = self._starts, self._ends
        clock_ns = self._trace.resolution_ns
        extents = self._known_extents()
        families: list[Sequence[int]] = [self._roots]
        while families:
            family = families.pop()
            at = len(family)
            if not self._disordered and at > 8:
                at = _begun(family, starts, t)
            for place in range(at - 1, -1, -1):
                i = family[place]
                self._steps += 1
                if self._steps > _MOST_STEPS:
                    return
                if i in above:
                    if i != wait:
                        families.append(self._below[i])
                    continue
                if extents[i] <= stop:
                    continue
                if i in self._idle:
                    families.append(self._below[i])
                elif starts[i] < t - clock_ns and stop + clock_ns < ends[i]:
                    yield i
                else:
                    families.append(self._below[i])

    def _known_extents(self) -> list[int]:
        """Finds when the last span in each subtree ends."""
        if self._extents is None:
            extents = list(self._ends)
            starts, parents = self._starts, self._parents
            for i in reversed(self.waiting.top_down()):
                above = parents[i]
                if above != NO_SPAN:
                    extents[above] = max(extents[above], extents[i])
                    self._disordered |= starts[i] < starts[above]
            self._extents = extents
        return self._extents


def _begun(family: Sequence[int], starts: Sequence[int], t: int) -> int:
    """Counts how many of `family`, in order of start, began before *t*."""
    low, high = 0, len(family)
    while low < high:
        middle = (low + high) // 2
        if starts[family[middle]] < t:
            low = middle + 1
        else:
            high = middle
    return low


def _path(
    trace: Trace, kinds: SpanKinds, causes: Causes, stretches: Sequence[Stretch], walk: _Walk
) -> CriticalPath:
    """Labels `stretches` with what they were spent on and why; checks whether they tile the
    wall."""
    units, calls, own = kinds.units, kinds.calls, kinds.own
    sections: list[Section] = []
    add = sections.append
    flow = causes.flow
    tried = _Tried(retries(flow, calls))
    before = NO_SPAN  # the call that the path was in last
    told, first_of_call = NO_SPAN, None  # a model call, and when its first token came
    at = trace.start_ns
    tiles = True
    alone_ns: dict[int, int] = {}
    edge: Edge
    for span, start, end in stretches:
        if start != at or end <= start:
            tiles = False
        at = end
        if span == NO_SPAN:
            add(Section(NO_SPAN, start, end, "uncovered", "time"))
            alone_ns[NO_SPAN] = alone_ns.get(NO_SPAN, 0) + end - start
            continue
        unit = units[span]
        if unit == NO_SPAN:
            edge = "time"
        elif unit == before:
            edge = "data"
        else:
            edge = _edge(flow, causes, before, unit)
            before = unit
        call = calls[span]
        if unit in tried.failed:
            add(Section(span, start, end, "retry", edge))
            continue
        if call == NO_SPAN:
            kind: Kind = own[span]
            if span not in walk.overlapped and span not in tried.pausing:
                add(Section(span, start, end, kind, edge))
                if kind == "agent" or kind == "other":
                    alone_ns[span] = alone_ns.get(span, 0) + end - start
                continue
            for begin, stop, paused in tried.pauses(span, start, end):
                if paused:
                    add(Section(span, begin, stop, "retry", edge))
                    continue
                for first_ns, last_ns, branch in walk.waiting.beside(span, begin, stop, walk.cut):
                    kind = own[span] if branch == NO_SPAN else "beside"
                    add(Section(span, first_ns, last_ns, kind, edge, branch))
                    if branch == NO_SPAN and kind in ("agent", "other"):
                        alone = walk.waiting.alone_ns(span, first_ns, last_ns)
                        alone_ns[span] = alone_ns.get(span, 0) + alone
            continue
        if call != told:
            told = call
            first_of_call = first_token_ns(trace, kinds, call)
        if first_of_call is None:
            first = first_token_ns(trace, kinds, span) if span != call else None
        else:
            first = first_of_call
        if first is None:
            add(Section(span, start, end, own[span], edge))
            continue
        until = generated_until_ns(trace, call) or end
        for kind, begin, stop in (
            ("first_token", start, min(first, end)),
            ("generation", max(first, start), min(max(until, first), end)),
            ("agent", max(until, first, start), end),
        ):
            if begin < stop:
                add(Section(span, begin, stop, kind, edge if begin == start else "data"))
    fault = None if tiles and at == trace.end_ns else _fault(trace, sections)
    return CriticalPath(tuple(sections), alone_ns, fault)


class _Tried:
    """The model and tool calls that failed and were tried again, and the pauses of their
    parents."""

    def __init__(self, found: Sequence[Retry]) -> None:
        self.failed = frozenset(retry.failed for retry in found)
        self.pausing: dict[int, list[tuple[int, int]]] = {}
        """By span its pauses before a call was tried again."""
        for retry in found:
            pauses = self.pausing.setdefault(retry.parent, [])
            pauses.append((retry.failed_ns, retry.again_ns))
        for pauses in self.pausing.values():
            pauses.sort()

    def pauses(self, span: int, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, bool]]:
        """Divides own time of `span`, and tells of each part whether it is the pause before a
        retry."""
        at = start_ns
        pauses = self.pausing.get(span, ())
        place = max(0, bisect_right(pauses, (start_ns, start_ns)) - 1)
        for begin, stop in pauses[place:]:
            if begin >= end_ns:
                break
            begin, stop = max(begin, at), min(stop, end_ns)
            if begin < stop:
                if at < begin:
                    yield at, begin, False
                yield begin, stop, True
                at = stop
        if at < end_ns or start_ns == end_ns:
            yield at, end_ns, False


def generated_until_ns(trace: Trace, call: int) -> int | None:
    """Finds when a model call had generated its reply, if that was over long before the call was:
    then its consumer held the stream, at one time or another, or left it open."""
    span = trace.spans[call]
    told = span.model_call
    if told is None or told.generated_ns is None or span.end_ns is None:
        return None
    until_ns = span.start_ns + told.generated_ns
    return until_ns if span.end_ns - until_ns >= HELD_NS else None


def first_token_ns(trace: Trace, kinds: SpanKinds, span: int) -> int | None:
    """Finds when the first token came in the model call that `span` is part of, if the trace says
    it."""
    call = kinds.calls[span]
    if call == NO_SPAN:
        return None
    for i in (call, span):
        model_call = trace.spans[i].model_call
        if model_call is not None and model_call.ttft_ns is not None:
            return trace.spans[i].start_ns + model_call.ttft_ns
    return None


def _edge(flow: DataFlow, causes: Causes, before: int, unit: int) -> Edge:
    """Tells why the call `unit` comes after the call `before` on the path, which is another one."""
    issuer = causes.issuers[unit]
    if issuer != NO_SPAN:
        same_reply = before != NO_SPAN and causes.issuers[before] == issuer
        return "issue" if same_reply else "data"
    span = flow.trace.spans[unit]
    if span.links and any(link.why in ("tool_result", "content") for link in span.links):
        return "data"
    if before == NO_SPAN:
        return "time"
    told = span.model_call
    evidence = span.links or (told is not None and told.blocks is not None)
    known = causes.answered_by[before] == unit or (evidence and before in flow.sources(unit))
    return "data" if known else "time"


def _fault(trace: Trace, sections: Sequence[Section]) -> str | None:
    at = trace.start_ns
    for section in sections:
        if section.start_ns != at:
            return f"a section starts at {section.start_ns}, the one before it ends at {at}"
        if section.end_ns <= at and trace.wall_ns > 0:
            return f"a section of {section.end_ns - at} ns at {at}"
        at = section.end_ns
    return None if at == trace.end_ns else f"the path ends at {at}, the trace at {trace.end_ns}"
