"""Jaeger's and Zipkin's microseconds: what ended with its parent still does."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causepath_analyzer.model import Span
from causepath_analyzer.read import jaeger_json, zipkin

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
