"""What is known of a shape is what `normalise` says of every span of it."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.json_format import Parse, ParseError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causepath_analyzer import attributes as names
from causepath_analyzer.model import ModelCall, Span, Tokens, ToolCall
from causepath_analyzer.read.format import Found
from causepath_analyzer.read.formats import otlp_json, otlp_protobuf
from causepath_analyzer.read.meaning import repeated_spans
from tests.analyzer.read.test_otlp_json import attribute, in_base64, request, wire_span

_MESSAGES = json.dumps(
    [
        {"role": "user", "parts": [{"type": "text", "content": 'so "it" goes'}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_1"}]},
    ]
)
_VALUES: Sequence[dict[str, Any]] = (
    *(
        {"stringValue": text}
        for text in ("", "chat", "execute_tool", "invoke_agent", "retrieval", "agent")
    ),
    *(
        {"stringValue": text}
        for text in ("anthropic", "groq.com", "m-1", "true", "tool_use", "resp_1", "req_1")
    ),
    *({"stringValue": text} for text in ("0.25", "12", 'é\\"', "pending_span", "log", "Bash")),
    *({"stringValue": text} for text in (_MESSAGES, '{"stream": true}', '{"input": 7}', "x" * 300)),
    *({"intValue": number} for number in ("0", "12", 12, -3, "9" * 25)),
    *({"doubleValue": number} for number in (0.25, 12.0)),
    {"boolValue": True},
    {"arrayValue": {"values": [{"stringValue": "stop"}]}},
    {"arrayValue": {"values": [{"stringValue": "user:text:1f:12"}]}},
    {"kvlistValue": {"values": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "5"}}]}},
    {"stringValue": "both", "intValue": "5"},
    {"intValue": None},
    {},
)
_COMMON = (
    "gen_ai.operation.name",
    "gen_ai.response.model",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.input.messages",
    "gen_ai.retrieval.query.text",
    "retrieval.documents.0.document.content",
    "gen_ai.tool.name",
    "session.id",
    "server.address",
    "causepath.input.blocks",
    "causepath.input.previous",
)
_KEYS = st.sampled_from(_COMMON) | st.sampled_from((*sorted(names.UNDERSTOOD), "nobody.asks"))
_PAIRS = st.lists(st.tuples(_KEYS, st.sampled_from(_VALUES)), max_size=8)


@st.composite
def _alike(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Spans of which many have the same names of attributes, and some values in common."""
    layouts = draw(st.lists(_PAIRS, min_size=1, max_size=3))
    spans = []
    for _ in range(draw(st.integers(2, 8))):
        pairs = draw(st.sampled_from(layouts))
        changed = draw(st.sets(st.integers(0, 7), max_size=2))
        spans.append(
            wire_span(
                name=draw(st.sampled_from(("chat m", "step", "claude_code.llm_request", "poll"))),
                kind=draw(st.sampled_from((1, 3))),
                status=draw(st.sampled_from(({}, {"code": 2}))),
                attributes=[
                    {
                        "key": key,
                        "value": draw(st.sampled_from(_VALUES)) if at in changed else value,
                    }
                    for at, (key, value) in enumerate(pairs)
                ],
                events=draw(
                    st.sampled_from(
                        (
                            [],
                            [
                                {
                                    "name": "ai.stream.firstChunk",
                                    "timeUnixNano": "1795215812227288556",
                                }
                            ],
                        )
                    )
                ),
            )
        )
    return spans


def one_by_one(spans: Sequence[dict[str, Any]]) -> list[Found]:
    """The spans as they are read where none was seen before."""
    found: list[Found] = []
    for span in spans:
        otlp_json.EMITTERS.clear()
        found += otlp_json.read(json.dumps(request(span)).encode(), "line 1") or []
    return found


@given(_alike())
def test_a_span_means_the_same_whatever_was_read_before(spans: list[dict[str, Any]]) -> None:
    expected = one_by_one(spans)
    assert otlp_json.read(json.dumps(request(*spans, *spans)).encode(), "line 1") == expected * 2


def chat(tokens: int, **changes: Any) -> dict[str, Any]:
    return wire_span(
        attributes=[
            attribute("gen_ai.operation.name", stringValue="chat"),
            attribute("gen_ai.usage.input_tokens", intValue=str(tokens)),
            attribute("gen_ai.response.id", stringValue=f"msg_{tokens}"),
        ],
        **changes,
    )


def test_spans_of_one_shape_keep_what_is_their_own() -> None:
    found = otlp_json.read(json.dumps(request(*map(chat, range(1, 4)))).encode(), "line 1") or []
    assert [span.model_call for span in found if isinstance(span, Span)] == [
        ModelCall(tokens=Tokens(input=n), response_id=f"msg_{n}") for n in range(1, 4)
    ]


def test_what_is_learned_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_spans, "MOST_SHAPES", 8)
    otlp_json.EMITTERS.clear()
    document = request(*(wire_span(name=f"execute_tool {n}", attributes=[]) for n in range(100)))
    found = otlp_json.read(json.dumps(document).encode(), "line 1") or []
    (known,) = otlp_json.EMITTERS.values()
    assert [span.tool_call for span in found if isinstance(span, Span)] == [
        ToolCall(name=str(n)) for n in range(100)
    ]
    assert sum(1 + len(layout.shapes) for layout in known.layouts.values()) <= 8


def test_calls_of_any_number_of_hosts_are_of_one_shape() -> None:
    otlp_json.EMITTERS.clear()
    calls = (
        [
            attribute("http.request.method", stringValue="GET"),
            attribute("server.address", stringValue=f"{n}.example"),
        ]
        for n in range(9)
    )
    document = request(*(wire_span(name="GET", attributes=call) for call in calls))
    otlp_json.read(json.dumps(document).encode(), "line 1")
    (known,) = otlp_json.EMITTERS.values()
    assert [len(layout.shapes) for layout in known.layouts.values()] == [1]


def test_spans_that_never_repeat_each_other_are_not_learned_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeated_spans, "MOST_SHAPES", 8)
    otlp_json.EMITTERS.clear()
    for n in range(20):
        document = request(wire_span(name=f"execute_tool {n}", attributes=[]))
        otlp_json.read(json.dumps(document).encode(), "line 1")
    (known,) = otlp_json.EMITTERS.values()
    assert (known.is_open, known.layouts) == (False, {})


def in_protobuf(spans: Sequence[dict[str, Any]]) -> bytes:
    data = request(*spans)
    for span in spans:
        for owner, keys in (
            (span, ("traceId", "spanId", "parentSpanId")),
            *((k, ("traceId", "spanId")) for k in span["links"]),
        ):
            for key in keys:
                owner[key] = in_base64(owner[key])
    return Parse(json.dumps(data), TracesData()).SerializeToString()


def _sound(spans: list[dict[str, Any]]) -> bool:
    """Whether there is such a protobuf message."""
    try:
        in_protobuf(json.loads(json.dumps(spans)))
    except ParseError:
        return False
    return True


@given(_alike().filter(_sound))
def test_in_protobuf_as_well(spans: list[dict[str, Any]]) -> None:
    expected: list[Found] = []
    for span in json.loads(json.dumps(spans)):
        otlp_protobuf.EMITTERS.clear()
        expected += otlp_protobuf.read(io.BytesIO(in_protobuf([span])), pytest.fail)
    data = in_protobuf(json.loads(json.dumps([*spans, *spans])))
    assert list(otlp_protobuf.read(io.BytesIO(data), pytest.fail)) == expected * 2
