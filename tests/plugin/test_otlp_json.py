"""The lines of the trace file: field by field what the official encoders make."""

from __future__ import annotations

import base64
import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from causepath.export import otlp_json


def context(number: int, *, remote: bool = False, state: str = "") -> SpanContext:
    states = TraceState([("vendor", state)]) if state else TraceState()
    return SpanContext(0xA << 120 | number, number, remote, TraceFlags(1), states)


RESOURCE = Resource({"service.name": "shop", "cpus": 2}, "https://schema/1")
SCOPE = InstrumentationScope("causepath", "1.2", "https://schema/2", {"kind": "test"})

WHOLE = ReadableSpan(
    "chat \u5929 \U0001f600",
    context(0x1F, state="a-b"),
    context(0x2, remote=True),
    RESOURCE,
    {
        "text": "",
        "lines": "a\n\u2028b",
        "true": True,
        "false": False,
        "int": -(2**63),
        "zero": 0,
        "float": 0.1,
        "whole": 1.0,
        "texts": ("a", "b"),
        "none": (),
        "mixed": (1, None, 2.5),
    },
    [Event("first_token", {"n": 1}, 5), Event("plain", None, 6)],
    [Link(context(0x3), {"causepath.link": "tool_call"}), Link(context(0x4, remote=True))],
    SpanKind.CLIENT,
    None,
    Status(StatusCode.ERROR, "broke"),
    1_764_000_000_000_000_001,
    1_764_000_000_000_000_002,
    SCOPE,
)
BARE = ReadableSpan("", context(0x5), resource=Resource({}))
OK = ReadableSpan(
    "ok", context(0x6), context(0x5), RESOURCE, kind=SpanKind.SERVER, status=Status(StatusCode.OK)
)

EXPECTED = {
    "resourceSpans": [
        {
            "resource": {
                "attributes": [
                    {"key": "service.name", "value": {"stringValue": "shop"}},
                    {"key": "cpus", "value": {"intValue": "2"}},
                ]
            },
            "scopeSpans": [
                {
                    "scope": {
                        "name": "causepath",
                        "version": "1.2",
                        "attributes": [{"key": "kind", "value": {"stringValue": "test"}}],
                    },
                    "spans": [
                        {
                            "traceId": "0a00000000000000000000000000001f",
                            "spanId": "000000000000001f",
                            "traceState": "vendor=a-b",
                            "parentSpanId": "0000000000000002",
                            "name": "chat \u5929 \U0001f600",
                            "kind": 3,
                            "startTimeUnixNano": "1764000000000000001",
                            "endTimeUnixNano": "1764000000000000002",
                            "attributes": [
                                {"key": "text", "value": {"stringValue": ""}},
                                {"key": "lines", "value": {"stringValue": "a\n\u2028b"}},
                                {"key": "true", "value": {"boolValue": True}},
                                {"key": "false", "value": {"boolValue": False}},
                                {"key": "int", "value": {"intValue": "-9223372036854775808"}},
                                {"key": "zero", "value": {"intValue": "0"}},
                                {"key": "float", "value": {"doubleValue": 0.1}},
                                {"key": "whole", "value": {"doubleValue": 1.0}},
                                {
                                    "key": "texts",
                                    "value": {
                                        "arrayValue": {
                                            "values": [{"stringValue": "a"}, {"stringValue": "b"}]
                                        }
                                    },
                                },
                                {"key": "none", "value": {"arrayValue": {}}},
                                {
                                    "key": "mixed",
                                    "value": {
                                        "arrayValue": {
                                            "values": [{"intValue": "1"}, {}, {"doubleValue": 2.5}]
                                        }
                                    },
                                },
                            ],
                            "events": [
                                {
                                    "timeUnixNano": "5",
                                    "name": "first_token",
                                    "attributes": [{"key": "n", "value": {"intValue": "1"}}],
                                },
                                {"timeUnixNano": "6", "name": "plain"},
                            ],
                            "links": [
                                {
                                    "traceId": "0a000000000000000000000000000003",
                                    "spanId": "0000000000000003",
                                    "attributes": [
                                        {
                                            "key": "causepath.link",
                                            "value": {"stringValue": "tool_call"},
                                        }
                                    ],
                                    "flags": 256,
                                },
                                {
                                    "traceId": "0a000000000000000000000000000004",
                                    "spanId": "0000000000000004",
                                    "flags": 768,
                                },
                            ],
                            "status": {"message": "broke", "code": 2},
                            "flags": 768,
                        }
                    ],
                    "schemaUrl": "https://schema/2",
                },
                {
                    "scope": {},
                    "spans": [
                        {
                            "traceId": "0a000000000000000000000000000006",
                            "spanId": "0000000000000006",
                            "parentSpanId": "0000000000000005",
                            "name": "ok",
                            "kind": 2,
                            "status": {"code": 1},
                            "flags": 256,
                        }
                    ],
                },
            ],
            "schemaUrl": "https://schema/1",
        },
        {
            "resource": {},
            "scopeSpans": [
                {
                    "scope": {},
                    "spans": [
                        {
                            "traceId": "0a000000000000000000000000000005",
                            "spanId": "0000000000000005",
                            "kind": 1,
                            "status": {},
                            "flags": 256,
                        }
                    ],
                }
            ],
        },
    ]
}


