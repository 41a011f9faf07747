"""Protobuf: the same spans as from JSON; plain, several in a row, framed, cut off."""

import io

import pytest
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from causepath_analyzer.model import Skipped
from causepath_analyzer.read import otlp_protobuf
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
    assert list(otlp_protobuf.read(io.BytesIO(data))) == expected


@pytest.mark.parametrize(
    "head",
    [b"", b"\n", b'\n{\n  "data"', b'{"resourceSpans"', b"\x00\x00\x00\x00", b"\x1f\x8b", b"\xff"],
)
def test_other_bytes_are_not_taken(head: bytes) -> None:
    assert not otlp_protobuf.recognise(head)
