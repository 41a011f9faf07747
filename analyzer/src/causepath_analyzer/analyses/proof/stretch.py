"""Tools that get slower where their calls overlap, as if they waited for each other.

alone      |--|    |--|
together   |--|                they share a connection, a lock, a rate: started together,
           |-----|             they take as long as they do in sequence
           |--------|
"""

from itertools import pairwise
from statistics import median
from typing import Final

from causepath_analyzer.model import Trace

_STRETCHED: Final = 1.4
"""Times as long as alone, on average. Two calls that wait for each other take one and a half."""


def serial_tools(trace: Trace) -> frozenset[str]:
    """The names of the tools in `trace` that show it."""
    calls = _times(trace)
    return frozenset(name for name, times in calls.items() if len(times) > 1 and _stretch(times))


def overlapping_tools(trace: Trace) -> frozenset[str]:
    """The names of the tools in `trace` of which some calls ran side by side."""
    return frozenset(
        name
        for name, times in _times(trace).items()
        if any(later[0] < earlier[1] for earlier, later in pairwise(times))
    )


def _times(trace: Trace) -> dict[str, list[tuple[int, int]]]:
    calls: dict[str, list[tuple[int, int]]] = {}
    for span in trace.spans:  # in order of start
        tool = span.tool_call
        if span.category == "tool" and tool is not None and tool.name and not tool.inferred:
            calls.setdefault(tool.name, []).append((span.start_ns, span.ended_ns))
    return calls


def _stretch(times: list[tuple[int, int]]) -> bool:
    groups: list[list[tuple[int, int]]] = []
    until_ns = -1
    for start_ns, end_ns in times:
        if start_ns < until_ns:
            groups[-1].append((start_ns, end_ns))
        else:
            groups.append([(start_ns, end_ns)])
        until_ns = max(until_ns, end_ns)
    alone = [end - start for group in groups if len(group) == 1 for start, end in group]
    for group in groups:
        lengths = [end - start for start, end in group]
        ends = sorted(end for _, end in group)
        if len(group) < 2 or group[-1][0] >= ends[0]:
            continue  # they came one by one, so how long all of them took says nothing
        if alone and sum(lengths) >= _STRETCHED * len(group) * median(alone):
            return True
        if not alone and len(group) > 2 and _one_by_one(group[0][0], ends):
            return True
    return False


def _one_by_one(start_ns: int, ends: list[int]) -> bool:
    """Tells whether calls that began together ended at even distances, each as long as the first
    took."""
    first = ends[0] - start_ns
    gaps = [later - earlier for earlier, later in pairwise(ends)]
    return first > 0 and all(0.6 * first <= gap <= 1.6 * first for gap in gaps)
