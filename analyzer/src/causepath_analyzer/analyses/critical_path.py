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
from causepath_analyzer.analyses.kinds import Kind, SpanKinds
from causepath_analyzer.model import NO_SPAN, Trace

Overflow = Literal["async", "truncate"]

Edge = Literal["data", "issue", "time"]
"""Why a section stands where it does: ``data`` (an id or link says so), ``issue`` (it comes later
in the order of one reply), ``time`` (it started after what is before it, nothing more is known)."""


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
    stretches = _Walk(_nodes(trace, causes, overflow)).through(trace.start_ns, trace.end_ns)
    if not stretches:  # a trace without length
        stretches = [(trace.main_root, trace.start_ns, trace.end_ns)]
    sections = _sections(trace, kinds, causes, stretches)
    return CriticalPath(sections, _fault(trace, sections))


Stretch = tuple[int, int, int]
"""Span number, start and end in ns."""


class _Nodes(Struct, frozen=True):
    """What the walk needs and no more: windows and children, cut to their parents.

    Node *i* is span *i*; nodes after these are what spans do after their root ended. ``order[i]``
    decides between nodes of equal times.
    """

    spans: Sequence[int]
    starts_ns: Sequence[int]
    ends_ns: Sequence[int]
    order: Sequence[str]
    children: Sequence[Sequence[int]]
    roots: Sequence[int]
    waits: Sequence[bool]


def _nodes(trace: Trace, causes: Causes, overflow: Overflow) -> _Nodes:
    spans = trace.spans
    below: list[list[int]] = [[] for _ in spans]
    roots: list[int] = []
    for i, parent in enumerate(causes.parents):
        (below[parent] if parent != NO_SPAN else roots).append(i)
    nodes = list(range(len(spans)))
    starts = [span.start_ns for span in spans]
    ends = list(causes.ends_ns)
    children: list[list[int]] = [[] for _ in spans]
    walked = list(roots)
    for i in walked:  # grows: every parent before its children
        for child in below[i]:
            # What its cause hung here is cut. What outlives its own parent was not waited for.
            outlives = spans[child].ended_ns > spans[i].ended_ns and trace.parents[child] == i
            if outlives and overflow == "async":
                continue
            starts[child] = max(starts[child], starts[i])
            ends[child] = min(ends[child], ends[i])
            if starts[child] < ends[child]:
                children[i].append(child)
                walked.append(child)
    tops = [i for i in roots if starts[i] < ends[i]]
    only = spans[roots[0]]
    if len(roots) > 1 or (only.start_ns, only.ended_ns) != (trace.start_ns, trace.end_ns):
        for root in roots:
            _add_what_is_outside(trace, below, root, (nodes, starts, ends, children, tops))
    return _Nodes(
        nodes,
        starts,
        ends,
        [spans[i].span_id for i in nodes],
        children,
        tops,
        [spans[i].category == "wait" for i in nodes],
    )


def _add_what_is_outside(
    trace: Trace,
    below: Sequence[Sequence[int]],
    root: int,
    to: tuple[list[int], list[int], list[int], list[list[int]], list[int]],
) -> None:
    """Adds nodes for what goes on below `root` before it started and after it ended.

    A tail hangs below the tail of the nearest ancestor that covers its end, else under the virtual
    root. Heads are clocks that differ by little: they hang under the virtual root as they are.
    """
    nodes, starts, ends, children, tops = to
    spans = trace.spans
    root_start, root_end = spans[root].start_ns, spans[root].ended_ns
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
        start, end = spans[i].start_ns, spans[i].ended_ns
        if start < root_start and start < end:
            tops.append(len(nodes))
            nodes.append(i)
            starts.append(start)
            ends.append(min(end, root_start))
            children.append([])
        if end > root_end:
            new = len(nodes)
            at = bisect_right(around, -end, hi=size, key=lambda tail: -ends[tail])
            nodes.append(i)
            ends.append(end)
            children.append([])
            starts.append(max(start, root_end))
            if at == 0:
                tops.append(new)
            else:
                above = around[at - 1]
                starts[new] = max(starts[new], starts[above])
                children[above].append(new)
            if at == len(around):
                around.append(new)
            undo.append((size, at, around[at]))
            around[at] = new
            size = at + 1
            waiting.append(_LEAVE)
        waiting.extend(below[i])


_LEAVE: Final = -1
"""Stands in a list of spans to go through for "everything below is done"."""

_NEIGHBOURS: Final = 16
"""Siblings looked at on either side of the end of a wait; bounds the work on a hostile trace."""


