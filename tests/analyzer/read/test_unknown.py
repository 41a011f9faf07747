"""What no reader takes is named for what it is, from its structure and not from a word in it."""

import json
from typing import Any

import pytest

from causepath_analyzer.read.formats.not_a_trace import looks_like, text_looks_like
from tests.analyzer.read.test_formats import spans_of

TALK = [{"role": "user", "content": "why does it say error?"}]
NO_TRACE = "JSON, but no trace in any format that causepath reads"


def looked_at(document: Any) -> str:
    return looks_like(json.dumps(document).encode()).what


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            [[{"trace_id": 0, "span_id": 1, "error": 0, "meta": {}, "start": 1, "duration": 2}]],
            "spans of Datadog's tracer",
        ),
        (
            {"data": [{"attributes": {"ml_app": "shop", "start_ns": 1, "input": TALK}}]},
            "spans of Datadog's LLM Observability",
        ),
        (
            {"id": "a", "trace_id": "1-581cf771-a006649127e371903a2de979", "start_time": 1.5},
            "segments of AWS X-Ray",
        ),
        ({"Traces": [{"Id": "1-5", "Segments": [{"Document": "{}"}]}]}, "segments of AWS X-Ray"),
        (
            {"hits": {"hits": [{"_index": "apm", "_source": {"@timestamp": "2026"}}]}},
            "documents of Elastic APM",
        ),
        ({"transaction": {"id": "a", "timestamp": 1}}, "documents of Elastic APM"),
        (
            {"tables": [{"name": "PrimaryResult", "columns": [], "rows": []}]},
            "rows of Application Insights",
        ),
        (
            [{"timestamp": "2026", "operation_Id": "a", "operation_ParentId": "b"}],
            "rows of Application Insights",
        ),
        (
            {"trace_id": "a", "duration_ms": 1, "span_count": 2, "error_count": 0, "spans": []},
            "a trace of Noveum",
        ),
        ({"id": "a", "timestamp": "2025", "instructions": None}, "a rollout of an old Codex"),
        ([{"op_name": "x", "started_at": "2026", "trace_id": "a"}], "calls of W&B Weave"),
        ({"span_id": "a", "root_span_id": "b", "span_parents": []}, "rows of Braintrust"),
        ([{"trace.trace_id": "a", "duration_ms": 1}], "rows of a Honeycomb query"),
        (
            [{"traceId": "a", "annotations": [], "binaryAnnotations": []}],
            "spans of Zipkin v1",
        ),
        ({"projectId": "p", "traceId": "a", "spans": []}, "traces of Google Cloud Trace"),
        (
            {"traceID": "a", "rootServiceName": "shop", "spanSet": {"spans": [{"spanID": "b"}]}},
            "a Tempo search result",
        ),
        ({"traces": [{"traceID": "a", "rootTraceName": "GET"}]}, "a Tempo search result"),
        ({"traceEvents": []}, "a Chrome or Perfetto trace"),
        ([{"ph": "X", "ts": 1, "pid": 1}], "a Chrome or Perfetto trace"),
        ({"data": [], "total": 0, "errors": None}, "an answer of Jaeger without a trace"),
        ({"type": "thread.started", "thread_id": "a"}, "what `codex exec --json` prints"),
        (
            {
                "type": "assistant",
                "message": {"role": "assistant", "content": []},
                "session_id": "a",
            },
            "what Claude Code streams",
        ),
        ({"sessionId": "a", "projectHash": "b", "messages": []}, "a chat of Gemini CLI"),
        ({"id": "a", "model": "m", "choices": []}, "the reply of a model's API"),
        ({"error": {"message": "no", "type": "invalid_request"}}, "the error message of an API"),
        ({"errors": [{"msg": "no"}], "data": None}, "the error message of an API"),
        (TALK, "messages of a conversation, no trace"),
        ({"model": "m", "messages": TALK}, "messages of a conversation, no trace"),
        # What stands in the content decides nothing.
        (
            {"uid": 1, "run_id": "a", "beganAt": "2026", "endedAt": "2026", "input": TALK},
            f"{NO_TRACE}; the objects in it have times (beganAt, endedAt)",
        ),
        (
            [{"run_id": "a", "started_at": 1, "note": '"resourceMetrics": "traceEvents"'}],
            f"{NO_TRACE}; the objects in it have times (started_at)",
        ),
        ({"error": 0, "value": 1}, NO_TRACE),
        ({"errors": []}, NO_TRACE),
        ({"note": "the role of the user is an error"}, NO_TRACE),
        ({}, NO_TRACE),
        ([], NO_TRACE),
    ],
)
def test_documents(document: Any, expected: str) -> None:
    assert looked_at(document).startswith(expected)
    # Far behind, and among much else.
    assert looked_at([[document]] + [{}] * 100).startswith(expected)


NET = """Application started.
Activity.TraceId:            5f6d5d2b8f9f0d6b6c0a2a1f6d5d2b8f
Activity.SpanId:             5f6d5d2b8f9f0d6b
Activity.DisplayName:        chat
"""
JAVA = """Nov 28, 2026 5:00:00 AM io.opentelemetry.exporter.logging.LoggingSpanExporter export
INFO: 'chat' : 5f6d5d2b8f9f0d6b6c0a2a1f6d5d2b8f 5f6d5d2b8f9f0d6b CLIENT [tracer: shop:] {}
"""
DEBUG = """2026-11-28T05:00:00.000Z\tinfo\tTraces\t{"resource spans": 1, "spans": 1}
2026-11-28T05:00:00.000Z\tinfo\tResourceSpans #0
Resource SchemaURL:
ScopeSpans #0
Span #0
    Trace ID       : 5f6d5d2b8f9f0d6b6c0a2a1f6d5d2b8f
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NET, "output of .NET's console exporter"),
        (JAVA, "output of Java's logging exporter"),
        (JAVA.split("\n", 1)[1], "output of Java's logging exporter"),
        (DEBUG, "output of the collector's debug exporter"),
        (DEBUG.split("\n", 2)[2], "output of the collector's debug exporter"),
        ("I met Activity.TraceId: in a novel\n", "text, no trace"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    _, entry = spans_of(text.encode())
    assert expected in str(entry.problem)


def test_a_text_like_nothing() -> None:
    assert text_looks_like(b"hello") is None
