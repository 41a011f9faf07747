"""One run in every format gives one result: the same calls, tools, tokens and times."""

import base64
import gzip
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import zstandard
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causepath_analyzer.model import Skipped, Span, Tokens
from causepath_analyzer.read import FORMATS, Options, SpansByTrace, read, read_stream
from causepath_analyzer.read.format import GatheredFormat
from causepath_analyzer.read.formats.inspected import as_json
from causepath_analyzer.read.formats.recognise import (
    GATHERED_NAMES,
    binary_formats,
    gathered,
    json_formats,
)
from causepath_analyzer.read.input.source import unpacked
from tests.analyzer.read import samples, test_otlp_json
from tests.analyzer.read.samples import SAMPLES, SESSIONS, b64, iso, ns, text

MS = 1_000_000


def spans_of(data: bytes, options: Options | None = None) -> tuple[list[Span], Any]:
    found: SpansByTrace = {}
    stream = unpacked(io.BufferedReader(io.BytesIO(data)), (options or Options()).max_bytes)  # type: ignore[arg-type]
    entry = read_stream("f", stream, found, None, options or Options())
    return [span for trace in found.values() for span in trace], entry


def told(span: Span) -> tuple[object, ...]:
    """What every format says of a span."""
    call = span.model_call
    return (
        span.category,
        span.start_ns // MS - samples.START,
        (span.ended_ns) // MS - samples.START,
        span.error is not None,
        call and (call.model, call.tokens),
        span.tool_call and span.tool_call.name,
    )


FIRST = ("llm", 100, 400, False, ("m", Tokens(input=100, output=10)), None)
TOOL = ("tool", 400, 600, True, None, "get_weather")
SECOND = ("llm", 600, 950, False, ("m", Tokens(input=200, output=20, cache_read=80)), None)


def test_every_json_format_has_a_sample() -> None:
    assert set(SAMPLES) == {row.name for row in json_formats()}
    assert tuple(row.name for row in (*json_formats(), *binary_formats())) == FORMATS
    together = tuple(row for row in json_formats() if isinstance(row, GatheredFormat))
    assert gathered() == together
    assert tuple(row.name for row in together) == GATHERED_NAMES
    assert set(FORMATS) == {*SAMPLES, "otlp-protobuf"}


@pytest.mark.parametrize("name", SAMPLES)
def test_one_run_in_every_format(name: str) -> None:
    spans, entry = spans_of(SAMPLES[name])
    assert (entry.format, entry.skipped) == (name, ())
    calls = [told(span) for span in spans if span.category in ("llm", "tool")]
    assert sorted(calls, key=str) == sorted([FIRST, TOOL, SECOND], key=str)
    assert {span.trace_id for span in spans} == {"s" if name in SESSIONS else samples.TRACE}
    roots = [span for span in spans if not span.parent_id]
    assert len(roots) == 1
    assert roots[0].category == ("chain" if name == "langsmith" else "agent")
    assert (roots[0].duration_ns, roots[0].session) == (
        (900 if name in SESSIONS else 1000) * MS,
        "s",
    )


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - set(SESSIONS)))
def test_the_first_token_is_timed(name: str) -> None:
    spans, _ = spans_of(SAMPLES[name])
    timed = [s.model_call.ttft_ns for s in spans if s.model_call and s.model_call.ttft_ns]
    assert timed == ([] if name == "openai-agents" else [100 * MS])


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_can_be_forced(name: str) -> None:
    data = SAMPLES[name]
    assert spans_of(data, Options(format=name))[0] == spans_of(data)[0]
    other = "jaeger-json" if name != "jaeger-json" else "zipkin-json"
    spans, entry = spans_of(data, Options(format=other))
    assert (spans, entry.skipped[0].why) == ([], f"not in the format {other}")


def protobuf() -> bytes:
    document = json.loads(json.dumps(samples.OTLP))
    for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId", "parentSpanId"):
            span[key] = b64(span[key])
    return bytes(ParseDict(document, TracesData()).SerializeToString())


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


JSON, PROTO = SAMPLES["otlp-json"], protobuf()
packed = zstandard.compress


@pytest.mark.parametrize(
    ("data", "called", "times"),
    [
        pytest.param(framed(PROTO) * 2, "otlp-protobuf", 2, id="format: proto"),
        pytest.param(framed(packed(JSON)) * 2, "otlp-json", 2, id="compression: zstd"),
        pytest.param(framed(packed(PROTO)) * 2, "otlp-protobuf", 2, id="zstd of protobuf"),
        pytest.param(packed(JSON + b"\n") * 2, "otlp-json", 2, id="native zstd"),
        pytest.param(packed(framed(PROTO) * 2), "otlp-protobuf", 2, id="native zstd of protobuf"),
        pytest.param(gzip.compress(packed(JSON)), "otlp-json", 1, id="gzip of zstd"),
        pytest.param(gzip.compress(SAMPLES["zipkin-json"]), "zipkin-json", 1, id="gzip of Zipkin"),
    ],
)
def test_what_the_collector_writes(data: bytes, called: str, times: int) -> None:
    spans, entry = spans_of(data)
    assert (entry.format, entry.skipped) == (called, ())
    assert [told(s) for s in spans] == [told(s) for s in spans_of(JSON)[0]] * times


