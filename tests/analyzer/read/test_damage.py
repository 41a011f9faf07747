"""A wrong or hostile input costs a message, never a crash, in any format: bytes to report."""

import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import run_view
from causepath_analyzer.analyses.summary.brief import brief
from causepath_analyzer.analyses.summary.summary import summary
from causepath_analyzer.errors import CausepathError
from causepath_analyzer.read import Options, SpansByTrace, read, read_stream, traces
from causepath_analyzer.read.input.source import unpacked
from causepath_analyzer.report.json import report_json, trace_json
from tests.analyzer.read.samples import OTLP, PYTHON_SDK, SAMPLES, text
from tests.analyzer.read.test_formats import PROTO, framed

ALL = {
    **SAMPLES,
    "otlp-protobuf": PROTO,
    "framed protobuf": framed(PROTO) * 2,
    "zstd messages": framed(zstandard.compress(SAMPLES["otlp-json"])) * 2,
    "gzip": gzip.compress(SAMPLES["jaeger-json"], mtime=0),
}
FEW_BYTES = Options(max_bytes=50_000_000)


def report(data: bytes, options: Options = FEW_BYTES) -> bytes:
    """Everything that happens to an input, except drawing; our error is an answer as well."""
    spans: SpansByTrace = {}
    stream = unpacked(io.BufferedReader(io.BytesIO(data)), options.max_bytes)  # type: ignore[arg-type]
    entry = read_stream("f", stream, spans, None, options)
    try:
        reading = traces([entry], spans)
    except CausepathError as error:
        return str(error).encode()
    runs = [explained(trace) for trace in reading.traces]
    return report_json(
        reading.inputs, [trace_json(run_view(run)) for run in runs], summary(map(brief, runs))
    )


VALUES = [
    None,
    True,
    -1,
    0,
    2**63,
    2**64 - 1,
    10**40,
    -(10**40),
    1e308,
    0.5,
    "",
    "\x00",
    "0",
    "x" * 40,
    "9" * 25,
    "1e400",
    "NaN",
    "-1",
    "ÿ" * 24,
    "=" * 24,
    "2026-11-21T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": {}},
    ["a", 1],
]
"""What may stand where something else should."""


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """The sample `name` with some of its fields dropped, doubled or of another type."""
    documents = documents_in(SAMPLES[name].decode())
    found = list(places(documents))
    for _ in range(draw(st.integers(1, 4))):
        owner, key = draw(st.sampled_from(found))
        try:
            match draw(st.integers(0, 3)):
                case 0:
                    del owner[key]
                case 1:
                    owner[key] = [owner[key], owner[key]]
                case _:
                    owner[key] = draw(st.sampled_from(VALUES))
        except (KeyError, IndexError):
            continue  # changed before
    return b"\n".join(map(text, documents))


