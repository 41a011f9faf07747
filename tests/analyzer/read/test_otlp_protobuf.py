"""Protobuf: the same spans as from JSON; plain, several in a row, framed, cut off."""

import io

import pytest
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causepath_analyzer.model import Skipped
from causepath_analyzer.read.formats import otlp_protobuf
from tests.analyzer.read.test_otlp_json import BASE64_IDS, EXPECTED, request


def message() -> bytes:
    span = {k: v for k, v in BASE64_IDS.items() if k != "attributes"}
    span["attributes"] = [
        {**a, "value": {**a["value"]}} for a in BASE64_IDS["attributes"] if "kvlist" not in str(a)
    ]
    return bytes(ParseDict(request(span), TracesData()).SerializeToString())


CUT_OFF = "cut off or no OTLP protobuf from here on"


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(message(), [EXPECTED], id="plain"),
        pytest.param(message() * 2, [EXPECTED] * 2, id="in a row"),
        pytest.param(framed(message()) * 2, [EXPECTED] * 2, id="framed"),
        pytest.param(
            message() + message()[:-9],
            [
                EXPECTED,
                Skipped(f"byte {len(message())}", CUT_OFF),
            ],
            id="cut off",
        ),
        pytest.param(
            framed(message()) + framed(message())[:-9],
            [
                EXPECTED,
                Skipped(f"byte {len(message()) + 4}", CUT_OFF),
            ],
            id="framed and cut off",
        ),
    ],
)
def test_messages(data: bytes, expected: list[object]) -> None:
    assert otlp_protobuf.recognise(data[:512])
    assert list(otlp_protobuf.read(io.BytesIO(data), pytest.fail)) == expected


def metrics() -> bytes:
    data = MetricsData()
    scope = data.resource_metrics.add().scope_metrics.add()
    for name, description in (("calls", "how many"), ("more", ""), ("latency", "in ms")):
        metric = scope.metrics.add(name=name, description=description, unit="ms")
        metric.gauge.data_points.add(time_unix_nano=10**18, as_int=5)
    return bytes(data.SerializeToString())


def logs() -> bytes:
    data = LogsData()
    scope = data.resource_logs.add().scope_logs.add()
    record = scope.log_records.add(
        time_unix_nano=10**18, severity_text="INFO", trace_id=b"1" * 16, span_id=b"2" * 8
    )
    record.body.string_value = "hello"
    return bytes(data.SerializeToString())


@pytest.mark.parametrize(
    ("data", "expected", "passed_over"),
    [
        (metrics(), [], ["OTLP metrics, no traces"]),
        (logs(), [], ["OTLP logs, no traces"]),
        (
            framed(metrics()) + framed(message()) + framed(logs()) + framed(message()),
            [EXPECTED, EXPECTED],
            ["OTLP metrics, no traces", "OTLP logs, no traces"],
        ),
    ],
    ids=["metrics", "logs", "between traces"],
)
def test_other_signals_are_passed_over(
    data: bytes, expected: list[object], passed_over: list[str]
) -> None:
    told: list[str] = []
    assert otlp_protobuf.recognise(data[:512])
    assert list(otlp_protobuf.read(io.BytesIO(data), told.append)) == expected
    assert told == passed_over


def test_tempos_second_api_has_one_message_more() -> None:
    answer = TracesData.FromString(message())
    inner = answer.SerializeToString()
    size = bytes([0x80 | len(inner) & 0x7F, len(inner) >> 7])
    found = list(otlp_protobuf.read(io.BytesIO(b"\x0a" + size + inner), pytest.fail))
    assert found == [EXPECTED]


def test_a_damaged_message_is_told() -> None:
    data = b"\x0a\x06\x0a\xff\xff\xff\xff\x7f"
    found = list(otlp_protobuf.read(io.BytesIO(data), pytest.fail))
    assert found == [Skipped("byte 0", "6 bytes that are no OTLP protobuf")]


@pytest.mark.parametrize(
    "head",
    [b"", b"\n", b'\n{\n  "data"', b'{"resourceSpans"', b"\x00\x00\x00\x00", b"\x1f\x8b", b"\xff"],
)
def test_other_bytes_are_not_taken(head: bytes) -> None:
    assert not otlp_protobuf.recognise(head)