@pytest.mark.parametrize(
    "data", [framed(packed(JSON)), framed(packed(PROTO)), gzip.compress(JSON), packed(JSON)]
)
def test_a_cut_off_end_is_told_and_what_is_whole_is_read(data: bytes) -> None:
    spans, entry = spans_of(data + data[:-7])
    assert len(spans) >= 5
    assert entry.skipped[-1].why.startswith("cut off or damaged")


def test_a_damaged_checksum_costs_no_span() -> None:
    whole = gzip.compress(SAMPLES["claude-code"])
    for data in (whole[:-8] + bytes(8), whole[:-8]):
        spans, entry = spans_of(data)
        assert spans == spans_of(SAMPLES["claude-code"])[0]
        assert [skipped.where for skipped in entry.skipped] == ["end"]


def message_of(number: int) -> bytes:
    """A message of the collector with one span, that a name of random letters keeps long."""
    request = test_otlp_json.request(
        test_otlp_json.wire_span(
            spanId=f"{number:016x}", name=random.Random(number).randbytes(500).hex()
        )
    )
    return framed(packed(text(request)))


MESSAGES = [message_of(number) for number in range(1, 6)]
START = [sum(map(len, MESSAGES[:n])) for n in range(6)]


@pytest.mark.parametrize(
    ("damaged", "left", "where"),
    [
        pytest.param({2: MESSAGES[2][:20] + b"\0" * 40 + MESSAGES[2][60:]}, "1245", 2, id="bytes"),
        pytest.param({0: MESSAGES[0][:20] + b"\0" * 40 + MESSAGES[0][60:]}, "2345", 0, id="first"),
        pytest.param({2: MESSAGES[2][4:]}, "1245", 2, id="no length"),
        pytest.param({2: b"\0\0\0\x40" + MESSAGES[2][4:]}, "1245", 2, id="short length"),
        pytest.param({2: b"\0\0\x09\x40" + MESSAGES[2][4:]}, "1245", 2, id="long length"),
        pytest.param({2: b"\x7f\0\0\x40" + MESSAGES[2][4:]}, "1245", 2, id="endless length"),
        pytest.param({2: MESSAGES[2][:100]}, "1245", 2, id="written in part, then started again"),
        pytest.param({2: MESSAGES[2][:100], 4: MESSAGES[4][:9]}, "124", 2, id="twice"),
        pytest.param({4: MESSAGES[4][:6]}, "1234", 4, id="a header in part"),
    ],
)
def test_after_a_damaged_message_the_next_one_is_read(
    damaged: dict[int, bytes], left: str, where: int
) -> None:
    data = b"".join(damaged.get(n, message) for n, message in enumerate(MESSAGES))
    spans, entry = spans_of(data)
    assert "".join(str(int(span.span_id, 16)) for span in spans) == left
    places = [skipped.where for skipped in entry.skipped]
    assert (len(places), places[0]) == (len(damaged), f"byte {START[where]}")
    if len(damaged) == 1:
        gone = len(data) - sum(len(MESSAGES[int(n) - 1]) for n in left)
        assert entry.skipped[0].why.split(": ")[0] == f"cut off or damaged, {gone:,} bytes lost"


def test_after_a_damaged_frame_of_protobuf_the_next_one_is_read() -> None:
    wrong = framed(PROTO[:3] + b"\xff" * (len(PROTO) - 3))
    spans, entry = spans_of(framed(PROTO) + wrong + framed(PROTO))
    assert len(spans) == 10
    assert [skipped.where for skipped in entry.skipped] == [f"byte {len(PROTO) + 8}"]


def test_looking_for_the_next_message_ends() -> None:
    data = MESSAGES[0] + (b"\x7f\0\0\0" + MESSAGES[0][4:20]) * 100_000
    spans, entry = spans_of(data)
    assert (len(spans), entry.skipped_total) == (1, 17)


