"""Dialects of OTLP/JSON: however it is written, the same span comes out."""

import base64
import json
from typing import Any

import pytest
from msgspec.structs import replace

from causepath_analyzer.model import Link, ModelCall, Skipped, Span, Tokens
from causepath_analyzer.read.format import Found
from causepath_analyzer.read.formats import otlp_json

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"


def attribute(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def wire_span(**changes: Any) -> dict[str, Any]:
    return {
        "traceId": TRACE,
        "spanId": SPAN,
        "parentSpanId": PARENT,
        "name": "chat m",
        "kind": 3,
        "startTimeUnixNano": "1795215812227288555",
        "endTimeUnixNano": "1795215812327288555",
        "attributes": [
            attribute("gen_ai.operation.name", stringValue="chat"),
            attribute("gen_ai.usage.input_tokens", intValue="12"),
            attribute("gen_ai.usage.output_tokens", intValue=3),
            attribute("gen_ai.response.time_to_first_chunk", doubleValue=0.05),
            attribute("gen_ai.request.stream", boolValue=True),
            attribute(
                "gen_ai.response.finish_reasons",
                arrayValue={"values": [{"stringValue": "tool_use"}]},
            ),
            attribute("something.nobody.asks.for", kvlistValue={"values": [5]}),
        ],
        "links": [
            {
                "traceId": TRACE,
                "spanId": PARENT,
                "attributes": [attribute("causepath.link", stringValue="tool_result")],
            }
        ],
        "status": {"code": 2, "message": "boom"},
        **changes,
    }


def request(*spans: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": [attribute("service.name", stringValue="demo")]}
    groups = [{"scope": {"name": "my.scope"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": groups}]}


EXPECTED = Span(
    trace_id=TRACE,
    span_id=SPAN,
    parent_id=PARENT,
    name="chat m",
    start_ns=1795215812227288555,
    end_ns=1795215812327288555,
    category="llm",
    kind="client",
    service="demo",
    host="service:demo",
    error="error",
    model_call=ModelCall(
        tokens=Tokens(input=12, output=3),
        ttft_ns=50_000_000,
        finish_reasons=("tool_call",),
        streamed=True,
    ),
    links=(Link(PARENT, "tool_result"),),
    scope="my.scope",
)


def snake(value: Any) -> Any:
    if isinstance(value, list):
        return [snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in key): snake(item)
        for key, item in value.items()
    }


def in_base64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


def found(document: Any) -> list[Found] | None:
    return otlp_json.read(json.dumps(document).encode(), "line 1")


BASE64_IDS = wire_span(
    traceId=in_base64(TRACE),
    spanId=in_base64(SPAN),
    parentSpanId=in_base64(PARENT),
    kind="SPAN_KIND_CLIENT",
    status={"code": "STATUS_CODE_ERROR"},
    links=[
        {
            "spanId": in_base64(PARENT),
            "attributes": [attribute("causepath.link", stringValue="tool_result")],
        }
    ],
)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(request(wire_span()), id="as specified"),
        pytest.param([request(wire_span())], id="list of requests"),
        pytest.param(snake(request(wire_span())), id="snake_case"),
        pytest.param([snake(request(wire_span()))], id="list of snake_case"),
        pytest.param(request(BASE64_IDS), id="base64 ids, enums by name"),
        pytest.param(
            request(wire_span(traceId=TRACE.upper(), spanId=SPAN.upper())), id="upper case ids"
        ),
        pytest.param(
            request(
                wire_span(
                    startTimeUnixNano=1795215812227288555, endTimeUnixNano=1795215812327288555
                )
            ),
            id="times as numbers",
        ),
        pytest.param({"batches": request(wire_span())["resourceSpans"]}, id="Tempo v1"),
        pytest.param({"trace": request(wire_span()), "status": "COMPLETE"}, id="Tempo v2"),
        pytest.param({"result": request(wire_span())}, id="Jaeger v3"),
        pytest.param(
            {
                "resourceSpans": [
                    {
                        "resource": request()["resourceSpans"][0]["resource"],
                        "instrumentationLibrarySpans": [
                            {"instrumentationLibrary": {"name": "my.scope"}, "spans": [wire_span()]}
                        ],
                    }
                ]
            },
            id="before 2022",
        ),
        pytest.param(
            request(wire_span(flags=[], events="?", droppedLinks={})), id="unknown fields"
        ),
    ],
)
def test_dialects(document: Any) -> None:
    assert found(document) == [EXPECTED]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"parentSpanId": ""}, {"parent_id": ""}),
        ({"parentSpanId": None}, {"parent_id": ""}),
        ({"parentSpanId": "0" * 16}, {"parent_id": ""}),
        ({"name": None}, {"name": ""}),
        ({"kind": 99}, {"kind": "internal"}),
        ({"endTimeUnixNano": "0"}, {"end_ns": None}),
        ({"endTimeUnixNano": None}, {"end_ns": None}),
        ({"startTimeUnixNano": "0", "endTimeUnixNano": "0"}, {"start_ns": 0, "end_ns": 0}),
        ({"links": None}, {"links": ()}),
        ({"status": None}, {"error": None}),
        ({"status": {"code": "2"}}, {"error": "error"}),
        ({"attributes": None}, {"category": "other", "model_call": None}),
    ],
)
def test_odd_fields(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    (span,) = found(request(wire_span(**changes))) or ()
    assert {name: getattr(span, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"spanId": ""}, "a span without an id"),
        ({"startTimeUnixNano": None}, f"span {SPAN} has no start time"),
        (
            {"startTimeUnixNano": "yesterday"},
            f"span {SPAN} starts at 'yesterday', which is no time in ns",
        ),
        (
            {"startTimeUnixNano": 10**30},
            f"span {SPAN} starts at {10**30}, which is no time in ns",
        ),
        (
            {"name": 5},
            "a span with a field of the wrong type: Expected `str | null`, got `int` - at `$.name`",
        ),
    ],
)
def test_a_span_that_cannot_be_read_is_told_and_its_neighbour_is_read(
    changes: dict[str, Any], why: str
) -> None:
    assert found(request(wire_span(**changes), wire_span())) == [Skipped("line 1", why), EXPECTED]


