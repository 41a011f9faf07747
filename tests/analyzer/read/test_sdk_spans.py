"""What the SDKs of several languages print is read in one way."""

import json
from typing import Any

import pytest

from causepath_analyzer.model import Span
from tests.analyzer.read.test_formats import spans_of

TRACE, OWN, LINKED = "1" * 32, "2" * 16, "3" * 16
START = 1_700_000_000_000_000_000
FIRST = ("First Token Stream Event", "ai.stream.firstChunk")


def python(events: list[tuple[str, int]]) -> dict[str, Any]:
    """A span as `span.to_json()` writes it."""
    return {
        "name": "chat m",
        "context": {"trace_id": f"0x{TRACE}", "span_id": f"0x{OWN}"},
        "kind": "SpanKind.CLIENT",
        "start_time": START,
        "end_time": START + 1_000_000_000,
        "attributes": {"gen_ai.operation.name": "chat"},
        "events": [
            {"name": name, "timestamp": START + at, "attributes": {"exception.type": name}}
            for name, at in events
        ],
        "links": [{"context": {"trace_id": "0x" + "9" * 32, "span_id": f"0x{LINKED}"}}],
        "resource": {"attributes": {"service.name": "demo"}},
    }


def javascript(events: list[tuple[str, int]]) -> dict[str, Any]:
    """A span as `JSON.stringify` writes it."""
    return {
        "name": "chat m",
        "kind": 2,
        "_spanContext": {"traceId": TRACE, "spanId": OWN},
        "startTime": [START // 10**9, START % 10**9],
        "endTime": [START // 10**9 + 1, START % 10**9],
        "attributes": {"gen_ai.operation.name": "chat"},
        "status": {"code": 0},
        "events": [
            {
                "name": name,
                "time": [START // 10**9, START % 10**9 + at],
                "attributes": {"exception.type": name},
            }
            for name, at in events
        ],
        "links": [{"context": {"traceId": "9" * 32, "spanId": LINKED}}],
        "resource": {"_rawAttributes": [["service.name", "demo"]]},
    }


def go(events: list[tuple[str, int]]) -> dict[str, Any]:
    """A span as `stdouttrace` prints it."""

    def text(key: str, value: str) -> dict[str, Any]:
        return {"Key": key, "Value": {"Type": "STRING", "Value": value}}

    def instant(at: int) -> str:
        return f"2023-11-14T22:13:20.{at:09}Z" if at < 10**9 else "2023-11-14T22:13:21Z"

    return {
        "Name": "chat m",
        "SpanContext": {"TraceID": TRACE, "SpanID": OWN},
        "Parent": {"TraceID": "0" * 32, "SpanID": "0" * 16},
        "SpanKind": 3,
        "StartTime": instant(0),
        "EndTime": instant(10**9),
        "Attributes": [text("gen_ai.operation.name", "chat")],
        "Events": [
            {"Name": name, "Time": instant(at), "Attributes": [text("exception.type", name)]}
            for name, at in events
        ],
        "Links": [{"SpanContext": {"TraceID": "9" * 32, "SpanID": LINKED}}],
        "Status": {"Code": "Unset"},
        "Resource": [text("service.name", "demo")],
    }


def told(span: Span) -> object:
    return (
        (span.trace_id, span.span_id, span.start_ns, span.end_ns, span.kind, span.service),
        (span.model_call.ttft_ns if span.model_call is not None else None, span.error),
        [(link.span_id, link.trace_id) for link in span.links],
    )


@pytest.mark.parametrize("sdk", [python, javascript, go])
@pytest.mark.parametrize(
    ("events", "ttft_ns"),
    [
        ([], None),
        ([(FIRST[0], 300_000)], 300_000),
        ([(FIRST[0], 300_000), (FIRST[1], 900_000)], 300_000),
        ([(FIRST[1], 900_000), ("other", 1), (FIRST[0], 300_000)], 300_000),
    ],
)
def test_the_first_of_several_first_tokens_counts(
    sdk: Any, events: list[tuple[str, int]], ttft_ns: int | None
) -> None:
    (span,), _ = spans_of(json.dumps(sdk(events)).encode())
    assert told(span) == (
        (TRACE, OWN, START, START + 10**9, "client", "demo"),
        (ttft_ns, None),
        [(LINKED, "9" * 32)],
    )
