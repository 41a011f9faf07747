"""Microseconds of Jaeger and Zipkin, milliseconds of JavaScript: what ended together still does."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.model import Span
from causepath_analyzer.read.formats import jaeger_json, zipkin
from causepath_analyzer.read.tree.build import build

START_NS = 1_795_215_812_227_288_000


def jaegers(spans: list[tuple[int, int]]) -> bytes:
    """A chain of spans, each the child of the one before, as Jaeger writes them."""
    wire: list[dict[str, Any]] = [
        {
            "traceID": "a",
            "spanID": str(i + 1),
            "operationName": "s",
            "startTime": (START_NS + start) // 1000,
            "duration": (end - start) // 1000,
            "references": [{"refType": "CHILD_OF", "spanID": str(i)}] if i else [],
        }
        for i, (start, end) in enumerate(spans)
    ]
    return json.dumps({"data": [{"traceID": "a", "spans": wire, "processes": {}}]}).encode()


def zipkins(spans: list[tuple[int, int]]) -> bytes:
    """The same as Zipkin's exporters do."""
    return json.dumps(
        [
            {
                "traceId": "a",
                "id": str(i + 1),
                **({"parentId": str(i)} if i else {}),
                "name": "s",
                "timestamp": (START_NS + start) // 1000,
                "duration": (end - start) // 1000,
                "localEndpoint": {"serviceName": "s"},
            }
            for i, (start, end) in enumerate(spans)
        ]
    ).encode()


def times(document: bytes) -> list[tuple[int, int]]:
    """Start and end of each span in microseconds after the start."""
    found = (jaeger_json if b"spanID" in document else zipkin).read(document, "here") or []
    return [
        ((span.start_ns - START_NS) // 1000, ((span.end_ns or 0) - START_NS) // 1000)
        for span in found
        if isinstance(span, Span)
    ]


@pytest.mark.parametrize("write", [jaegers, zipkins])
def test_an_end_that_was_rounded_past_the_parents_is_the_parents(write: Any) -> None:
    # 0.9 to 10.8 us is written as 0 and 9 us, 1.0 to 10.8 as 1 and 9, which is one more.
    assert times(write([(900, 10_800), (1_000, 10_800), (1_900, 10_700)])) == [
        (0, 9),
        (1, 9),
        (1, 9),
    ]
    assert times(write([(900, 10_800), (1_000, 11_900)])) == [(0, 9), (1, 11)]  # it did outlive it


@given(
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 3_000)), min_size=1, max_size=6),
    st.integers(0, 999),
)
def test_what_was_nested_is_nested_after_rounding(
    insets: list[tuple[int, int]], offset: int
) -> None:
    start, end, spans = offset, offset + 50_000, []
    for later, earlier in insets:
        start, end = start + later, end - earlier
        spans.append((start, end))
    for write in (jaegers, zipkins):
        read = times(write(spans))
        assert all(above[0] <= start and end <= above[1] for above, (start, end) in pairwise(read))


# -- OpenTelemetry for JavaScript: starts are cut to milliseconds, durations are exact

MS = 1_000_000


def cut(number: int, parent: int, start_us: int, end_us: int, category: Any = "chain") -> Span:
    start_ns = START_NS // MS * MS + start_us // 1000 * MS
    end_ns = start_ns + (end_us - start_us) * 1000
    ids = "f" * 32, f"{number:016x}", f"{parent:016x}" if parent else ""
    return Span(*ids, f"s{number}", start_ns, end_ns, category)


def test_starts_that_were_cut_to_milliseconds_take_nothing_off_the_path() -> None:
    # One after the other without a pause, and the last one ends with the agent: 0.9 ms late.
    trace = build(
        [
            cut(1, 0, 5_950, 70_990, "agent"),
            cut(2, 1, 6_020, 40_700, "llm"),
            cut(3, 1, 40_710, 50_100, "tool"),
            cut(4, 1, 50_120, 70_980, "llm"),
            cut(5, 4, 50_130, 70_970, "network"),
        ]
    )
    assert {kind: round(ns / MS) for kind, ns in explained(trace).wall.path.items()} == {
        "llm": 55,
        "tool": 9,
        "agent": 2,
    }


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5000), st.integers(0, 5000)), max_size=12)
)
def test_no_start_moves_by_a_millisecond(rows: list[tuple[int, int, int]]) -> None:
    spans = [
        cut(i + 1, min(parent, i), start, start + length)
        for i, (parent, start, length) in enumerate(rows)
    ]
    if not spans:
        return
    trace = build(spans)
    before = {span.span_id: span for span in spans}
    for span in trace.spans:
        old = before[span.span_id]
        assert 0 <= span.start_ns - old.start_ns < MS
        assert abs(span.ended_ns - old.ended_ns) < 2 * MS
        assert span.ended_ns >= span.start_ns
    assert [s.start_ns for s in trace.spans] == sorted(s.start_ns for s in trace.spans)