def test_rotated_files_of_a_folder_are_one_trace(tmp_path: Path) -> None:
    spans = samples.OTLP["resourceSpans"][0]["scopeSpans"][0]["spans"]
    halves = [spans[2:], spans[:2]]
    for name, half in zip(["data-2022-09-14T05-02-14.173.json", "data.json"], halves, strict=True):
        request = {"resourceSpans": [{"scopeSpans": [{"spans": half}]}]}
        (tmp_path / name).write_bytes(text(request) + b"\n")
    reading = read([str(tmp_path)])
    assert [(len(t.spans), t.health.orphans) for t in reading.traces] == [(5, 0)]


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("otlp-json", {"result": samples.OTLP}),
        ("otlp-json", {"trace": samples.OTLP, "status": "COMPLETE"}),
        ("otlp-json", {"batches": samples.OTLP["resourceSpans"]}),
        ("jaeger-json", samples.JAEGER["data"]),
        ("jaeger-json", samples.JAEGER["data"][0]),
        ("zipkin-json", [samples.ZIPKIN]),
        ("phoenix", samples.PHOENIX["data"]),
        ("mlflow", {"traces": [samples.MLFLOW]}),
        ("mlflow", [samples.MLFLOW]),
        ("mlflow", samples.MLFLOW["data"]),
        ("python-sdk", samples.PYTHON_SDK),
        ("python-sdk", {"spans": samples.PYTHON_SDK}),
        ("langfuse", {"data": samples.LANGFUSE["observations"], "meta": {}}),
        ("langfuse", samples.LANGFUSE["observations"]),
        ("langfuse", {"id": samples.TRACE, "observations": samples.LANGFUSE["observations"]}),
        ("langsmith", {"runs": samples.LANGSMITH}),
        (
            "openai-agents",
            {
                "traces": [
                    {
                        **samples.OPENAI_AGENTS["data"][0],
                        "spans": samples.OPENAI_AGENTS["data"][1:],
                    }
                ]
            },
        ),
        ("openai-agents", samples.OPENAI_AGENTS["data"]),
    ],
)
def test_wrappers(name: str, document: Any) -> None:
    spans, entry = spans_of(text(document))
    assert (entry.format, entry.skipped) == (name, ())
    plain = {s.span_id: told(s) for s in spans_of(SAMPLES[name])[0]}
    assert {s.span_id: told(s) for s in spans} == plain


@pytest.mark.parametrize("name", ["zipkin-json", "langfuse", "langsmith", "openai-agents"])
def test_one_record_per_line(name: str) -> None:
    document = json.loads(SAMPLES[name])
    records = document if isinstance(document, list) else document.get("data")
    records = records or document["observations"]
    if name == "zipkin-json":
        records = [[record] for record in records]
    spans, entry = spans_of(b"\n".join(map(text, records)))
    assert (entry.format, entry.skipped) == (name, ())
    assert [told(s) for s in spans] == [told(s) for s in spans_of(SAMPLES[name])[0]]


def test_tempo_says_when_a_trace_is_not_whole() -> None:
    document = {"trace": samples.OTLP, "status": "PARTIAL", "message": "too large"}
    spans, entry = spans_of(text(document))
    assert len(spans) == 5
    assert entry.skipped == (Skipped("line 1", "Tempo gave only a part of this trace: too large"),)


def test_ids_of_otlp_may_be_numbers() -> None:
    document = json.loads(text(samples.OTLP))
    for span in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for key in ("traceId", "spanId", "parentSpanId"):
            span[key] = int(span[key] or "0", 16)
    assert spans_of(text(document))[0] == spans_of(JSON)[0]


