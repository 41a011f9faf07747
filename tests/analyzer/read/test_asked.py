"""Attributes that are asked for by name: in every format, of every type, and of nobody else."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.trace.v1 import trace_pb2

from causepath_analyzer import attributes as names
from causepath_analyzer.analyses.labels import group_of_values, values_of
from causepath_analyzer.model import Span, Trace
from causepath_analyzer.read import Options, SpansByTrace, read_stream, traces
from tests.analyzer.read.samples import AGENT, FIRST, SAMPLES, TRACE, otlp_span
from tests.support.drawn import drawn


def read(data: bytes, *asked: str) -> tuple[Trace, tuple[str, ...]]:
    """The one run in `data`, and the names of the attributes that there are."""
    spans: SpansByTrace = {}
    with io.BufferedReader(io.BytesIO(data)) as stream:
        entry = read_stream("t", stream, spans, None, Options(attributes=frozenset(asked)))
    (trace,) = traces([entry], spans).traces
    return trace, entry.attributes


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_format_tells(name: str) -> None:
    trace, there = read(SAMPLES[name], *names.SESSION, "nobody.says")
    found = {one: values for one in names.SESSION if (values := values_of(trace, one))}
    assert set(found.values()) == {(trace.spans[0].session,)}
    assert values_of(trace, "nobody.says") == ()
    assert set(there) >= found.keys()
    assert "nobody.says" not in there


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_nobody_asks_for_is_not_kept(name: str) -> None:
    trace, there = read(SAMPLES[name])
    assert (there, {span.labels for span in trace.spans}) == ((), {()})


def otlp(attributes: list[dict[str, Any]], resource: list[dict[str, Any]]) -> dict[str, Any]:
    spans = [{**otlp_span(AGENT), "attributes": attributes}]
    scopes = [{"scope": {"name": "x"}, "spans": spans}]
    return {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": scopes}]}


def pair(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


VALUES = [
    pair("text", stringValue="a = \"b\", 'c'"),
    pair("number", intValue="-7"),
    pair("large", intValue="9223372036854775807"),
    pair("part", doubleValue=0.25),
    pair("whole", doubleValue=5.0),
    pair("yes", boolValue=True),
    pair("no", boolValue=False),
    pair("empty", stringValue=""),
    pair("spaces", stringValue="  "),
    pair("list", arrayValue={"values": [{"stringValue": "b"}, {"intValue": "1"}, {}]}),
    pair("none", arrayValue={"values": []}),
    pair("bytes", bytesValue="AQI="),
    pair("map", kvlistValue={"values": [pair("z", intValue="1"), pair("a.b", stringValue="in")]}),
    pair("json", stringValue='{"tenant": {"id": "t1"}, "n": [1, 2]}'),
    pair("torn", stringValue='{"tenant": '),
    pair("a.b.c", stringValue="dotted"),
    pair("", stringValue="nameless"),
    pair("naïve \u2028", stringValue="odd"),
]
EXPECTED: Mapping[str, tuple[str, ...]] = {
    "text": ("a = \"b\", 'c'",),
    "number": ("-7",),
    "large": ("9223372036854775807",),
    "part": ("0.25",),
    "whole": ("5",),
    "yes": ("true",),
    "no": ("false",),
    "empty": (),
    "spaces": (),
    "list": ("b", "1"),
    "none": (),
    "bytes": ("AQI=",),
    "map": ('{"a.b":"in","z":1}',),
    "map.z": ("1",),
    "map.a.b": ("in",),
    "map.a": (),
    "json.tenant.id": ("t1",),
    "json.tenant": ('{"id":"t1"}',),
    "json.n": ("1", "2"),
    "torn.tenant": (),
    "a.b.c": ("dotted",),
    "a.b": (),
    "naïve \u2028": ("odd",),
    "region": ("eu",),
    "only.resource": ("r",),
}
RESOURCE = [
    pair("region", stringValue="us"),
    pair("only.resource", stringValue="r"),
]


def test_values_of_every_type() -> None:
    document = otlp([*VALUES, pair("region", stringValue="eu")], RESOURCE)
    found = []
    for data in (json.dumps(document).encode(), protobuf(document), snake(document)):
        trace, _ = read(data, *EXPECTED)
        found.append({name: values_of(trace, name) for name in EXPECTED})
    assert found == [EXPECTED] * 3


def protobuf(document: dict[str, Any]) -> bytes:
    wire = json.loads(json.dumps(document))
    for span in wire["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):
            span.pop(name, None)
    message = json_format.ParseDict(wire, trace_pb2.TracesData())
    (span,) = message.resource_spans[0].scope_spans[0].spans
    span.trace_id, span.span_id = bytes.fromhex(TRACE), bytes.fromhex(AGENT)
    return bytes(message.SerializeToString())


def snake(document: dict[str, Any]) -> bytes:
    """The same in the spelling that only the forgiving way reads."""
    text = json.dumps(document).replace("resourceSpans", "resource_spans")
    for name in ("stringValue", "intValue", "arrayValue", "kvlistValue", "scopeSpans"):
        text = text.replace(name, "".join(f"_{c.lower()}" if c.isupper() else c for c in name))
    return text.encode()


def test_spans_that_repeat_each_other_have_values_of_their_own() -> None:
    """What is known of all spans of one kind is not what is asked for."""
    spans = [
        {
            **otlp_span(FIRST),
            "spanId": f"{n:016x}",
            "parentSpanId": "",
            "attributes": [*otlp_span(FIRST)["attributes"], pair("user.id", stringValue=f"u{n}")],
        }
        for n in range(1, 9)
    ]
    document = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    trace, _ = read(json.dumps(document).encode(), "user.id")
    said = {span.span_id: span.labels[0].values for span in trace.spans}
    assert said == {f"{n:016x}": (f"u{n}",) for n in range(1, 9)}


def changed(name: str, **more: Any) -> bytes:
    """A sample with `more` in every object that has an id."""

    def put(value: Any) -> Any:
        if isinstance(value, list):
            return [put(one) for one in value]
        if not isinstance(value, dict):
            return value
        is_record = value.keys() & {"id", "context", "spanId", "run_type"}
        return {key: put(one) for key, one in value.items()} | (more if is_record else {})

    return json.dumps(put(json.loads(SAMPLES[name]))).encode()


NESTED = {"tenant": "acme", "plan": {"tier": 2}}


@pytest.mark.parametrize(
    ("name", "more", "asked"),
    [
        ("langfuse", {"metadata": json.dumps(NESTED)}, "tenant"),
        ("langfuse", {"metadata": NESTED}, "metadata.tenant"),
        ("langfuse", {"metadata": {"attributes": NESTED}}, "tenant"),
        ("langfuse", {"metadata": {"resourceAttributes": NESTED}}, "tenant"),
        ("langfuse", {"environment": "acme"}, "environment"),
        ("langsmith", {"extra": {"metadata": NESTED}}, "tenant"),
        ("langsmith", {"extra": {"metadata": NESTED}}, "metadata.tenant"),
        ("langsmith", {"tags": ["acme"]}, "tags"),
        ("openai-agents", {"metadata": NESTED}, "tenant"),
        ("openai-agents", {"workflow_name": "acme"}, "workflow_name"),
        ("mastra", {"metadata": NESTED}, "metadata.tenant"),
        ("phoenix", {"attributes": {"metadata": NESTED}}, "metadata.tenant"),
        ("phoenix", {"attributes": {"metadata": json.dumps(NESTED)}}, "metadata.tenant"),
        ("zipkin-json", {"tags": NESTED}, "tenant"),
    ],
)
def test_what_vendors_nest(name: str, more: dict[str, Any], asked: str) -> None:
    trace, there = read(changed(name, **more), asked)
    assert values_of(trace, asked) == ("acme",)
    assert asked in there


def test_mlflow_has_json_in_json() -> None:
    document = json.loads(SAMPLES["mlflow"])
    document["info"]["tags"] = {"team": "search"}
    for span in document["data"]["spans"]:
        span["attributes"]["tenant"] = '"acme"'
    trace, _ = read(json.dumps(document).encode(), "tenant", "team")
    assert values_of(trace, "tenant") == ("acme",)
    assert values_of(trace, "team") == ("search",)


def test_names_that_there_are_stay_few() -> None:
    attributes = [pair(f"k{n}", stringValue="v") for n in range(5_000)]
    _, there = read(json.dumps(otlp(attributes, [])).encode(), "k4999", "nobody")
    assert len(there) <= 5_001
    assert "k4999" in there


def run(root: str = "", tool: str = "", other: str = "", process: str = "") -> Trace:
    """A run whose root, tools and processes say these values, or nothing."""
    from msgspec.structs import replace

    from causepath_analyzer.model import Label

    trace = drawn("agent a |----|\n  tool t |-|\n  tool u   |-|")

    def said(span: Span, value: str) -> Span:
        own = [Label("k", tuple(value.split("|")))] if value else []
        of_process = [Label("k", (process,), of_resource=True)] if process else []
        return replace(span, labels=(*own, *of_process))

    spans = zip(trace.spans, (root, tool, other), strict=True)
    return replace(trace, spans=tuple(said(span, value) for span, value in spans))


@pytest.mark.parametrize(
    ("trace", "values", "group"),
    [
        (run(), (), ""),
        (run(root="r"), ("r",), "r"),
        (run(root="r", tool="t", process="p"), ("r",), "r"),
        (run(tool="t", process="p"), ("t",), "t"),
        (run(tool="t", other="t"), ("t",), "t"),
        (run(tool="t", other="u", process="p"), ("t", "u"), "p"),
        (run(tool="u", other="t"), ("u", "t"), "t + u"),
        (run(process="p"), ("p",), "p"),
        (run(root="b|a"), ("b", "a"), "a + b"),
        (run(tool="a|b", other="c|d"), ("a", "b", "c", "d"), "(several)"),
    ],
)
def test_the_value_of_a_run(trace: Trace, values: tuple[str, ...], group: str) -> None:
    assert values_of(trace, "k") == values
    assert group_of_values(trace, "k") == group
    assert values_of(trace, "another") == ()
