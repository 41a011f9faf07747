"""Formats that keep microseconds: what their rounding puts a moment past its parent is put back.

Start and duration are cut to whole microseconds each by itself, so that a span which ended together
with its parent may seem to end one later. It would then not have been waited for.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from causepath_analyzer.model import Span
from causepath_analyzer.read.format import Found

_US: Final = 1_000


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
