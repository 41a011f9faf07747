"""What the run waited for, at every instant of its wall time.

The walk goes from the end of the trace backwards. At instant *t* in span *s*, the child that *s*
can have been waiting for takes over at its end: of the children that ended at or before *t* the
one with the latest end, then the earliest start, then the smallest id. Without one, the time is
the span's own. Nanoseconds, no tolerance, no recursion:

    s   |-----------------------------|     own, b, own, c, own   (a ended before c began, and
    a        |------|                                              c and b overlap, so what s was
    b      |------------|                                          waiting for before c is b only
    c                     |------|                                 if b ended before c began)

Children are cut to their parent first. A child that outlives its parent was not waited for: with
``overflow="async"`` it and what is below it stay off the parent's path; with ``"truncate"`` it is
cut to the parent's end and may be on it.

Three rules go beyond the plain walk:

- Causes correct the tree before it is walked (see `causes`).
- The virtual root waits for nobody, so at *t* any root that is still open takes over, cut at *t*;
  what a root's descendants do before it started and after it ended hangs under the virtual root.
  So time counts as uncovered exactly if no span covers it.
- A span that only waits (polling, a queue) hands over to a sibling that worked meanwhile: of
  those, to the one whose end is nearest to the end of the wait.

Invariant: sections touch, are in order of time, none is empty, and together they are the wall.
It is checked on every path; a path that breaks it carries a `fault` that reports show.

How this differs from published walks: Jaeger UI and CRISP drop or trim children that overflow and
compare with a tolerance (CRISP: 1 %), so that their sections may leave gaps; both take siblings as
they are recorded, which puts a model call on the path where its tools were running.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.causes import Causes
from causepath_analyzer.analyses.data_flow import DataFlow
from causepath_analyzer.analyses.kinds import Kind, SpanKinds
from causepath_analyzer.model import NO_SPAN, Trace

Overflow = Literal["async", "truncate"]

Edge = Literal["data", "issue", "time"]
"""Why a section stands where it does: ``data`` (an id, a link or the digest of a block says so),
``issue`` (it comes later in the order of one reply), ``time`` (it started after what is before it,
nothing more is known)."""


class Section(Struct, frozen=True, gc=False):
    """A stretch of the path. ``span`` is a span number, or `NO_SPAN` where nothing covers it."""

    span: int
    start_ns: int
    end_ns: int
    kind: Kind
    edge: Edge


class CriticalPath(Struct, frozen=True):
    """``sections`` in order of time. ``fault`` says what is wrong if they do not tile the wall."""

    sections: tuple[Section, ...]
    fault: str | None = None


def critical_path(
    trace: Trace, kinds: SpanKinds, causes: Causes, overflow: Overflow = "async"
) -> CriticalPath:
    """The critical path of `trace`, whose spans mean `kinds` and have `causes`."""
    stretches = _Walk(trace, causes, overflow).stretches()
    if not stretches:  # a trace without length
        stretches = [(trace.main_root, trace.start_ns, trace.end_ns)]
    return _path(trace, kinds, causes, stretches)


Stretch = tuple[int, int, int]
"""Span number, start and end in ns."""

_LEAVE: Final = -1
"""Stands in a list of spans to go through for "everything below is done"."""

_NEIGHBOURS: Final = 16
"""Siblings looked at on either side of the end of a wait; bounds the work on a hostile trace."""


class _Walk:
    """One walk, backwards, over nodes: what the walk needs of the spans and no more.

    Node *i* is span *i*; nodes after these are what spans do after their root ended or before it
    started. ``starts`` and ``ends`` of a node are cut to its parent's when the walk gets there;
    ``ended`` are as recorded. The state is the instant *t* and the stretches found so far.
    """

    def __init__(self, trace: Trace, causes: Causes, overflow: Overflow) -> None:
        self._trace = trace
        self._cuts = overflow == "truncate"
        self._spans = list(range(len(trace.spans)))
        self._starts = list(causes.started_ns)
        self._ends = list(causes.ends_ns)
        self._ended = list(causes.ended_ns)
        self._below: list[Sequence[int]]
        roots: Sequence[int] = trace.roots
        if causes.parents == list(trace.parents):
            self._below = list(trace.children)
        else:
            below: list[list[int]] = [[] for _ in trace.spans]
            own_roots: list[int] = []
            roots = own_roots
            for i, parent in enumerate(causes.parents):
                (below[parent] if parent != NO_SPAN else own_roots).append(i)
            self._below = list(below)
        self._tops = [i for i in roots if self._starts[i] < self._ends[i]]
        first = roots[0]
        window = causes.started_ns[first], causes.ended_ns[first]
        self._one_root = len(roots) == 1 and window == (trace.start_ns, trace.end_ns)
        if not self._one_root:
            for root in roots:
                self._add_what_is_outside(root)
        self._waits = {i for i, span in enumerate(trace.spans) if span.category == "wait"}
        self._families: dict[int, Sequence[int]] = {}  # by parent: those that are cut already
        self._workers: dict[int, list[int]] = {}  # by parent, in order of their end
        self._t = trace.end_ns
        self._found: list[Stretch] = []

    def _add_what_is_outside(self, root: int) -> None:
        """Adds nodes for what goes on below `root` before it started and after it ended.

        A tail hangs below the tail of the nearest ancestor that covers its end, else under the
        virtual root. Heads are clocks that differ by little: they hang under the virtual root as
        they are.
        """
        spans, starts, ends, ended = self._trace.spans, self._starts, self._ends, self._ended
        root_start, root_end = spans[root].start_ns, ended[root]
        tails: dict[int, list[int]] = {}
        # The tails around the span that is looked at, outermost first: their ends never rise.
        around: list[int] = []
        size = 0
        undo: list[tuple[int, int, int]] = []
        waiting = [root]
        while waiting:
            i = waiting.pop()
            if i == _LEAVE:
                size, at, tail = undo.pop()
                around[at] = tail
                continue
            start, end = spans[i].start_ns, ended[i]
            if start < root_start and start < end:
                self._tops.append(self._added(i, start, min(end, root_start)))
            if end > root_end:
                at = bisect_right(around, -end, hi=size, key=lambda tail: -ends[tail])
                new = self._added(i, max(start, root_end), end)
                tails[new] = []
                self._below[new] = tails[new]
                if at == 0:
                    self._tops.append(new)
                else:
                    above = around[at - 1]
                    starts[new] = max(starts[new], starts[above])
                    tails[above].append(new)
                if at == len(around):
                    around.append(new)
                undo.append((size, at, around[at]))
                around[at] = new
                size = at + 1
                waiting.append(_LEAVE)
            waiting.extend(self._below[i])

    def _added(self, span: int, start_ns: int, end_ns: int) -> int:
        self._spans.append(span)
        self._starts.append(start_ns)
        self._ends.append(end_ns)
        self._ended.append(end_ns)
        self._below.append(())
        return len(self._spans) - 1

    def stretches(self) -> list[Stretch]:
        """The stretches from the start to the end of the trace, in order of time."""
        start_ns = self._trace.start_ns
        if self._one_root:
            if self._tops:
                self._walk(self._tops[0])
        else:
            self._through(start_ns)
        self._found.reverse()
        return self._found

    def _through(self, start_ns: int) -> None:
        """Walks below the virtual root from the end to `start_ns`."""
        ends, starts = self._ends, self._starts
        waiting = sorted(self._tops, key=ends.__getitem__)
        open_roots: list[tuple[int, str, int]] = []
        while self._t > start_ns:
            while waiting and ends[waiting[-1]] >= self._t:
                root = waiting.pop()
                heappush(open_roots, (starts[root], self._id(root), root))
            if open_roots:
                # Cut at t they all end now; the earliest start decides.
                start, _, root = heappop(open_roots)
                if start < self._t:
                    self._walk(root)
            else:
                until = ends[waiting[-1]] if waiting else start_ns
                self._found.append((NO_SPAN, until, self._t))
                self._t = until

    def _walk(self, top: int) -> None:
        """Walks from *t* to the start of `top`."""
        spans, starts, ends, below = self._spans, self._starts, self._ends, self._below
        found, waits, ended = self._found, self._waits, self._ended
        recorded = self._trace.parents
        t = self._t
        stack = self._entered(top)
        while stack:
            node, candidates = stack[-1]
            # Latest end last. What still runs at t can not have been waited for.
            while candidates and ends[candidates[-1]] > t:
                candidates.pop()
            if not candidates:
                start = starts[node]
                if start < t:
                    found.append((spans[node], start, t))
                    t = start
                stack.pop()
                continue
            child = candidates.pop()
            end = ends[child]
            if end < t:
                found.append((spans[node], end, t))
                t = end
            if spans[child] in waits:
                worker = self._worker(node, child)
                if worker != child:
                    end = min(ends[worker], t)
                    if end < t:
                        found.append((spans[child], end, t))
                        t = end
                    self._t = t
                    stack.extend(self._entered(worker))
                    continue
            children = below[child]
            start = starts[child]
            if children:
                only = children[0]
                if len(children) > 1 or below[only]:
                    stack.append((child, self._cut(child)))
                    continue
                # Most calls hold one step at most, such as their request over HTTP: no frames.
                if ended[only] <= ended[child] or self._cuts or recorded[only] != child:
                    begin, end = max(starts[only], start), min(ends[only], t)
                    if begin < end:
                        if end < t:
                            found.append((spans[child], end, t))
                        found.append((spans[only], begin, end))
                        t = begin
            if start < t:
                found.append((spans[child], start, t))
                t = start
        self._t = t

    def _entered(self, node: int) -> "list[tuple[int, list[int]]]":
        """`node` and, if it is cut at *t*, the descendants that are open at *t*, outermost first.

        Each with its children in the order in which they may take over, the first one last.
        """
        starts, ends = self._starts, self._ends
        frames = []
        while True:
            children = self._cut(node)
            frames.append((node, children))
            if ends[node] <= self._t:
                return frames
            open_now = [c for c in children if starts[c] < self._t < ends[c]]
            if not open_now:
                return frames
            node = min(open_now, key=lambda c: (starts[c], self._id(c)))

    def _cut(self, node: int) -> list[int]:
        """The children of `node`, cut to it, in the order in which they may take over."""
        starts, ends, ended = self._starts, self._ends, self._ended
        first, last, outlived = starts[node], ends[node], ended[node]
        recorded = self._trace.parents
        children: list[int] = []
        in_order = True
        latest = first
        for child in self._below[node]:
            # What its cause hung here is cut. What outlives its own parent was not waited for.
            if ended[child] > outlived and not self._cuts and recorded[child] == node:
                continue
            start, end = starts[child], ends[child]
            if start < first:
                starts[child] = start = first
            if end > last:
                ends[child] = end = last
            if start < end:
                children.append(child)
                if end <= latest:
                    in_order = False
                latest = end
        if not in_order and len(children) > 1:
            # Latest end last, of equals the earliest start, then the smallest id.
            children.sort(key=lambda c: (-ends[c], starts[c], self._id(c)), reverse=True)
        if self._waits:
            self._families[node] = tuple(children)
        return children

    def _worker(self, parent: int, wait: int) -> int:
        """Of the siblings that worked while `wait` waited the one whose end is nearest to its end.

        `wait` itself if there is none.
        """
        starts, ends = self._starts, self._ends
        workers = self._workers.get(parent)
        if workers is None:
            workers = [c for c in self._families[parent] if self._spans[c] not in self._waits]
            workers.sort(key=ends.__getitem__)
            self._workers[parent] = workers
        end = ends[wait]
        nearest = bisect_left(workers, end, key=ends.__getitem__)
        near = workers[max(0, nearest - _NEIGHBOURS) : nearest + _NEIGHBOURS]
        working = [c for c in near if starts[c] < end and ends[c] > starts[wait]]
        return min(
            working, key=lambda c: (abs(ends[c] - end), starts[c], self._id(c)), default=wait
        )

    def _id(self, node: int) -> str:
        return self._trace.spans[self._spans[node]].span_id


def _path(
    trace: Trace, kinds: SpanKinds, causes: Causes, stretches: Sequence[Stretch]
) -> CriticalPath:
    """`stretches` with what they were spent on and why; whether they tile the wall is checked."""
    units, calls, own = kinds.units, kinds.calls, kinds.own
    sections: list[Section] = []
    add = sections.append
    flow = DataFlow(trace)
    before = NO_SPAN  # the call that the path was in last
    told, first_of_call = NO_SPAN, None  # a model call, and when its first token came
    at = trace.start_ns
    tiles = True
    edge: Edge
    for span, start, end in stretches:
        if start != at or end <= start:
            tiles = False
        at = end
        if span == NO_SPAN:
            add(Section(NO_SPAN, start, end, "uncovered", "time"))
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
        if call != told:
            told = call
            first_of_call = first_token_ns(trace, kinds, call) if call != NO_SPAN else None
        if first_of_call is None:
            first = first_token_ns(trace, kinds, span) if span != call != NO_SPAN else None
        else:
            first = first_of_call
        if first is None:
            add(Section(span, start, end, own[span], edge))
        elif first <= start:
            add(Section(span, start, end, "generation", edge))
        elif first >= end:
            add(Section(span, start, end, "first_token", edge))
        else:
            add(Section(span, start, first, "first_token", edge))
            add(Section(span, first, end, "generation", "data"))
    fault = None if tiles and at == trace.end_ns else _fault(trace, sections)
    return CriticalPath(tuple(sections), fault)


def first_token_ns(trace: Trace, kinds: SpanKinds, span: int) -> int | None:
    """When the first token came in the model call that `span` is part of, if anybody said."""
    call = kinds.calls[span]
    if call == NO_SPAN:
        return None
    for i in (call, span):
        model_call = trace.spans[i].model_call
        if model_call is not None and model_call.ttft_ns is not None:
            return trace.spans[i].start_ns + model_call.ttft_ns
    return None


def _edge(flow: DataFlow, causes: Causes, before: int, unit: int) -> Edge:
    """Why the call `unit` comes after the call `before` on the path, which is another one."""
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
