"""Clocks and formats that round: what this puts a moment past its parent is put back.

Jaeger and Zipkin cut start and duration to whole microseconds each by itself, so that a span which
ended together with its parent may seem to end one later. It would then not have been waited for.

OpenTelemetry for JavaScript cuts the start to whole milliseconds and adds the exact duration: every
span is up to one millisecond early, each by another part of it. One may seem to outlive its parent,
or to start before the one has ended that it waited for.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from causepath_analyzer.model import NO_SPAN, Span
from causepath_analyzer.read.format import Found

_US: Final = 1_000
_MS: Final = 1_000_000
_A_CLOCK_NS: Final = 10**17
"""Times since the epoch are later, in 1973; a clock that begins with its process cuts nothing."""


def resolution_ns(spans: Sequence[Span]) -> int:
    """Finds what the clock of `spans` cuts times to: the largest of 1 ms, 1 us and 1 ns that
    divides every start and end."""
    largest = _MS
    for span in spans:
        while largest > 1 and (span.start_ns % largest or span.ended_ns % largest):
            largest //= 1_000
        if largest == 1:
            break
    return largest


def within_parents(found: Iterable[Found]) -> list[Found]:
    """`found`, whole traces, in which no span ends one microsecond after its parent."""
    items = list(found)
    spans = {
        (item.trace_id, item.span_id): item
        for item in items
        if isinstance(item, Span) and item.end_ns is not None
    }
    ends: dict[tuple[str, str], int | None] = {}
    for key in spans:
        above: list[tuple[str, str]] = []
        while key in spans and key not in ends:
            ends[key] = spans[key].end_ns  # for now, which also ends the climb in a cycle
            above.append(key)
            key = (key[0], spans[key].parent_id)
        for key in reversed(above):
            end, limit = spans[key].end_ns, ends.get((key[0], spans[key].parent_id))
            if end is not None and limit is not None and end - limit == _US:
                ends[key] = max(limit, spans[key].start_ns)
    return [
        replace(item, end_ns=end)
        if isinstance(item, Span)
        and (end := ends.get((item.trace_id, item.span_id), item.end_ns)) != item.end_ns
        and spans[item.trace_id, item.span_id] is item
        else item
        for item in items
    ]


def straightened(spans: Sequence[Span], parents: Sequence[int]) -> list[Span] | None:
    """`spans`, every parent before its children, without what cut starts did to their order;
    ``None`` if that is nothing.

    Among spans that start at whole milliseconds one that outlives its parent by less than a
    millisecond ends with it, and one that starts less than a millisecond before one beside it has
    ended, in which it did not start, starts then.
    """
    if not spans or spans[0].start_ns < _A_CLOCK_NS:
        return None
    is_cut = [not span.start_ns % _MS for span in spans]
    if is_cut.count(True) < 2:
        return None
    times = [(span.start_ns, span.ended_ns) for span in spans]
    ended: dict[tuple[int, int], int] = {}  # by parent and millisecond: the latest end in it
    for i, (start_ns, end_ns) in enumerate(times):
        if not is_cut[i]:
            continue
        above = parents[i]
        begin_ns = start_ns
        if above != NO_SPAN and is_cut[above]:
            first_ns, last_ns = times[above]
            limit_ns = spans[above].ended_ns
            if start_ns < first_ns < start_ns + _MS:
                begin_ns = first_ns
            if end_ns > last_ns and end_ns - limit_ns < _MS:
                end_ns = last_ns
        begin_ns = max(begin_ns, ended.get((above, start_ns // _MS), 0))
        begin_ns = min(begin_ns, max(end_ns, start_ns))
        times[i] = begin_ns, max(begin_ns, end_ns)
        # Of two that start in one millisecond nobody knows which came first.
        if times[i][1] // _MS > start_ns // _MS:
            key = above, times[i][1] // _MS
            ended[key] = max(ended.get(key, 0), times[i][1])
    if all(t == (span.start_ns, span.ended_ns) for t, span in zip(times, spans, strict=True)):
        return None
    return [
        span if t == (span.start_ns, span.ended_ns) else replace(span, start_ns=t[0], end_ns=t[1])
        for t, span in zip(times, spans, strict=True)
    ]
