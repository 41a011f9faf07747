"""Who a span can have been waiting for, when it went on.

A recorded end is a bad witness: spans are closed late, streams are left open, a run's span ends
before its reply was read. What the waiting span did next, and what data that used, are the better
ones. At instant *t* span *s* begins its child *d*, or ends (no *d*). A child *c* that began before
*t* may be what *s* had been waiting for, if

1. it had ended, or all but. A task, or what holds one, had in the last fifth of its duration, give
   or take the resolution of the clock; any other call of an agent, a step or a tool had in the last
   twentieth; those of a service, which often do go on beside what comes next, in the last
   two-hundredth, and where *s* ends in the last hundredth;
2. *d* was given what *c*, or something below it, put out (by a link, an id or a digest), whatever
   its end says;
3. there is no *d*, *c* is still open, *s* began nothing after it, and *c* is a task or holds one,
   or *s* was itself cut at *t*.

The nearest end takes over (of an open one in 2 and 3: distance 0), then 2 before 1 before 3, then
the earliest start, then the smallest id.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import accumulate
from typing import Final

from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.model import NO_SPAN, TASKS, Trace

_TASK_SHARE: Final = 5
_AGENTS: Final = frozenset(("agent", "chain", "tool"))
_AGENT_SHARE: Final = 20
_SIBLING_SHARE: Final = 200
_OTHER_SHARE: Final = 100
_COARSE_NS: Final = 1_000_000
"""A clock this coarse makes spans that follow each other overlap. One of a microsecond does not:
services do begin what comes next that early."""
_OTHER_NS: Final = 1_000
"""What clocks that count microseconds may make of one instant."""
_FEW: Final = 8
_MOST_STEPS: Final = 20_000_000
_DEEP: Final = 64
"""Levels between a result and who was waited for it; bounds the work on a hostile trace."""


class Waiting:
    """The spans of one trace, as waiting sees them, in the tree ``below`` that causes corrected."""

    def __init__(self, trace: Trace, causes: Causes, below: Sequence[Sequence[int]]) -> None:
        self.starts, self.ends = causes.started_ns, causes.ends_ns
        self.parents = causes.parents
        self._trace, self._causes, self._below = trace, causes, below
        self._tasks: list[bool] | None = None
        self._given: dict[int, frozenset[int]] = {}
        self._carried: dict[int, list[int]] | None = None
        self._until: dict[int, tuple[list[int], list[int]]] = {}
        self._steps = 0

    def top_down(self) -> list[int]:
        """Orders all span numbers so that every parent comes before its children."""
        order = [i for i, parent in enumerate(self.parents) if parent == NO_SPAN]
        for i in order:
            order.extend(self._below[i])
        return order

    def holds_task(self, span: int) -> bool:
        """Tells whether `span` is a task, or one is below it."""
        if self._tasks is None:
            spans, parents = self._trace.spans, self.parents
            tasks = [span.category in TASKS for span in spans]
            for i in reversed(self.top_down()):
                if tasks[i] and parents[i] != NO_SPAN:
                    tasks[parents[i]] = True
            self._tasks = tasks
        return self._tasks[span]

    def late_ns(self, span: int, *, at_end: bool = False) -> int:
        """Bounds how late `span` may be closed: after its sibling began, or `at_end` after its
        parent ended or was cut."""
        length_ns = self.ends[span] - self.starts[span]
        if self.holds_task(span):
            return max(self._trace.resolution_ns, length_ns // _TASK_SHARE)
        parent = self.parents[span]
        if parent != NO_SPAN and self._trace.spans[parent].category in _AGENTS:
            return max(self._trace.resolution_ns, length_ns // _AGENT_SHARE)
        if not at_end:
            coarse_ns = self._trace.resolution_ns if self._trace.resolution_ns >= _COARSE_NS else 0
            return max(length_ns // _SIBLING_SHARE, coarse_ns)
        late_ns = max(length_ns // _OTHER_SHARE, min(_OTHER_NS, length_ns // _TASK_SHARE))
        return max(self._trace.resolution_ns, late_ns)

    def given(self, span: int) -> frozenset[int]:
        """Finds the spans whose output `span` was given, as far as links, ids and digests say."""
        known = self._given.get(span)
        if known is None:
            if self._carried is None:
                self._carried = {}
                for tool, call in enumerate(self._causes.answered_by):
                    if call != NO_SPAN:
                        self._carried.setdefault(call, []).append(tool)
            known = frozenset(
                (*self._carried.get(span, ()), *self._causes.flow.outputs_given(span))
            )
            self._given[span] = known
        return known

    def below(self, span: int, parent: int) -> int:
        """Climbs from `span` to the child of `parent` that it lies in; `NO_SPAN` if it lies in
        none."""
        for _ in range(_DEEP):
            if span == NO_SPAN or self.parents[span] == parent:
                return span
            span = self.parents[span]
        return NO_SPAN

    def family(self, span: int, children: Sequence[int], stop: int, t: int) -> "Family":
        """Gathers `span`, which ends or is cut at `t`, and those of its `children`, in order of
        start, that run between `stop` and `t`."""
        starts, ends, background = self.starts, self.ends, self._trace.background
        running: list[int] = []
        in_order = True
        latest = stop
        if len(children) > _FEW:
            children = children[: bisect_left(children, t, key=starts.__getitem__)]
        for child in children:
            end = ends[child]
            if end <= stop or not starts[child] < min(t, end) or child in background:
                continue
            running.append(child)
            if end <= latest:
                in_order = False
            latest = end
        last = running[-1] if running else NO_SPAN
        if not in_order:
            # Latest end last, of equals the earliest start and the smallest id.
            running.sort(key=lambda c: (ends[c], -c))
        return Family(self, span, stop, running, last)

    def beside(
        self, span: int, start_ns: int, end_ns: int, cut: set[int]
    ) -> Sequence[tuple[int, int, int]]:
        """Divides own time of `span`: start, end and a task that ran below it, else `NO_SPAN`.

        Of tasks that the walk `cut` the rest is a late end; those that go on after the run were not
        waited for.
        """
        plain = ((start_ns, end_ns, NO_SPAN),)
        if not self._below[span]:
            return plain
        found = sorted(self._tasks_running(span, start_ns, end_ns, cut))
        if not found:
            return plain
        parts: list[tuple[int, int, int]] = []
        at = start_ns
        for begin, stop, task in found:
            if stop <= at:
                continue
            if at < begin:
                parts.append((at, begin, NO_SPAN))
            parts.append((max(at, begin), stop, task))
            at = stop
        if at < end_ns:
            parts.append((at, end_ns, NO_SPAN))
        return parts

    def _tasks_running(
        self, span: int, start_ns: int, end_ns: int, cut: set[int]
    ) -> Iterator[tuple[int, int, int]]:
        spans, starts, ends = self._trace.spans, self.starts, self.ends
        waiting = [(span, start_ns, end_ns)]
        while waiting:
            around, first_ns, last_ns = waiting.pop()
            for i in self.running(around, first_ns, last_ns):
                if i in cut or not self.holds_task(i) or i in self._trace.background:
                    continue
                begin_ns, stop_ns = max(starts[i], first_ns), min(ends[i], last_ns)
                if begin_ns >= stop_ns:
                    continue
                if spans[i].category not in TASKS:
                    waiting.append((i, begin_ns, stop_ns))
                elif ends[i] <= self._trace.end_ns:
                    yield begin_ns, stop_ns, i

    def running(self, parent: int, start_ns: int, end_ns: int) -> Iterator[int]:
        """Finds the children of `parent` that run between `start_ns` and `end_ns`."""
        starts, ends, below = self.starts, self.ends, self._below[parent]
        if len(below) <= _FEW:
            for i in below:
                if starts[i] < end_ns and start_ns < ends[i]:
                    yield i
            return
        if parent not in self._until:
            latest = accumulate((ends[i] for i in below), max)
            self._until[parent] = [starts[i] for i in below], [*latest]
        begun, until = self._until[parent]
        for place in range(bisect_left(begun, end_ns) - 1, -1, -1):
            self._steps += 1
            if until[place] <= start_ns or self._steps > _MOST_STEPS:
                return
            if ends[below[place]] > start_ns:
                yield below[place]

    def alone_ns(self, span: int, start_ns: int, end_ns: int) -> int:
        """Tells how long nothing below `span` runs between `start_ns` and `end_ns`."""
        alone_ns, at = 0, start_ns
        starts, ends = self.starts, self.ends
        for i in sorted(self.running(span, start_ns, end_ns)):
            alone_ns += max(0, starts[i] - at)
            at = max(at, ends[i])
        return alone_ns + max(0, end_ns - at)


class Family:
    """A span that the walk is in, and those of its children that can still take over.

    Asked at instants that never go up. Each child is kept by its end until that is before *t*,
    then, while it may be a late one, by how near its end is; so all of them take n log n together.
    """

    __slots__ = (
        "_done",
        "_ended",
        "_last",
        "_late",
        "_next",
        "_waiting",
        "overlapped",
        "span",
        "stop",
    )

    def __init__(self, waiting: Waiting, span: int, stop: int, ended: list[int], last: int) -> None:
        self.span, self.stop = span, stop
        self._waiting, self._ended, self._last = waiting, ended, last
        self._late: list[tuple[int, int]] = []
        self._next = NO_SPAN  # what began at t
        self.overlapped = False
        self._done = _NONE_YET  # polls that handed over

    def waited_for(self, t: int) -> int:
        """Finds the child that `span` can have waited for at `t`, else `NO_SPAN`."""
        ended, late = self._ended, self._late
        if not self.overlapped and (not ended or self._waiting.ends[ended[-1]] <= t):
            # Nothing is open, as it is most of the time.
            self._next = ended.pop() if ended else NO_SPAN
            return self._next
        waiting = self._waiting
        starts, ends = waiting.starts, waiting.ends
        at_end = self._next == NO_SPAN
        self.overlapped = True
        while ended and ends[ended[-1]] > t:
            child = ended.pop()
            near = ends[child] - waiting.late_ns(child, at_end=at_end) <= t
            if starts[child] < t and near and child not in self._done:
                heappush(late, (ends[child], child))
        while late:
            end, child = late[0]
            if starts[child] < t and end - waiting.late_ns(child, at_end=at_end) <= t:
                break
            heappop(late)
        best = self._still_open(t)
        if ended:
            best = min(best, (t - ends[ended[-1]], 1, ended[-1]))
        if late:
            best = min(best, (late[0][0] - t, 1, late[0][1]))
        child = best[2]
        if ended and child == ended[-1]:
            ended.pop()
        elif late and child == late[0][1]:
            heappop(late)
        self._next = child if child != _NOBODY else NO_SPAN
        return self._next

    def took(self, child: int) -> None:
        """Says that `child` took over instead of the one that was told, which is done with."""
        if not self._done:
            self._done = set()
        self._done.add(self._next)
        self._next = child

    def _still_open(self, t: int) -> tuple[int, int, int]:
        """Picks, of those that go on after `t`, the one whose output was used, or that was begun
        last."""
        waiting = self._waiting
        starts, ends = waiting.starts, waiting.ends
        if self._next == NO_SPAN:
            last = self._last
            if last != NO_SPAN and ends[last] > t > starts[last]:
                cut = t < ends[self.span]
                if cut or waiting.holds_task(last):
                    return 0, 2, last
            return _NONE
        given = {waiting.below(source, self.span) for source in waiting.given(self._next)}
        sources = [
            c
            for c in given
            if c not in (NO_SPAN, self._next) and starts[c] < t < ends[c] and c not in self._done
        ]
        return (0, 0, min(sources)) if sources else _NONE


_NONE_YET: set[int] = set()
"""Never added to: a family that has some makes a set of its own."""
_NOBODY: Final = 1 << 60
_NONE: Final = (1 << 62, 3, _NOBODY)