def test_mlflow_2_spells_its_spans_like_the_sdk() -> None:
    spans = [
        {
            "name": "chat",
            "context": {"trace_id": f"0x{samples.TRACE}", "span_id": "0xb7ad6b7169203331"},
            "parent_id": None,
            "start_time": ns(0),
            "end_time": ns(5),
            "status_code": "ERROR",
            "attributes": {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.spanInputs": '"{}"'},
        }
    ]
    document = {"info": {"request_id": "x"}, "data": {"spans": spans, "request": "{}"}}
    (span,), entry = spans_of(text(document))
    assert entry.format == "mlflow"
    assert (span.category, span.error, span.duration_ns) == ("llm", "error", 5 * MS)


def test_console_output_between_a_programs_own() -> None:
    printed = [json.dumps(span, indent=4) for span in samples.PYTHON_SDK]
    output = "[INFO] starting\nhello {name}\n" + "\n[INFO] next\nok: {}\n".join(printed) + "\nbye\n"
    spans, entry = spans_of(output.encode())
    assert (entry.format, len(spans), entry.skipped) == ("python-sdk", 5, ())


def test_ids_of_the_python_sdk_may_be_numbers() -> None:
    (span,), _ = spans_of(
        text(
            {
                "spans": [
                    {
                        "name": "s",
                        "context": {
                            "trace_id": 39712373237291850001929057769826244787,
                            "span_id": 1807164324042463798,
                        },
                        "parent": {"span_id": 2795294992452118289},
                        "start_time": ns(0),
                        "end_time": ns(1),
                    }
                ]
            }
        )
    )
    assert (span.span_id, span.parent_id) == (
        f"{1807164324042463798:016x}",
        f"{2795294992452118289:016x}",
    )
    assert len(span.trace_id) == 32


def test_zipkins_shared_spans_are_two() -> None:
    client = {**samples.ZIPKIN[1], "kind": "CLIENT", "localEndpoint": {"serviceName": "a"}}
    server = {
        **samples.ZIPKIN[1],
        "kind": "SERVER",
        "shared": True,
        "localEndpoint": {"serviceName": "b"},
        "timestamp": client["timestamp"] + 1000,
        "duration": 200_000,
    }
    below = {
        **samples.ZIPKIN[2],
        "parentId": client["id"],
        "timestamp": client["timestamp"] + 2000,
        "duration": 1000,
    }
    root = samples.ZIPKIN[0]
    from causepath_analyzer.read.tree.build import build

    for records in ([root, client, server, below], [below, server, client, root, client]):
        trace = build(spans_of(text(records))[0])
        parents = {
            (s.name, s.service): trace.spans[p].service if p >= 0 else None
            for s, p in zip(trace.spans, trace.parents, strict=True)
        }
        assert parents[("get_weather", "demo")] == "b"
        assert parents[("chat m", "b")] == "a"
        assert trace.health.spans == 3
        assert trace.health.duplicates == len(records) - 4


def _jaeger_twin() -> bytes:
    document = json.loads(SAMPLES["jaeger-json"])
    for span in document["data"][0]["spans"]:
        span["tags"] = [t for t in span["tags"] if not t["key"].endswith("time_to_first_chunk")]
        span["tags"] += [
            {"key": "otel.library.name", "value": "my.scope"},
            {"key": "otel.library.version", "value": "1.2"},
        ]
        if span["spanID"] == samples.SECOND:
            span["logs"] = [
                {"timestamp": ns(ms) // 1000, "fields": [{"key": "event", "value": name}]}
                for ms, name in ((650, "sent"), (700, "First Token Stream Event"))
            ]
    return text(document)


def _zipkin_twin(event: str) -> bytes:
    spans = json.loads(SAMPLES["zipkin-json"])
    for span in spans:
        span["tags"].pop("gen_ai.response.time_to_first_chunk", None)
        span["tags"] |= {"otel.scope.name": "my.scope", "otel.scope.version": "1.2"}
        if span["id"] == samples.SECOND:
            span["annotations"] = [
                {"timestamp": ns(650) // 1000, "value": "ws"},
                {"timestamp": ns(700) // 1000, "value": event},
            ]
    return text(spans)


def _console_twin() -> bytes:
    spans = json.loads(text(samples.PYTHON_SDK))
    for span in spans:
        span["attributes"].pop("gen_ai.response.time_to_first_chunk", None)
        span["instrumentation_scope"] = {"name": "my.scope", "version": "1.2"}
        if span["context"]["span_id"] == f"0x{samples.SECOND}":
            span["events"] = [{"name": "First Token Stream Event", "timestamp": iso(700)}]
    return text(spans)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_jaeger_twin(), id="Jaeger"),
        pytest.param(_console_twin(), id="Python SDK"),
        *(
            pytest.param(_zipkin_twin(event), id=f"Zipkin {number}")
            for number, event in enumerate(
                (
                    "First Token Stream Event",
                    '{"First Token Stream Event": {"n": 1}}',
                    '"First Token Stream Event": {}',
                    'First Token Stream Event|{"n":1}|0',
                )
            )
        ),
    ],
)
def test_other_formats_carry_scopes_and_events(data: bytes) -> None:
    spans, entry = spans_of(data)
    assert entry.skipped == ()
    assert {(span.scope, span.scope_version) for span in spans} == {("my.scope", "1.2")}
    timed = {s.span_id: s.model_call.ttft_ns for s in spans if s.model_call is not None}
    assert timed == {samples.FIRST: None, samples.SECOND: 100 * MS}


def test_zipkin_spans_without_a_time_start_with_the_nearest_that_has_one() -> None:
    child = {k: v for k, v in samples.ZIPKIN[1].items() if k not in ("timestamp", "duration")}
    noted = {**child, "id": "1", "annotations": [{"timestamp": 5, "value": "x"}]}
    spans, entry = spans_of(text([samples.ZIPKIN[0], child, noted]))
    root, first, second = spans
    assert (first.start_ns, first.end_ns) == (root.start_ns, None)
    assert second.start_ns == 5000
    assert entry.skipped == ()


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input": 5, "output": 94, "total": 99}, Tokens(5, 94)),
        ({"input": 5, "output": 9, "input_cached_tokens": 7, "total": 21}, Tokens(12, 9, 7)),
        (
            {"input": 5, "output": 9, "output_reasoning_tokens": 4, "cache_read_input_tokens": 6},
            Tokens(11, 13, 6, 0, 4),
        ),
        # Inclusive after all: the total says so.
        ({"input": 9, "output": 9, "input_cache_read": 7, "total": 18}, Tokens(9, 9, 7)),
        ({"input": 5, "input_cache_creation": 3, "output": 1}, Tokens(8, 1, 0, 3)),
    ],
)
def test_usage_of_langfuse_is_additive(usage: dict[str, int], expected: Tokens) -> None:
    observation = {**samples.LANGFUSE["observations"][1], "usageDetails": usage}  # type: ignore[index]
    (span,), _ = spans_of(text([observation]))
    assert span.model_call is not None
    assert span.model_call.tokens == expected


