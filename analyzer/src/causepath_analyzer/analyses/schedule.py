"""What the wall time would have been had some tools run together.

A span's children are a schedule: each starts a gap after the siblings that had ended before it
(or after the parent's start), and the parent ends a gap after the last child it waited for. With
some children moved, the same gaps and orders give the new times, level by level up to the root:

    now    |--T1--|..|----T2----|...|--M2--|      then   |--T1--|
           gaps: two and three dots                      |----T2----|.....|--M2--|

The gaps between tools that are run together are the agent's own work: they are kept, after them.
"""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from causepath_analyzer.analyses.causes import Causes
from causepath_analyzer.model import NO_SPAN, Trace

Families = Mapping[int, Sequence[int]]
"""The children of every span, in order of start; the roots are those of `NO_SPAN`."""


def families(causes: Causes) -> Families:
    """Who hangs below whom in the tree of `causes`."""
    family: dict[int, list[int]] = {}
    for i, parent in enumerate(causes.parents):
        family.setdefault(parent, []).append(i)
    return family


def wall_if_together(trace: Trace, causes: Causes, family: Families, group: Sequence[int]) -> int:
    """The wall time in ns of `trace` with the spans in `group` started together.

    They are in order of start and children of one parent in the tree of `causes`. If some of them
    overlap as it is, these start as far apart as they did, and no more run at once than do.
    """
    parent = causes.parents[group[0]]
    ends = _ends_if_together(trace, causes, family[parent], group)
    while True:
        new_end = _parent_end(trace, causes, parent, family[parent], ends)
        if parent == NO_SPAN:
            return new_end - trace.start_ns
        child, parent = parent, causes.parents[parent]
        ends = _ends_if_shorter(trace, causes, family[parent], child, new_end)


def most_at_once(trace: Trace, group: Sequence[int]) -> int:
    """How many of the spans in `group`, in order of start, ran at one instant."""
    running: list[int] = []
    most = 0
    for i in group:
        while running and running[0] <= trace.spans[i].start_ns:
            heappop(running)
        heappush(running, trace.spans[i].ended_ns)
        most = max(most, len(running))
    return most


def _ends_if_together(
    trace: Trace, causes: Causes, siblings: Sequence[int], group: Sequence[int]
) -> dict[int, int]:
    """The new ends of `siblings`, of which those in `group` are run together."""
    spans = trace.spans
    limit = most_at_once(trace, group)
    first = spans[group[0]].start_ns
    slots = [first] * (len(group) if limit == 1 else limit)
    ends: dict[int, int] = {}
    kept = 0
    ended = first
    began = first  # of the tools that overlap, which keep their distances
    for i in group:
        if spans[i].start_ns >= ended:
            kept += spans[i].start_ns - ended
            began = spans[i].start_ns
        start = max(heappop(slots), first + spans[i].start_ns - began)
        ends[i] = start + spans[i].duration_ns
        heappush(slots, ends[i])
        ended = max(ended, spans[i].ended_ns)
    # Whoever waited for all of them waits for the agent's work between them as well.
    last = max(group, key=lambda i: (spans[i].ended_ns, i))
    ends[last] = max(ends.values()) + kept
    return _rescheduled(trace, causes, siblings, ends)


def _ends_if_shorter(
    trace: Trace, causes: Causes, siblings: Sequence[int], child: int, new_end: int
) -> dict[int, int]:
    """The new ends of `siblings`, of which `child` ends at `new_end`."""
    cut = trace.spans[child].ended_ns - causes.ends_ns[child]
    return _rescheduled(trace, causes, siblings, {child: new_end - cut})


def _rescheduled(
    trace: Trace, causes: Causes, siblings: Sequence[int], moved: Mapping[int, int]
) -> dict[int, int]:
    """New ends of all `siblings`: as in `moved`, else behind those they waited for."""
    spans = trace.spans
    by_end = sorted(siblings, key=causes.ends_ns.__getitem__, reverse=True)
    ends: dict[int, int] = {}
    old_gate = new_gate = None
    for i in siblings:  # in order of start
        while by_end and causes.ends_ns[by_end[-1]] <= spans[i].start_ns:
            before = by_end.pop()
            old_gate = causes.ends_ns[before]
            if before in ends:  # all but spans without length at this very instant
                new_gate = max(new_gate or ends[before], ends[before])
        shift = 0 if old_gate is None or new_gate is None else new_gate - old_gate
        ends[i] = moved.get(i, causes.ends_ns[i] + shift)
    return ends


def _parent_end(
    trace: Trace,
    causes: Causes,
    parent: int,
    children: Sequence[int],
    ends: Mapping[int, int],
) -> int:
    """The new end of `parent`, which keeps its gap behind the children it waited for."""
    old_end = trace.end_ns if parent == NO_SPAN else trace.spans[parent].ended_ns
    waited = [i for i in children if causes.ends_ns[i] <= old_end]
    if not waited:
        return old_end
    gap = old_end - max(causes.ends_ns[i] for i in waited)
    return max(ends[i] for i in waited) + gap