def test_a_span_with_everything_and_one_with_nothing() -> None:
    assert otlp_json.request([WHOLE, BARE, OK]) == EXPECTED
    line = otlp_json.line([WHOLE, BARE, OK])
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert json.loads(line) == EXPECTED


def official(spans: list[ReadableSpan]) -> Any:
    """What the encoder of protobuf makes, as the JSON of OTLP: ids in hexadecimal."""
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
    from google.protobuf.json_format import MessageToDict

    data = MessageToDict(encoder.encode_spans(spans), use_integers_for_enums=True)
    for resource in data["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for point in (span, *span.get("links", ())):
                    for name in {"traceId", "spanId", "parentSpanId"} & point.keys():
                        point[name] = base64.b64decode(point[name]).hex()
    return data


def test_the_official_encoder_makes_the_same() -> None:
    assert otlp_json.request([WHOLE, BARE, OK]) == official([WHOLE, BARE, OK])


INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.text(max_size=5) | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.binary()
VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(st.text(min_size=1, max_size=4), VALUES, max_size=4)
CONTEXTS = st.builds(
    lambda number, remote: context(number, remote=remote), st.integers(1, 2**64 - 1), st.booleans()
)
TIMES = st.none() | st.integers(0, 2**64 - 1)


@st.composite
def spans(draw: st.DrawFn) -> Any:
    """Spans as the SDK hands them over, with any value that may ever stand in one."""
    dropped = st.integers(0, 3)
    return SimpleNamespace(
        context=(own := draw(CONTEXTS)),
        get_span_context=lambda: own,
        parent=draw(st.none() | CONTEXTS),
        name=draw(st.text(max_size=5)),
        kind=draw(st.sampled_from(SpanKind)),
        start_time=draw(TIMES),
        end_time=draw(TIMES),
        attributes=draw(st.none() | ATTRIBUTES),
        events=[
            SimpleNamespace(
                name=draw(st.text(max_size=3)),
                timestamp=draw(TIMES),
                attributes=draw(ATTRIBUTES),
                dropped_attributes=draw(dropped),
            )
            for _ in range(draw(dropped))
        ],
        links=[
            SimpleNamespace(
                context=draw(CONTEXTS),
                attributes=draw(ATTRIBUTES),
                dropped_attributes=draw(dropped),
            )
            for _ in range(draw(dropped))
        ],
        status=draw(
            st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "why")])
        ),
        dropped_attributes=draw(dropped),
        dropped_events=draw(dropped),
        dropped_links=draw(dropped),
        resource=draw(st.sampled_from([RESOURCE, Resource({})])),
        instrumentation_scope=draw(st.sampled_from([SCOPE, InstrumentationScope("s"), None])),
    )


@given(st.lists(spans(), min_size=1, max_size=3))
def test_whatever_a_span_holds_the_official_encoder_makes_the_same(found: list[Any]) -> None:
    assert otlp_json.request(found) == official(found)
    assert json.loads(otlp_json.line(found)) == official(found)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.inf, {"doubleValue": "Infinity"}),
        (-math.inf, {"doubleValue": "-Infinity"}),
        (math.nan, {"doubleValue": "NaN"}),
        (b"\x00\xff", {"bytesValue": "AP8="}),
        ({"a": {"b": 1}}, {"kvlistValue": {"values": [
            {"key": "a", "value": {"kvlistValue": {"values": [
                {"key": "b", "value": {"intValue": "1"}}]}}}]}}),
        ("half \ud83d of a pair", {"stringValue": "half ? of a pair"}),
        ("\\ud83d, as letters", {"stringValue": "\\ud83d, as letters"}),
        ("\U0001f600", {"stringValue": "\U0001f600"}),
    ],
)  # fmt: skip
def test_values_that_json_has_no_form_for(value: Any, written: Any) -> None:
    span = ReadableSpan("s", context(1), resource=RESOURCE, attributes={"it": value})
    (attribute,) = spans_of(otlp_json.line([span]))[0]["attributes"]
    assert attribute == {"key": "it", "value": written}


def test_what_otlp_has_no_form_for_is_counted_as_dropped() -> None:
    attributes = {"too large": 2**63, "kept": 1, "inside": [1, object()], "unknown": object()}
    span = ReadableSpan("s", context(1), resource=RESOURCE, attributes=attributes)
    (written,) = spans_of(otlp_json.line([span]))
    assert written["attributes"] == [{"key": "kept", "value": {"intValue": "1"}}]
    assert written["droppedAttributesCount"] == 3


def test_the_state_of_a_trace_that_a_link_points_at_is_kept() -> None:
    """The official encoder forgets it."""
    span = ReadableSpan("s", context(1), resource=RESOURCE, links=[Link(context(2, state="x"))])
    (link,) = spans_of(otlp_json.line([span]))[0]["links"]
    assert link["traceState"] == "vendor=x"


def spans_of(line: bytes) -> list[Any]:
    return [
        span
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
