"""Lanes of a timeline, in which every slice lies inside the one that is open below it."""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from msgspec import Struct

from causepath_analyzer.model import NO_SPAN, Trace


class Edge(Struct, frozen=True, gc=False):
    """A slice begins (``opens``) or ends at ``at_ns``."""

    at_ns: int
    span: int
    opens: bool


_NOT_YET: Final = -1


def lanes(trace: Trace) -> Sequence[Sequence[Edge]]:
    """The spans of `trace` in lanes; the edges of each in order of time, nested.

    A span lies on its parent if it is inside it and no other child is open there; else it begins
    the first lane that is free. So what ran at once is side by side:

        lane 0  |--- a ---------------|      b and c are children of a, d is one of c
                  |-- b --|
        lane 1        |-- c ----|
                        |- d -|
    """
    spans, parents = trace.spans, trace.parents
    depths = [0] * len(spans)
    for i in trace.top_down():
        depths[i] = 0 if parents[i] == NO_SPAN else depths[parents[i]] + 1
    lane = [_NOT_YET] * len(spans)
    found: list[list[Edge]] = []
    open_in: list[list[int]] = []  # the open slices of each lane, innermost last
    free: list[int] = []
    busy: list[tuple[int, int]] = []  # when a lane becomes free, and which

    def close(number: int, above: int, until_ns: int) -> None:
        """Ends what is open above the span `above` and ended by then."""
        stack = open_in[number]
        while stack and stack[-1] != above and spans[stack[-1]].ended_ns <= until_ns:
            ended = stack.pop()
            found[number].append(Edge(spans[ended].ended_ns, ended, opens=False))

    for i in sorted(range(len(spans)), key=lambda i: (spans[i].start_ns, depths[i], i)):
        start, end, parent = spans[i].start_ns, spans[i].ended_ns, parents[i]
        while busy and busy[0][0] <= start:
            number = heappop(busy)[1]
            close(number, NO_SPAN, start)
            heappush(free, number)
        number = _NOT_YET if parent == NO_SPAN else lane[parent]
        if number != _NOT_YET:
            close(number, parent, start)
        if number == _NOT_YET or not _fits(trace, open_in[number], i):
            if free:
                number = heappop(free)
            else:
                number = len(found)
                found.append([])
                open_in.append([])
            heappush(busy, (end, number))
        lane[i] = number
        open_in[number].append(i)
        found[number].append(Edge(start, i, opens=True))
    for number in range(len(found)):
        close(number, NO_SPAN, trace.end_ns + trace.after_ns)
    return found


def _fits(trace: Trace, stack: Sequence[int], i: int) -> bool:
    """Tells whether span `i` can lie on its parent, which is open with nothing on it, to its
    end."""
    parent = trace.parents[i]
    on_parent = bool(stack) and stack[-1] == parent
    return on_parent and trace.spans[i].ended_ns <= trace.spans[parent].ended_ns