def transcript(*lines: dict[str, Any]) -> list[Span]:
    return spans_of(b"\n".join(map(text, lines)))[0]


def line(kind: str, ms: int, uuid: str, content: Any = None, **more: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content}
    if kind == "assistant":
        message |= {"id": more.pop("id"), "model": "m", "usage": {"output_tokens": 1}}
    return {
        "type": kind,
        "uuid": uuid,
        "sessionId": "s",
        "timestamp": iso(ms),
        "message": message,
        **more,
    }


def test_a_person_between_two_prompts_is_waited_for() -> None:
    spans = transcript(
        line("user", 0, "a", "one"),
        line("assistant", 100, "b", [{"type": "text"}], id="m1"),
        line("user", 700, "c", "two"),
        line("assistant", 900, "d", [{"type": "text"}], id="m2"),
    )
    assert [(s.name, s.category, s.duration_ns // MS) for s in spans] == [
        ("claude-code session", "agent", 900),
        ("turn", "agent", 100),
        ("chat m", "llm", 100),
        ("waiting for the user", "human", 600),
        ("turn", "agent", 200),
        ("chat m", "llm", 200),
    ]


def test_a_subagent_hangs_on_the_tool_call_that_started_it() -> None:
    task = {"type": "tool_use", "id": "t1", "name": "Task"}
    result = {"type": "tool_result", "tool_use_id": "t1"}
    main = [
        line("user", 0, "a", "one"),
        line("assistant", 100, "b", [task], id="m1"),
        line("user", 900, "c", [result], toolUseResult={"agentId": "x7"}),
    ]
    own = [
        line("user", 150, "d", "sub", isSidechain=True, agentId="x7"),
        line("assistant", 800, "e", [{"type": "text"}], id="m2", isSidechain=True, agentId="x7"),
    ]
    apart = transcript(*main) + transcript(*own)
    together = transcript(*main, *own)
    assert sorted(apart, key=str) == sorted(together, key=str)
    by_id = {span.span_id: span for span in apart}
    run = by_id["run-x7"]
    assert by_id[by_id["m2"].parent_id] is run
    tool = by_id[run.parent_id].tool_call
    assert tool is not None
    assert (tool.name, tool.call_id) == ("Task", "t1")


def test_sidechains_of_older_releases_hang_on_the_task_around_them() -> None:
    task = {"type": "tool_use", "id": "t1", "name": "Task"}
    result = {"type": "tool_result", "tool_use_id": "t1"}
    spans = transcript(
        line("user", 0, "a", "one"),
        line("assistant", 100, "b", [task], id="m1"),
        line("user", 150, "d", "sub", isSidechain=True),
        line("assistant", 800, "e", [], id="m2", isSidechain=True, parentUuid="d"),
        line("user", 900, "c", [result]),
    )
    by_id = {span.span_id: span for span in spans}
    assert (by_id["m2"].parent_id, by_id["run-d"].parent_id) == ("run-d", "t1")


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-11-21T00:00:00Z", 1795219200 * 10**9),
        ("2026-11-21T00:00:00.123456789Z", 1795219200_123456789),
        ("2026-11-21T01:00:00.5+01:00", 1795219200_500000000),
        ("2026-11-21 00:00:00.000001", 1795219200_000001000),
        (1795219200, 1795219200 * 10**9),
        (1795219200.25, 1795219200_250000000),
        (1795219200_123, 1795219200_123000000),
        (1795219200_123456, 1795219200_123456000),
        (1795219200_123456789, 1795219200_123456789),
        ("1795219200123456789", 1795219200_123456789),
        ("yesterday", None),
        ("9" * 400, None),
        (10**40, None),
        (float("nan"), None),
        (True, None),
        (-5, None),
    ],
)
def test_times_in_many_spellings(text: Any, ns: int | None) -> None:
    from causepath_analyzer.read.formats.values import time_ns

    assert time_ns(text) == ns


