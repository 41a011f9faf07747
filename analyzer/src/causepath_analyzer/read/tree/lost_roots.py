"""Roots whose parent was lost, by sampling or by a broken context, hang where their time says.

A root that lies in the time of a span that only contains others (an agent, a framework's step, a
server's or an internal span) hangs below the smallest of these that has nothing else to do then:

    agent run   |------------------|          agent run   |------------------|
    agent step    |--------|             =>     agent step  |--------|
    llm chat        |----|    (a root)            llm chat    |----|

Those that name one and the same lost parent hang together, as they would have below it. Where
several branches have room for them, what holds these all takes them; where all are busy, the
largest does, as a branch of its own.

In a run in several traces, each of these has a root that is not lost. It hangs below a span of
another trace only where a link leads from the one into the other: those that ran at once, and were
put together afterwards, stay side by side.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from causepath_analyzer.model import LATE, NO_SPAN, SOFT, Span

_MOST_STEPS: Final = 5_000_000
"""Spans looked at in one trace; no real one comes near, and a hostile one must end."""


def hung_below(
    spans: Sequence[Span],
    parents: list[int],
    children: Sequence[Sequence[int]],
    roots: Sequence[int],
    resolution_ns: int,
    origins: Mapping[str, str],
) -> int:
    """Hangs lost roots into the tree of `spans`, changing `parents`; gives how many they were.

    `origins` are the traces of a run in several, by the id of each span.
    """
    return _Hanging(spans, parents, children, roots, resolution_ns, origins).hung()


class _Hanging:
    def __init__(
        self,
        spans: Sequence[Span],
        parents: list[int],
        children: Sequence[Sequence[int]],
        roots: Sequence[int],
        resolution_ns: int,
        origins: Mapping[str, str],
    ) -> None:
        self._spans, self._parents, self._clock_ns = spans, parents, resolution_ns
        self._main = max(roots, key=lambda i: (spans[i].duration_ns, -i))
        self._lost = [i for i in roots if i != self._main]
        self._recorded = children
        self._added: dict[int, list[int]] = {}
        self._added_until: dict[int, int] = {}
        # Roots that may hold another: those without children that are no container hold nobody.
        self._tops = [i for i in roots if self._holds(i)]
        self._holders: dict[
            int, list[int]
        ] = {}  # by span those of its children that may hold others
        self._busy_until: dict[int, tuple[list[int], list[int]]] = {}
        self._steps = 0
        self._origins = origins
        self._linked = _linked(spans, origins) if origins else frozenset()

    def hung(self) -> int:
        families: dict[str, list[int]] = {}
        for lost in self._lost:
            span = self._spans[lost]
            families.setdefault(span.parent_id or f" {lost}", []).append(lost)
        found = 0
        for family in families.values():
            if self._hang(family):
                found += len(family)
            elif len(family) > 1:
                found += sum(self._hang([lost]) for lost in family)
        return found

    def _hang(self, family: Sequence[int]) -> bool:
        below = self._place(family)
        if below == NO_SPAN:
            return False
        for lost in family:
            self._parents[lost] = below
            self._added.setdefault(below, []).append(lost)
            until_ns = max(self._added_until.get(below, 0), self._spans[lost].ended_ns)
            self._added_until[below] = until_ns
            if self._holds(lost):
                self._holders[below].append(lost)
        return True

    def _holds(self, span: int) -> bool:
        """Tells whether `span` may hold others: it does, or only contains."""
        return bool(self._recorded[span]) or self._spans[span].category in SOFT

    def _place(self, lost: Sequence[int]) -> int:
        start_ns = min(self._spans[i].start_ns for i in lost)
        end_ns = max(self._spans[i].ended_ns for i in lost)
        around = [i for i in self._around(lost, start_ns, end_ns) if self._may_hold(i, lost)]
        free = {i for i in around if not self._busy(i, start_ns, end_ns)}
        if not free:
            return max(around, key=lambda i: self._spans[i].duration_ns, default=NO_SPAN)
        above = {i: [*self._above(i)] for i in free}
        holding = {a for path in above.values() for a in path}
        innermost = [i for i in free if i not in holding]
        if len(innermost) == 1:
            return innermost[0]
        paths = [{i, *above[i]} for i in innermost]
        shared = [i for i in around if all(i in path for path in paths)]
        return min(shared, key=lambda i: (self._spans[i].duration_ns, -i), default=NO_SPAN)

    def _may_hold(self, container: int, lost: Sequence[int]) -> bool:
        """Tells whether `lost` are of the trace of `container`, or of one that a link joins to
        it."""
        of = self._origins.get(self._spans[container].span_id)
        if of is None:
            return True
        others = {self._origins.get(self._spans[i].span_id, of) for i in lost} - {of}
        return all(frozenset((of, other)) in self._linked for other in others)

    def _around(self, lost: Sequence[int], start_ns: int, end_ns: int) -> Iterator[int]:
        """Finds the containers that hold the time of `lost`, none of them below these."""
        spans, near_ns = self._spans, self._clock_ns
        last = max(lost, key=lambda i: spans[i].ended_ns)
        late_ns = max(near_ns, spans[last].duration_ns // LATE)
        waiting = [i for i in self._tops if i not in lost and self._parents[i] == NO_SPAN]
        while waiting:
            i = waiting.pop()
            self._steps += 1
            if self._steps > _MOST_STEPS:
                return
            span = spans[i]
            if span.start_ns - near_ns > start_ns or end_ns > span.ended_ns + late_ns:
                continue
            if span.category in SOFT and span.duration_ns > end_ns - start_ns:
                yield i
            if i not in self._holders:
                self._holders[i] = [child for child in self._recorded[i] if self._holds(child)]
            waiting.extend(self._holders[i])

    def _above(self, span: int) -> Iterator[int]:
        above = self._parents[span]
        while above != NO_SPAN:
            yield above
            above = self._parents[above]

    def _busy(self, container: int, start_ns: int, end_ns: int) -> bool:
        """Tells whether a child of `container` runs between `start_ns` and `end_ns`."""
        spans = self._spans
        first_ns, last_ns = start_ns + self._clock_ns, end_ns - self._clock_ns
        if container not in self._busy_until:
            below = self._recorded[container]
            ends = accumulate((spans[i].ended_ns for i in below), max)
            self._busy_until[container] = [spans[i].start_ns for i in below], [*ends]
        starts, ends_ns = self._busy_until[container]
        begun = bisect_left(starts, last_ns)
        if begun and ends_ns[begun - 1] > first_ns:
            return True
        if self._added_until.get(container, 0) <= first_ns:
            return False
        return any(
            spans[i].start_ns < last_ns and first_ns < spans[i].ended_ns
            for i in reversed(self._added.get(container, ()))
        )


def _linked(spans: Sequence[Span], origins: Mapping[str, str]) -> frozenset[frozenset[str]]:
    """Finds the pairs of traces of which a link leads from the one into the other."""
    return frozenset(
        frozenset((origins[span.span_id], origins[link.span_id]))
        for span in spans
        for link in span.links
        if span.span_id in origins and link.span_id in origins
    )
