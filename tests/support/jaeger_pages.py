"""The critical path that Jaeger's page draws, by the algorithm that each of its versions published.

All versions cut a span at its parent's ends, and go back from the end of the root: the child that
ended last takes over, and at its start the one of its siblings that ended before that, strictly.
Times are whole microseconds. They differ in what they leave out before, with all below it, and in
which roots they begin at.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from causepath_analyzer.cli import invoke

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Page = Literal["to 2.14", "from 2.15", "newest"]
"""To 2.14: spans whose first reference is no parent. From 2.15: producers and consumers. The
newest: consumers below a producer; and it draws a path for each root."""

PAGES: tuple[Page, ...] = ("to 2.14", "from 2.15", "newest")

PRODUCER, CONSUMER = 4, 5
MS = 1_000_000


@dataclass
class _Bar:
    id: str
    parent: str
    start_us: int
    end_us: int
    is_left_out: bool


def path_on_page(spans: Sequence[Mapping[str, Any]], page: Page) -> dict[str, int]:
    """The microseconds on the path of each span of a trace in OTLP's JSON, by its id."""
    kinds = {str(span["spanId"]): span.get("kind") for span in spans}
    bars = {str(span["spanId"]): _bar(span, kinds, page) for span in spans}
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
    waiting = [(root, root.end_us) for root in (roots if page == "newest" else roots[:1])]
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


def _bar(span: Mapping[str, Any], kinds: Mapping[str, Any], page: Page) -> _Bar:
    parent = str(span.get("parentSpanId") or "")
    start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    start_us = start // 1000
    if page == "to 2.14":
        # Jaeger lists the parent first, and then the links.
        is_left_out = not parent and bool(span.get("links"))
    elif page == "from 2.15":
        is_left_out = bool(parent) and span.get("kind") in (PRODUCER, CONSUMER)
    else:
        is_left_out = (kinds.get(parent), span.get("kind")) == (PRODUCER, CONSUMER)
    return _Bar(
        str(span["spanId"]), parent, start_us, start_us + (end - start) // 1000, is_left_out
    )


def spans_of(lines: str) -> list[dict[str, Any]]:
    """The spans of lines of OTLP's JSON."""
    return [
        span
        for line in lines.splitlines()
        for batch in json.loads(line)["resourceSpans"]
        for group in batch["scopeSpans"]
        for span in group["spans"]
    ]


def exported(source: Path, *options: str) -> list[dict[str, Any]]:
    """The spans that `causepath export` makes of a file, beside which it writes them."""
    out = source.with_name("exported.jsonl")
    assert invoke(["export", str(source), "--to", "otlp", "-o", str(out), *options]) == 0
    return spans_of(out.read_text())


def both_paths(
    spans: Sequence[Mapping[str, Any]], page: Page
) -> tuple[dict[str, int], dict[str, int]]:
    """Whole milliseconds on the path by name, as the page has it and as an export says."""
    drawn = path_on_page(spans, page)
    for turn in (span for span in spans if span["name"].startswith("turn ")):
        # Between a call and its tool a copy has the span of their turn, where there is one.
        drawn[turn["parentSpanId"]] += drawn.pop(turn["spanId"], 0)
    theirs: dict[str, int] = defaultdict(int)
    ours: dict[str, int] = defaultdict(int)
    for span in spans:
        told = {pair["key"]: pair["value"] for pair in span["attributes"]}
        name = told.get("causepath.copy_of.name", {"stringValue": span["name"]})["stringValue"]
        theirs[name] += drawn.get(span["spanId"], 0)
        ours[name] += int(told.get("causepath.path_ns", {"intValue": 0})["intValue"])
    milliseconds = {name: round(us / 1000) for name, us in theirs.items()}
    said = {name: round(ns / MS) for name, ns in ours.items()}
    return (
        {name: ms for name, ms in milliseconds.items() if ms},
        {name: ms for name, ms in said.items() if ms},
    )


def _depth(bar: _Bar, bars: Mapping[str, _Bar]) -> int:
    depth = 0
    while bar.parent in bars:
        bar, depth = bars[bar.parent], depth + 1
    return depth