def documents_in(text: str) -> list[Any]:
    """The JSON documents in `text`, one after the other, until something is none."""
    decoder, documents = json.JSONDecoder(), []
    while text := text.lstrip():
        try:
            document, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            break
        documents.append(document)
        text = text[end:]
    return documents


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in `document` that has a value."""
    waiting = [document]
    while waiting:
        owner = waiting.pop()
        for key in list(owner) if isinstance(owner, dict) else range(len(owner)):
            yield owner, key
            if isinstance(owner[key], dict | list):
                waiting.append(owner[key])


@pytest.mark.parametrize("name", SAMPLES)
def test_numbers_beyond_any_float(name: str) -> None:
    whole = SAMPLES[name]
    for match in re.finditer(rb"(?<=[:\[ ])\d+(?=[,\]} \n])", whole):
        report(whole[: match.start()] + b"-1e999" + whole[match.end() :])


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_wrong_types_anywhere(name: str, data: st.DataObject) -> None:
    report(data.draw(changed(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_flipped_cut_and_doubled_bytes(name: str, data: st.DataObject) -> None:
    damaged = bytearray(ALL[name])
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 0x22, 0x5B, 0x7B, 0x7D, 0x80, 0xFF, 0x39]))
    start = data.draw(st.integers(0, len(damaged)))
    end = data.draw(st.integers(start, len(damaged)))
    match data.draw(st.integers(0, 2)):
        case 0:
            del damaged[start:end]
        case 1:
            damaged[start:start] = damaged[start:end]
        case _:
            pass
    report(bytes(damaged))


def otlp(*spans: dict[str, Any]) -> bytes:
    return text({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]})


def span(number: int, parent: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "traceId": "1" * 32,
        "spanId": f"{number + 1:016x}",
        "parentSpanId": "" if parent is None else f"{parent + 1:016x}",
        "name": "s",
        "startTimeUnixNano": str(10**18 + number),
        "endTimeUnixNano": str(10**18 + 10**9 - number),
        **more,
    }


DEEP = 100_000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(otlp(*(span(i, i - 1 if i else None) for i in range(DEEP))), id="nested"),
        pytest.param(otlp(span(0, 0), span(1, 2), span(2, 1), span(3, 9)), id="own ancestors"),
        pytest.param(otlp(span(0, endTimeUnixNano=str(2**64 - 1)), span(1)), id="huge time"),
        pytest.param(otlp(*(span(i, startTimeUnixNano="0") for i in range(50))), id="from 1970"),
        pytest.param(
            otlp(*(span(i, 0, endTimeUnixNano=str(2**63 - 1)) for i in range(9))), id="huge sums"
        ),
        pytest.param(otlp(span(0, name="x" * 10_000_000)), id="10 MB of name"),
        pytest.param(
            otlp(
                span(
                    0,
                    attributes=[
                        {
                            "key": "gen_ai.output.messages",
                            "value": {"stringValue": '{"type":"tool_call",' * 500_000},
                        },
                        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                        {
                            "key": "gen_ai.response.finish_reasons",
                            "value": {"stringValue": '["' * 1_000_000},
                        },
                    ],
                )
            ),
            id="10 MB of attribute",
        ),
        pytest.param(b'{"resourceSpans":' * DEEP, id="deep and cut off"),
        pytest.param(b'{"resourceSpans":' * DEEP + b"1" + b"}" * DEEP, id="deep"),
        pytest.param(b'{"a":\n' * DEEP + b"1" + b"}\n" * DEEP, id="deep over lines"),
        pytest.param(
            text(PYTHON_SDK[0]).replace(b'"links": []', b'"links": ' + b"[" * DEEP + b"]" * DEEP),
            id="deep inside",
        ),
        pytest.param(b'"' + b'\\"' * 1_000_000, id="quotes"),
        pytest.param(b'{\n"' + b'\\"' * 1_000_000, id="quotes after a brace"),
        pytest.param(b'{\n"' + b'\\"\n' * 300_000, id="open strings"),
        pytest.param(b"{\n" * 300_000, id="braces"),
        pytest.param(b"{\n}\n" * 100_000, id="many empty objects"),
        pytest.param(b"[INFO] text\n" * 100_000, id="a log"),
        pytest.param(b"\x00\x00\x00\x05" * 1000, id="frames of nothing"),
        pytest.param(b"\x7f\xff\xff\xff" + b"\x28\xb5\x2f\xfd", id="a frame of 2 GB"),
        pytest.param(b"\x0a\xff\xff\xff\xff\x03\x0a", id="a message of 1 GB"),
        pytest.param(b"\x00\x3f\xff\xff\x0a\x00\x0a", id="a frame that is not there"),
        pytest.param(SAMPLES["otlp-json"].replace(b'"m"', b'"\xff\xfe"'), id="no UTF-8"),
        pytest.param(SAMPLES["otlp-json"].decode().encode("utf-16"), id="UTF-16"),
        pytest.param(SAMPLES["jaeger-json"].replace(b": 0", b": NaN"), id="NaN"),
        pytest.param(b"1" * 1_000_000, id="a million digits"),
        pytest.param(b'{"traceId": ' + b"1" * 1_000_000 + b"}", id="a million digits inside"),
    ],
)
@pytest.mark.timeout(60)
def test_hostile_input_costs_a_message(data: bytes) -> None:
    assert report(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(gzip.compress(b"\0" * 200_000_000), id="one line"),
        pytest.param(gzip.compress(b"\n" * 200_000_000), id="many lines"),
        pytest.param(zstandard.compress(b"{" + b" " * 200_000_000), id="zstd"),
        pytest.param(framed(zstandard.compress(b"{" + b" " * 200_000_000)), id="zstd message"),
        pytest.param(
            gzip.compress(gzip.compress(gzip.compress(b"\n" * 200_000_000))), id="three times"
        ),
    ],
)
@pytest.mark.timeout(60)
def test_a_bomb_is_told_and_not_unpacked(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "bomb"
    file.write_bytes(data)
    with pytest.raises(CausepathError, match=r"more than [\d,]+ bytes .*: raise --max-bytes"):
        read([str(file)], None, Options(max_bytes=20_000_000))


def test_a_plain_file_may_be_as_large_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(text(OTLP))
    assert read([str(file)], None, Options(max_bytes=10)).inputs[0].spans == 5


def test_what_is_skipped_has_a_place_and_a_reason() -> None:
    for name, data in SAMPLES.items():
        answer = msgspec.json.decode(report(data + b"\n{broken\n" + data))
        (skipped,) = answer["inputs"][0]["skipped"]
        assert skipped["where"].startswith("line "), name
        assert skipped["why"], name