class _Walk:
    """One walk, backwards. Its state is the instant *t* and the stretches found so far."""

    def __init__(self, nodes: _Nodes) -> None:
        self._nodes = nodes
        self._t = 0
        self._found: list[Stretch] = []
        self._workers: dict[int, list[int]] = {}  # by parent, in order of their end

    def through(self, start_ns: int, end_ns: int) -> list[Stretch]:
        """The stretches from `start_ns` to `end_ns`, in order of time."""
        nodes = self._nodes
        ends, starts = nodes.ends_ns, nodes.starts_ns
        waiting = sorted(nodes.roots, key=ends.__getitem__)
        open_roots: list[tuple[int, str, int]] = []
        self._t = end_ns
        while self._t > start_ns:
            while waiting and ends[waiting[-1]] >= self._t:
                root = waiting.pop()
                heappush(open_roots, (starts[root], nodes.order[root], root))
            if open_roots:
                # Cut at t they all end now; the earliest start decides.
                start, _, root = heappop(open_roots)
                if start < self._t:
                    self._below(root)
            else:
                self._until(NO_SPAN, ends[waiting[-1]] if waiting else start_ns)
        self._found.reverse()
        return self._found

    def _below(self, top: int) -> None:
        """Walks from *t* to the start of `top`."""
        nodes = self._nodes
        ends, starts, waits = nodes.ends_ns, nodes.starts_ns, nodes.waits
        stack = self._entered(top)
        while stack:
            node, candidates = stack[-1]
            # Latest end last. What still runs at t can not have been waited for.
            while candidates and ends[candidates[-1]] > self._t:
                candidates.pop()
            if not candidates:
                self._until(nodes.spans[node], starts[node])
                stack.pop()
                continue
            child = candidates.pop()
            self._until(nodes.spans[node], ends[child])
            worker = self._worker(node, child) if waits[child] else child
            if worker != child:
                self._until(nodes.spans[child], min(ends[worker], self._t))
            stack.extend(self._entered(worker))

    def _entered(self, node: int) -> "list[tuple[int, list[int]]]":
        """`node` and, if it is cut at *t*, the descendants that are open at *t*, outermost first.

        Each with its children in the order in which they may take over, the first one last.
        """
        nodes = self._nodes
        starts, ends = nodes.starts_ns, nodes.ends_ns
        frames = []
        while True:
            frames.append((node, self._candidates(node)))
            if ends[node] <= self._t:
                return frames
            open_now = [c for c in nodes.children[node] if starts[c] < self._t < ends[c]]
            if not open_now:
                return frames
            node = min(open_now, key=lambda c: (starts[c], nodes.order[c]))

    def _candidates(self, node: int) -> list[int]:
        nodes = self._nodes
        children = nodes.children[node]
        if len(children) < 2:
            return list(children)
        starts, ends, order = nodes.starts_ns, nodes.ends_ns, nodes.order
        return sorted(children, key=lambda c: (-ends[c], starts[c], order[c]), reverse=True)

    def _worker(self, parent: int, wait: int) -> int:
        """Of the siblings that worked while `wait` waited the one whose end is nearest to its end.

        `wait` itself if there is none.
        """
        nodes = self._nodes
        starts, ends = nodes.starts_ns, nodes.ends_ns
        workers = self._workers.get(parent)
        if workers is None:
            workers = [c for c in nodes.children[parent] if not nodes.waits[c]]
            workers.sort(key=ends.__getitem__)
            self._workers[parent] = workers
        end = ends[wait]
        nearest = bisect_left(workers, end, key=ends.__getitem__)
        near = workers[max(0, nearest - _NEIGHBOURS) : nearest + _NEIGHBOURS]
        working = [c for c in near if starts[c] < end and ends[c] > starts[wait]]
        return min(
            working, key=lambda c: (abs(ends[c] - end), starts[c], nodes.order[c]), default=wait
        )

    def _until(self, span: int, start_ns: int) -> None:
        """The time from `start_ns` to *t* is the own time of `span`."""
        if start_ns < self._t:
            self._found.append((span, start_ns, self._t))
            self._t = start_ns


def _sections(
    trace: Trace, kinds: SpanKinds, causes: Causes, stretches: Sequence[Stretch]
) -> tuple[Section, ...]:
    sections: list[Section] = []
    before = NO_SPAN  # the call that the path was in last
    for span, start, end in stretches:
        if span == NO_SPAN:
            sections.append(Section(NO_SPAN, start, end, "uncovered", "time"))
            continue
        unit = kinds.units[span]
        edge = _edge(trace, causes, before, unit)
        if unit != NO_SPAN:
            before = unit
        first = first_token_ns(trace, kinds, span)
        if first is None:
            sections.append(Section(span, start, end, kinds.own[span], edge))
        elif first <= start:
            sections.append(Section(span, start, end, "generation", edge))
        elif first >= end:
            sections.append(Section(span, start, end, "first_token", edge))
        else:
            sections.append(Section(span, start, first, "first_token", edge))
            sections.append(Section(span, first, end, "generation", "data"))
    return tuple(sections)


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


def _edge(trace: Trace, causes: Causes, before: int, unit: int) -> Edge:
    """Why the call `unit` comes after the call `before` on the path."""
    if unit == NO_SPAN:
        return "time"
    if unit == before:
        return "data"
    issuer = causes.issuers[unit]
    if issuer != NO_SPAN:
        same_reply = before != NO_SPAN and causes.issuers[before] == issuer
        return "issue" if same_reply else "data"
    span = trace.spans[unit]
    if any(link.why in ("tool_result", "content") for link in span.links):
        return "data"
    return "data" if before != NO_SPAN and causes.answered_by[before] == unit else "time"


def _fault(trace: Trace, sections: Sequence[Section]) -> str | None:
    at = trace.start_ns
    for section in sections:
        if section.start_ns != at:
            return f"a section starts at {section.start_ns}, the one before it ends at {at}"
        if section.end_ns <= at and trace.wall_ns > 0:
            return f"a section of {section.end_ns - at} ns at {at}"
        at = section.end_ns
    return None if at == trace.end_ns else f"the path ends at {at}, the trace at {trace.end_ns}"