def inspected(value: Any, indent: int = 0) -> str:
    """`value` as Node.js prints it."""
    inner, outer = " " * (indent + 2), " " * indent
    if isinstance(value, dict):
        keys = {k: k if k.isidentifier() else f"'{k}'" for k in value}
        lines = [f"{inner}{keys[k]}: {inspected(v, indent + 2)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}" if lines else "{}"
    if isinstance(value, list):
        return f"[ {', '.join(inspected(v, indent + 2) for v in value)} ]" if value else "[]"
    if isinstance(value, str):
        if "\n" in value:
            head, tail = value.split("\n", 1)
            return f"{inspected(head)[:-1]}\\n' +\n{inner}{inspected(tail)}"
        quote = next((q for q in "'\"`" if q not in value), "'")
        return quote + value.replace("\\", "\\\\").replace(quote, f"\\{quote}") + quote
    return "undefined" if value is None else json.dumps(value)


AWKWARD = ["it's", '"quoted"', 'it\'s "both"', "`'\" all", "{ a: 1 }", "a\nb } {\nc", "\\d", "ÿ"]


def test_what_nodes_console_prints() -> None:
    spans = [
        {**one, "attributes": {**one["attributes"], "text": text}, "parentId": None}
        for one, text in zip(samples.JAVASCRIPT_SDK * 2, AWKWARD, strict=False)
    ]
    printed = "\n".join(map(inspected, spans))
    assert [json.loads(as_json(inspected(s).encode()) or b"") for s in spans] == spans
    found, entry = spans_of(f"listening on 3000\n{printed}\nbye {{\n".encode())
    assert (entry.format, entry.skipped) == ("javascript-sdk", ())
    assert [told(s) for s in found[:5]] == [told(s) for s in spans_of(SAMPLES["go-sdk"])[0]]


CUT_SHORT = b"""{
  a: [Object],
  b: [ 1, 2,
    ... 98 more items
  ],
  c: Resource { d: [Array] },
  e: [Object: null prototype] { f: -1.5e-7 },
  g: 12n,
  h: 'xx'... 7 more characters
}"""


def test_what_node_cut_short_is_left_out() -> None:
    assert json.loads(as_json(CUT_SHORT) or b"") == {
        "a": None,
        "b": [1, 2],
        "c": {"d": None},
        "e": {"f": -1.5e-7},
        "g": 12,
        "h": "xx",
    }


def test_what_node_prints_in_colours_and_on_windows() -> None:
    plain = "\n".join(map(inspected, samples.JAVASCRIPT_SDK))
    expected = spans_of(plain.encode())[0]
    colours = re.sub(r"('[^'\n]*')", "\x1b[32m\\1\x1b[39m", plain)
    for text_of in (plain.replace("\n", "\r\n"), colours):
        found, entry = spans_of(text_of.encode())
        assert (found, entry.skipped) == (expected, ())


def test_javascript_that_never_ends_costs_itself() -> None:
    one = inspected(samples.JAVASCRIPT_SDK[0])
    found, entry = spans_of(f"{one[:-20]}\n{one}\n{one[:-3]}".encode())
    assert len(found) == 1
    assert [skipped.why for skipped in entry.skipped] == [
        "cut off: the JSON that starts here never ends"
    ] * 2


def stringified(span: str, *, is_second: bool) -> dict[str, Any]:
    """What ``JSON.stringify`` makes of a span of release 1 or 2."""
    start, end = ((samples.START + ms) * 1_000_000 for ms in samples.TIMES[span])
    context = {"traceId": samples.TRACE, "spanId": samples.AGENT}
    parent = {"parentSpanContext": context} if is_second else {"parentSpanId": samples.AGENT}
    named = [["service.name", "demo"]]
    return {
        "attributes": samples.OTEL[span],
        "events": [{"name": "First Token Stream Event", "time": [1, 2], "attributes": {}}],
        "links": [{"context": "[Circular]", "attributes": {}}],
        "kind": 0,
        "status": {"code": 2 if span == samples.TOOL else 0},
        "_spanContext": {"traceId": samples.TRACE, "spanId": span, "traceFlags": 1},
        **({} if span == samples.AGENT else parent),
        "name": samples.NAMES[span],
        "startTime": divmod(start, 10**9),
        "endTime": divmod(end, 10**9),
        "_ended": True,
        "_duration": divmod(end - start, 10**9),
        "resource": {"_rawAttributes": named} if is_second else {"_attributes": dict(named)},
        "instrumentationScope": {"name": "my.scope"},
    }


@pytest.mark.parametrize("is_second", [True, False])
def test_spans_that_programs_stringify(is_second: bool) -> None:
    spans = [stringified(span, is_second=is_second) for span in samples.NAMES]
    found, entry = spans_of(b"\n".join(json.dumps(s, indent=2).encode() for s in spans))
    assert (entry.format, entry.skipped) == ("javascript-sdk", ())
    assert [told(s) for s in found] == [told(s) for s in spans_of(SAMPLES["go-sdk"])[0]]
    assert {(s.service, s.parent_id) for s in found} == {("demo", ""), ("demo", samples.AGENT)}


def test_go_prints_times_with_a_zone_over_lines_and_one_after_the_other() -> None:
    zoned = [
        {**one, "StartTime": one["StartTime"].replace("Z", "123456+00:00")}
        for one in samples.GO_SDK
    ]
    india = json.loads(json.dumps(zoned[0]))
    india["StartTime"] = "2026-11-21T04:33:32.000000001+05:30"
    printed = "".join(json.dumps(one, indent="\t") for one in [india, *zoned[1:]])
    found, entry = spans_of(f"serving\n{printed}\n{printed[:300]}".encode())
    assert len(found) == 5
    assert found[0].start_ns == 1795215812000000001
    assert len(entry.skipped) == 1


def test_go_without_times_is_told() -> None:
    spans, entry = spans_of(text({**samples.GO_SDK[0], "StartTime": "0001-01-01T00:00:00Z"}))
    assert spans == []
    assert "without times" in str(entry.problem)


def monocle_span(span: str) -> dict[str, Any]:
    """What Monocle's file has of `span`."""
    kind = {samples.AGENT: "agentic.invocation", samples.TOOL: "agentic.tool.invocation"}
    entities: dict[str, Any] = {
        samples.AGENT: {"entity.1.type": "agent.adk", "entity.1.name": "booking"},
        samples.TOOL: {
            "entity.1.type": "tool.adk",
            "entity.1.name": "get_weather",
            "entity.2.type": "agent.adk",
            "entity.2.name": "booking",
        },
        samples.NOTE: {},
    }.get(
        span,
        {
            "entity.1.type": "inference.gemini",
            "entity.1.inference_endpoint": "https://example.com/",
            "entity.2.name": "m",
            "entity.2.type": "model.llm.m",
        },
    )
    counts: dict[str, Any] = {
        samples.FIRST: {"prompt_tokens": 100, "completion_tokens": 10, "finish_reason": "STOP"},
        samples.SECOND: {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220},
    }.get(span, {})
    said = [{"name": "data.input", "attributes": {"input": "{'city': 'Lisbon'}"}}]
    return {
        **samples.console_span(span),
        "attributes": {
            "monocle_apptrace.version": "0.5.1",
            "span.type": kind.get(span, "inference" if counts else "workflow"),
            "scope.agentic.session": "s",
            "entity.count": 2,
            **entities,
        },
        "events": said + ([{"name": "metadata", "attributes": counts}] if counts else []),
    }


def test_what_monocle_says_in_entities_and_events() -> None:
    found, entry = spans_of(text([*map(monocle_span, samples.NAMES)]))
    assert (entry.format, entry.skipped) == ("python-sdk", ())
    second = (*SECOND[:4], ("m", Tokens(input=200, output=20)), None)
    assert [told(s) for s in found if s.category in ("llm", "tool")] == [FIRST, TOOL, second]
    calls = [s.model_call for s in found if s.model_call]
    assert {call.provider for call in calls} == {"gcp.gemini"}
    tool = next(s.tool_call for s in found if s.tool_call)
    assert tool.arguments is not None
    assert {s.session for s in found} == {"s"}


def row_of_a_span(span: dict[str, Any], *, as_text: bool) -> dict[str, Any]:
    """A row of Databricks' tables of spans, in which attributes may be text."""
    hexed = {
        key: base64.b64decode(span[key]).hex() if span[key] else None
        for key in ("trace_id", "span_id", "parent_span_id")
    }
    resource = {"attributes": {"service.name": "demo"}}
    return {
        "record_id": "r",
        "time": iso(0),
        **span,
        **hexed,
        "kind": "SPAN_KIND_INTERNAL",
        "attributes": json.dumps(span["attributes"]) if as_text else span["attributes"],
        "resource": json.dumps(resource) if as_text else resource,
        "instrumentation_scope": {"name": "my.scope"},
    }


MLFLOW_SPANS: Any = samples.MLFLOW["data"]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([{"trace_id": "x", "trace": json.dumps(samples.MLFLOW)}], id="text"),
        pytest.param([{"trace_id": "x", "trace": samples.MLFLOW, "spans": []}], id="object"),
        pytest.param([{"request_id": "x", **MLFLOW_SPANS}], id="spans"),
        pytest.param(
            [{"request_id": "x", "spans": json.dumps(MLFLOW_SPANS["spans"])}], id="spans as text"
        ),
        pytest.param(
            [
                {
                    "databricks_request_id": "x",
                    "response": json.dumps({"databricks_output": {"trace": samples.MLFLOW}}),
                }
            ],
            id="an inference table",
        ),
        pytest.param(
            [row_of_a_span(span, as_text=False) for span in MLFLOW_SPANS["spans"]], id="a span"
        ),
        pytest.param(
            [row_of_a_span(span, as_text=True) for span in MLFLOW_SPANS["spans"]],
            id="a span with text",
        ),
    ],
)
def test_rows_with_traces_of_mlflow(rows: list[Any]) -> None:
    expected = [told(s) for s in spans_of(SAMPLES["mlflow"])[0]]
    for data in (text(rows), b"\n".join(map(text, rows))):
        found, entry = spans_of(data)
        assert (entry.format, entry.skipped) == ("mlflow", ())
        assert [told(s) for s in found] == expected
        assert {s.trace_id for s in found} == {samples.TRACE}


