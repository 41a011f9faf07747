"""The critical path that Jaeger's page draws, by the algorithm that each of its versions published.

All versions cut a span at its parent's ends, and go back from the end of the root: the child that
ended last takes over, and at its start the one of its siblings that ended before that, strictly.
Times are whole microseconds. They differ in what they leave out before, with all below it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Page = Literal["to 2.14", "from 2.15"]
"""To 2.14: spans whose first reference is no parent. From 2.15: producers and consumers."""

PAGES: tuple[Page, ...] = ("to 2.14", "from 2.15")


@dataclass
class _Bar:
    id: str
    parent: str
    start_us: int
    end_us: int
    is_left_out: bool


def path_on_page(spans: Sequence[Mapping[str, Any]], page: Page) -> dict[str, int]:
    """The microseconds on the path of each span of a trace in OTLP's JSON, by its id."""
    bars = {str(span["spanId"]): _bar(span, page) for span in spans}
    children: dict[str, list[_Bar]] = defaultdict(list)
    kept: dict[str, _Bar] = {}
    for bar in sorted(bars.values(), key=lambda one: (_depth(one, bars), one.start_us)):
        parent = kept.get(bar.parent)
        if bar.is_left_out or (bar.parent and parent is None):
            continue
        if parent is not None:
            bar.start_us = max(bar.start_us, parent.start_us)
            bar.end_us = min(bar.end_us, parent.end_us)
            if bar.start_us >= parent.end_us or bar.end_us <= parent.start_us:
                continue
            children[parent.id].append(bar)
        kept[bar.id] = bar
    roots = [bar for bar in kept.values() if not bar.parent]
    path: dict[str, int] = defaultdict(int)
    if not roots:
        return path
    waiting = [(roots[0], roots[0].end_us)]
    while waiting:
        bar, until_us = waiting.pop()
        while True:
            ended = [c for c in children[bar.id] if c.end_us < until_us or until_us == bar.end_us]
            last = max(ended, key=lambda child: child.end_us, default=None)
            if last is None:
                break
            children[bar.id].remove(last)
            path[bar.id] += until_us - last.end_us
            waiting.append((last, last.end_us))
            until_us = last.start_us
        path[bar.id] += until_us - bar.start_us
    return {bar_id: us for bar_id, us in path.items() if us}


def _bar(span: Mapping[str, Any], page: Page) -> _Bar:
    parent = str(span.get("parentSpanId") or "")
    start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    start_us = start // 1000
    if page == "to 2.14":
        # Jaeger lists the parent first, and then the links.
        is_left_out = not parent and bool(span.get("links"))
    else:
        is_left_out = bool(parent) and span.get("kind") in (4, 5)
    return _Bar(
        str(span["spanId"]), parent, start_us, start_us + (end - start) // 1000, is_left_out
    )


def _depth(bar: _Bar, bars: Mapping[str, _Bar]) -> int:
    depth = 0
    while bar.parent in bars:
        bar, depth = bars[bar.parent], depth + 1
    return depth