@pytest.mark.parametrize(
    "document",
    [{}, [], {"resourceLogs": []}, {"data": []}, {"resourceSpans": 5}, 5, "resourceSpans", [1]],
)
def test_other_json_is_not_taken(document: Any) -> None:
    assert found(document) is None


BATCH = request(wire_span())["resourceSpans"][0]


@pytest.mark.parametrize(
    ("document", "service", "scope"),
    [
        pytest.param(BATCH, "demo", "my.scope", id="one batch"),
        pytest.param([BATCH], "demo", "my.scope", id="a list of batches"),
        pytest.param(snake(BATCH), "demo", "my.scope", id="snake_case"),
        pytest.param(BATCH["scopeSpans"], None, "my.scope", id="a list of scopes"),
        pytest.param([wire_span()], None, None, id="a list of spans"),
        pytest.param(wire_span(), None, None, id="one span"),
    ],
)
def test_a_part_of_a_request_alone(document: Any, service: str | None, scope: str | None) -> None:
    host = f"service:{service or ''}"
    assert found(document) == [replace(EXPECTED, service=service, host=host, scope=scope)]


def test_what_went_wrong_is_told_by_an_event_where_no_attribute_says_it() -> None:
    thrown = {
        "name": "exception",
        "timeUnixNano": "1795215812227288556",
        "attributes": [attribute("exception.type", stringValue="ValueError")],
    }
    damaged = {"name": "exception", "attributes": [{"key": 5}]}
    named = [attribute("error.type", stringValue="timeout")]
    spans = [
        wire_span(status={"code": 2}, events=[thrown]),
        wire_span(status={"code": 2}, events=[thrown], attributes=named),
        wire_span(status={"code": 2}, events=[damaged]),
        wire_span(status={}, events=[thrown]),
    ]
    found = otlp_json.read(json.dumps(request(*spans, *spans)).encode(), "line 1") or []
    told = [span.error for span in found if isinstance(span, Span)]
    assert told == ["ValueError", "timeout", "error", None] * 2
