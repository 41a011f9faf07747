"""The definition of the critical path, executable: slow and recursive, to be read and to test with.

Written from the words in `waiting` and `critical_path`, for a tree that is repaired already. Gives
the span that has each instant, as stretches in order of time.
"""

from collections.abc import Iterator, Sequence

from causepath_analyzer.analyses.path.causes import causes
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.kinds import span_kinds
from causepath_analyzer.model import NO_SPAN, TASKS, Trace

Stretch = tuple[int, int, int]
"""Span number (or `NO_SPAN`), start and end in ns."""


class Definition:
    def __init__(self, trace: Trace) -> None:
        known = causes(trace, span_kinds(trace))
        self.trace, self.spans = trace, trace.spans
        self.starts, self.ends, self.parents = known.started_ns, known.ends_ns, known.parents
        self.answered_by, self.flow = known.answered_by, DataFlow(trace)
        self.cut: set[int] = set()
        self.found: list[Stretch] = []

    def children(self, span: int) -> list[int]:
        """The children of `span`; `NO_SPAN` gives the roots."""
        return [i for i, parent in enumerate(self.parents) if parent == span]

    def holds_task(self, span: int) -> bool:
        if self.spans[span].category in TASKS:
            return True
        return any(self.holds_task(c) for c in self.children(span))

    def late_ns(self, span: int, d: int) -> int:
        length = self.ends[span] - self.starts[span]
        if self.holds_task(span):
            return max(self.trace.resolution_ns, length // 5)
        parent = self.parents[span]
        if parent != NO_SPAN and self.spans[parent].category in ("agent", "chain", "tool"):
            return max(self.trace.resolution_ns, length // 20)
        if d != NO_SPAN:
            return max(length // 200, self.trace.resolution_ns // 1_000_000 * 1_000_000)
        return max(self.trace.resolution_ns, length // 100, min(1000, length // 5))

    def above(self, span: int) -> list[int]:
        found = []
        while span != NO_SPAN:
            found.append(span)
            span = self.parents[span]
        return found

    def is_idle(self, span: int) -> bool:
        return self.spans[span].category in ("human", "wait")

    def waited_for(self, s: int, among: Sequence[int], t: int, d: int, stop: int) -> int:
        best: list[tuple[int, int, int]] = []
        open_now = [c for c in among if self.starts[c] < t and self.starts[c] < self.ends[c]]
        # What had ended before `s` is looked at (its start, or that of what cuts it) plays no part.
        open_now = [c for c in open_now if self.ends[c] > stop]
        open_now = [c for c in open_now if c != d and c not in self.trace.background]
        for c in open_now:
            if self.ends[c] <= t or self.ends[c] - self.late_ns(c, d) <= t:
                best.append((abs(self.ends[c] - t), 1, c))
            given = d != NO_SPAN and any(
                i in self.flow.outputs_given(d) or self.answered_by[i] == d
                for i in range(len(self.spans))
                if c in self.above(i)
            )
            if given and self.ends[c] > t and self.parents[c] == s:
                best.append((0, 0, c))
        if d == NO_SPAN and open_now:
            last = max(open_now)
            if self.ends[last] > t and (self.holds_task(last) or t < self.ends[s]):
                best.append((0, 2, last))
        return min(best, default=(0, 0, NO_SPAN))[2]

    def elsewhere(self, wait: int, stop: int, t: int) -> list[int]:
        """What works while `wait` waits: the outermost that are neither above nor below it."""
        clock = self.trace.resolution_ns
        during = {
            i
            for i in range(len(self.spans))
            if not self.is_idle(i)
            and self.starts[i] < t - clock
            and stop + clock < self.ends[i]
            and wait not in self.above(i)
            and i not in self.above(wait)
        }
        return [i for i in during if not during.intersection(self.above(self.parents[i]))]

    def walk(self, s: int, t: int, stop: int, *, idling: bool = False) -> None:
        among = self.children(s)
        if self.is_idle(s) and not idling:
            among = sorted({*among, *self.elsewhere(s, stop, t)})
        d = NO_SPAN
        among = list(among)
        while t > stop:
            c = self.waited_for(s, among, t, d, stop)
            if c == NO_SPAN:
                self.found.append((s, stop, t))
                return
            if self.spans[c].category == "wait":
                workers = [
                    i
                    for i in self.children(s)
                    if not self.is_idle(i)
                    and self.starts[i] < min(self.ends[i], self.ends[c], t)
                    and max(self.starts[c], stop) < self.ends[i]
                ]
                if workers:
                    among.remove(c)  # handed over
                    worker = min(workers, key=lambda i: (abs(self.ends[i] - self.ends[c]), i))
                    end = min(self.ends[c], t)
                    self.found.append((s, end, t))
                    self.found.append((c, min(self.ends[worker], end), end))
                    t, c = min(self.ends[worker], end), worker
            if self.ends[c] > t:
                self.cut.add(c)
            at, begin = min(self.ends[c], t), max(self.starts[c], stop)
            self.found.append((s, at, t))
            self.walk(c, at, begin, idling=idling or self.is_idle(s))
            t, d = min(begin, at), c

    def stretches(self) -> list[Stretch]:
        starts, ends = self.starts, self.ends
        roots = [r for r in self.children(NO_SPAN) if starts[r] < ends[r]]
        strays = []
        for i in range(len(self.spans)):
            root = self.above(i)[-1]
            outside = starts[i] < starts[root] or ends[i] > ends[root]
            if outside and not self.is_idle(i) and starts[i] < ends[i]:
                strays.append(i)
        t, first = self.trace.end_ns, self.trace.start_ns
        while t > first:
            open_now = [r for r in roots if starts[r] < t <= ends[r]]
            if open_now:
                top = min(open_now)
                self.walk(top, t, starts[top])
                t = starts[top]
                continue
            until = max([ends[r] for r in roots if ends[r] < t] + [first])
            tails = [i for i in strays if starts[i] < t <= ends[i]]
            if tails:
                until = max(until, starts[min(tails)])
                self.walk(min(tails), t, until)
            else:
                until = max([until] + [ends[i] for i in strays if ends[i] < t])
                self.found.append((NO_SPAN, until, t))
            t = until
        return [stretch for stretch in reversed(self.found) if stretch[1] < stretch[2]]


def instants(stretches: Sequence[Stretch]) -> Iterator[int]:
    """The span that has each instant, one after the other."""
    for span, start, end in stretches:
        yield from [span] * (end - start)