def gemini_span(number: int, operation: str, **attributes: Any) -> dict[str, Any]:
    told = {"gen_ai.operation.name": operation, "gen_ai.conversation.id": "s", **attributes}
    return {
        **stringified(samples.FIRST, is_second=True),
        "name": operation,
        "_spanContext": {"traceId": "e" * 32, "spanId": f"{number:016x}"},
        "attributes": told,
        "instrumentationScope": {"name": "gemini-cli"},
    }


def test_spans_and_events_of_one_gemini_session_are_counted_once(tmp_path: Path) -> None:
    usage = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10}
    bare, counted = (
        [gemini_span(1, "llm_call", **more)]
        for more in ({}, {"gen_ai.request.model": "m", **usage})
    )
    for spans, traces in ((bare, {"s": 6}), (counted, {"e" * 32: 1}), ([], {"s": 6})):
        file = tmp_path / "telemetry.log"
        file.write_text("\n".join(json.dumps(one) for one in [*samples.GEMINI_CLI, *spans]))
        reading = read([str(file)])
        assert {t.trace_id: len(t.spans) for t in reading.traces} == traces
        assert reading.traces[0].health.duplicates == (1 if spans is bare else 0)


def test_a_tool_of_gemini_that_was_told_late(tmp_path: Path) -> None:
    late = samples.logged(
        "tool_call",
        900,
        function_name="ls",
        duration_ms=100,
        success=True,
        start_time=samples.START + 400,
        end_time=samples.START + 500,
    )
    spans, _ = spans_of(b"\n".join(map(text, [*samples.GEMINI_CLI[:2], late])))
    (tool,) = (s for s in spans if s.category == "tool")
    assert (tool.start_ns, tool.end_ns) == (ns(400), ns(500))


