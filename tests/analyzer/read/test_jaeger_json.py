"""Jaeger v1: answers of the API, traces alone, tags as text."""

import json
from typing import Any

import pytest

from causepath_analyzer.model import Link, ModelCall, Skipped, Span, Tokens
from causepath_analyzer.read.format import Found
from causepath_analyzer.read.formats import jaeger_json


def tag(key: str, value: object) -> dict[str, object]:
    return {"key": key, "type": "string", "value": value}


def wire_span(**changes: Any) -> dict[str, Any]:
    return {
        "traceID": "A1",
        "spanID": "B2",
        "operationName": "chat m",
        "references": [
            {"refType": "CHILD_OF", "traceID": "A1", "spanID": "C3"},
            {"refType": "FOLLOWS_FROM", "traceID": "A1", "spanID": "D4"},
        ],
        "startTime": 1795215812227288,
        "duration": 100,
        "tags": [
            tag("span.kind", "client"),
            tag("gen_ai.operation.name", "chat"),
            tag("gen_ai.usage.input_tokens", 12),
            tag("gen_ai.usage.output_tokens", "3"),
            tag("gen_ai.response.finish_reasons", '["end_turn"]'),
            tag("otel.status_code", "ERROR"),
        ],
        "processID": "p1",
        **changes,
    }


PROCESSES = {"p1": {"serviceName": "demo", "tags": [tag("hostname", "h")]}}
EXPECTED = Span(
    trace_id="a1".zfill(32),
    span_id="b2".zfill(16),
    parent_id="c3".zfill(16),
    name="chat m",
    start_ns=1795215812227288000,
    end_ns=1795215812227388000,
    category="llm",
    kind="client",
    service="demo",
    host="h",
    error="error",
    model_call=ModelCall(tokens=Tokens(input=12, output=3), finish_reasons=("stop",)),
    links=(Link("d4".zfill(16)),),
)


def trace(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"traceID": "A1", "spans": list(spans), "processes": PROCESSES}


def found(document: Any) -> list[Found] | None:
    return jaeger_json.read(json.dumps(document).encode(), "line 1")


@pytest.mark.parametrize(
    "document",
    [
        {"data": [trace(wire_span())], "total": 0, "errors": None},
        {"data": trace(wire_span())},
        trace(wire_span()),
        [trace(wire_span())],
        [{"data": [trace(wire_span())]}],
    ],
)
def test_wrappers(document: Any) -> None:
    assert found(document) == [EXPECTED]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"references": None, "parentSpanID": "C3"}, {"parent_id": "c3".zfill(16), "links": ()}),
        (
            {"references": [{"refType": "FOLLOWS_FROM", "traceID": "A1", "spanID": "C3"}]},
            {"parent_id": "c3".zfill(16), "links": ()},
        ),
        (
            {"references": [{"refType": "CHILD_OF", "traceID": "FF", "spanID": "C3"}]},
            {"parent_id": "", "links": (Link("c3".zfill(16), None, "ff".zfill(32)),)},
        ),
        ({"duration": None}, {"end_ns": None}),
        ({"tags": None}, {"category": "other", "error": None}),
        ({"tags": [tag("error", True)]}, {"error": "error"}),
        ({"tags": [tag("error", "false")]}, {"error": None}),
        ({"tags": [tag("span.kind", ["client"])]}, {"kind": "internal"}),
        ({"processID": "p9"}, {"service": None}),
        ({"process": {"serviceName": "own"}}, {"service": "own"}),
    ],
)
def test_odd_fields(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    (span,) = found(trace(wire_span(**changes))) or ()
    assert {name: getattr(span, name) for name in expected} == expected


def test_a_span_that_cannot_be_read_is_told_and_its_neighbour_is_read() -> None:
    assert found(trace(wire_span(startTime="soon"), wire_span(tags=7), wire_span())) == [
        Skipped("line 1", "span B2 without id, operationName or startTime"),
        Skipped(
            "line 1",
            "a span that cannot be read: Expected `array | null`, got `int` - at `$.tags`",
        ),
        EXPECTED,
    ]


@pytest.mark.parametrize(
    "document", [{}, [], {"spans": [{"spanID": 1}]}, {"data": [{"spanID": "x"}]}, {"spans": []}]
)
def test_other_json_is_not_taken(document: Any) -> None:
    assert found(document) is None