def test_what_a_fork_of_codex_repeats_is_left_out() -> None:
    copies = [{**line, "timestamp": iso(5000)} for line in samples.CODEX]
    header = samples.rolled("session_meta", 5000, id="fork", forked_from_id="s")
    own = [
        samples.rolled("event_msg", 5020, type="user_message", message="and tomorrow?"),
        samples.rolled("response_item", 9020, type="message", role="assistant", content=[]),
        samples.counted(9030, 9000, input_tokens=300, output_tokens=30, total_tokens=330),
    ]
    spans, entry = spans_of(b"\n".join(map(text, [header, *copies, *own])))
    assert entry.skipped == ()
    calls = [s for s in spans if s.model_call]
    assert [(s.duration_ns // MS, s.model_call and s.model_call.tokens) for s in calls] == [
        (4000, Tokens(input=300, output=30))
    ]
    assert [s.name for s in spans if not s.parent_id] == ["codex session forked from s"]


def test_what_a_fork_of_pi_repeats_is_counted_once(tmp_path: Path) -> None:
    header = {**samples.PI[0], "id": "fork", "parentSession": "s.jsonl"}
    more = [
        samples.entered(2000, 6, role="user", content="and tomorrow?"),
        samples.entered(
            5000, 7, role="assistant", content=[], model="m", usage={"input": 300, "output": 30}
        ),
    ]
    for name, lines in (("s", samples.PI), ("fork", [header, *samples.PI[1:], *more])):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(map(text, lines)))
    traces = {trace.trace_id: trace for trace in read([str(tmp_path)]).traces}
    counted = {
        name: [s.model_call.tokens and s.model_call.tokens.input for s in t.spans if s.model_call]
        for name, t in traces.items()
    }
    assert counted == {"s": [100, 200], "fork": [300]}
    assert traces["fork"].health.notes == (
        "2 model calls of session s repeated here: counted there",
    )
