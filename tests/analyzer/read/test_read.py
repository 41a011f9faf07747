"""From paths to traces: files, folders, compression, and what happens to what is no trace."""

import gzip
import io
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causepath_analyzer.analyses.run import explained
from causepath_analyzer.errors import (
    CausepathError,
    ExitStatus,
    NoTracesError,
    UnreadableInputError,
)
from causepath_analyzer.read import read, read_stream
from tests.analyzer.read import test_jaeger_json, test_otlp_json
from tests.analyzer.read.test_otlp_protobuf import message

LINE = json.dumps(test_otlp_json.request(test_otlp_json.wire_span()))
OTHER = json.dumps(test_otlp_json.request(test_otlp_json.wire_span(traceId="1" * 32)))
JAEGER = json.dumps(test_jaeger_json.trace(test_jaeger_json.wire_span()))


@pytest.mark.parametrize(
    ("data", "called", "spans"),
    [
        (f"{LINE}\n{OTHER}\n".encode(), "otlp-json", 2),
        (json.dumps(json.loads(LINE), indent=2).encode() * 2, "otlp-json", 2),
        (JAEGER.encode(), "jaeger-json", 1),
        (message(), "otlp-protobuf", 1),
        (gzip.compress(LINE.encode(), mtime=0), "otlp-json", 1),
        (gzip.compress(message(), mtime=0), "otlp-protobuf", 1),
        (zstandard.compress(LINE.encode()), "otlp-json", 1),
        (zstandard.compress(f"{LINE}\n".encode()) * 2, "otlp-json", 2),
        (LINE.replace("chat m", "\\ud83d").encode(), "otlp-json", 1),
        (LINE.replace("chat m", "\\ud83d\\ude00").encode(), "otlp-json", 1),
        (LINE.replace("0.05", "NaN").encode(), "otlp-json", 1),
        (LINE.encode().replace(b"chat m", b"caf\xe9"), "otlp-json", 1),
    ],
    ids=[
        "lines",
        "pretty-printed",
        "Jaeger",
        "protobuf",
        "gzip",
        "gzip of protobuf",
        "zstd",
        "zstd frames",
        "half a surrogate pair",
        "a whole one",
        "NaN",
        "Latin-1 in a name",
    ],
)
def test_formats_are_recognised_by_content(
    tmp_path: Path, data: bytes, called: str, spans: int
) -> None:
    file = tmp_path / "no-helpful-name"
    file.write_bytes(data)
    (entry,) = read([str(file)]).inputs
    assert (entry.format, entry.spans, entry.skipped, entry.problem) == (called, spans, (), None)


def test_a_folder_is_gone_through_and_a_trace_may_be_in_many_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.json").write_text(LINE)
    (tmp_path / "two.json").write_text(LINE.replace(test_otlp_json.SPAN, "2" * 16))
    (tmp_path / "README.md").write_text("# notes\n")
    (tmp_path / ".hidden").write_text("{")
    reading = read([str(tmp_path)])
    assert [len(trace.spans) for trace in reading.traces] == [2]
    assert [
        (Path(entry.path).name, entry.spans, str(entry.problem) if entry.problem else None)
        for entry in reading.inputs
    ] == [
        ("README.md", 0, f"{tmp_path}/README.md:1: text, no trace"),
        ("one.json", 1, None),
        ("two.json", 1, None),
    ]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(LINE.encode())))  # type: ignore[arg-type]
    monkeypatch.setattr("sys.stdin", stdin)
    assert len(read(["-"]).traces) == 1


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        (None, UnreadableInputError, "{}: no such file or folder"),
        (b"", NoTracesError, "{}: empty"),
        (b" \n ", NoTracesError, "{}: empty"),
        (b"hello\n", NoTracesError, "{}:1: text, no trace"),
        (b"\xff\xfe{\x00", UnreadableInputError, "{}:byte 0: UTF-16 text: save it as UTF-8"),
        (b"\x1f\x8b\x08\x00", UnreadableInputError, "{}:end: cut off or damaged: "),
        (
            gzip.compress(LINE.encode(), mtime=0)[:60],
            UnreadableInputError,
            "{}:end: cut off or damaged: Compressed file ended before",
        ),
        (
            LINE[:100].encode(),
            UnreadableInputError,
            "{}:1: cut off: the JSON that starts here never ends",
        ),
        (b"{}", NoTracesError, "{}:1: JSON, but no trace in any format that causepath reads"),
        (b'{"resourceSpans": []}', NoTracesError, "{}: a trace file without a span"),
        (b'{"resourceMetrics": []}', NoTracesError, "{}: OTLP metrics, no traces"),
        (
            b'[{"traceId":"1","id":"2","localEndpoint":{}}]',
            NoTracesError,
            "{}:1: span 2 without a timestamp",
        ),
        (b"\n<!DOCTYPE html><html>", NoTracesError, "{}:2: a web page, no trace"),
        (b"PAR1\x15\x04" + bytes(50), NoTracesError, "{}:1: a Parquet file"),
        (b"PK\x03\x04" + bytes(50), UnreadableInputError, "{}:end: the archive is cut off or dam"),
        (
            b"\xfd7zXZ\0\0\4" + bytes(50),
            UnreadableInputError,
            "{}:1: compressed, but not with gzip",
        ),
        (b"BZh91AY&SY", UnreadableInputError, "{}:1: compressed, but not with gzip"),
        (b"SQLite format 3\0\x10", NoTracesError, "{}:1: an SQLite database"),
        (b"trace_id,span_id,name\n1,2,x\n", NoTracesError, "{}:1: a table (CSV)"),
        (b'{"data":[],"total":0,"errors":null}', NoTracesError, "{}:1: an answer of Jaeger"),
        (b'{"error":"no"}', NoTracesError, "{}:1: the error message of an API"),
        (b'{"errors":null}', NoTracesError, "{}:1: JSON, but no trace"),
        (b'{"role":"user","content":"hi"}', NoTracesError, "{}:1: messages of a conversation"),
        (b"[" * 100_000, UnreadableInputError, "{}:1: "),
        (b"[" * 100_000 + b"]" * 100_000, NoTracesError, "{}:1: "),
    ],
)
def test_what_is_no_trace_costs_one_sentence(
    tmp_path: Path, data: bytes | None, kind: type[CausepathError], told: str
) -> None:
    file = tmp_path / "f"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(CausepathError) as caught:
        read([str(file)])
    assert type(caught.value) is kind
    assert str(caught.value).startswith(told.format(file))
    expected = {UnreadableInputError: ExitStatus.UNREADABLE, NoTracesError: ExitStatus.NO_TRACES}
    assert caught.value.status == expected[kind]


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(NoTracesError, match="a folder without files"):
        read([str(tmp_path)])


def test_everything_readable_is_read_and_the_rest_is_located(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text(f"{LINE}\n{{broken\n{{}}\n\n{OTHER}\n{LINE[:50]}")
    reading = read([str(file)])
    assert len(reading.traces) == 2
    assert [(part.where, part.why) for part in reading.inputs[0].skipped] == [
        ("line 2", "not JSON: object keys must be strings (byte 1)"),
        ("line 3", "JSON, but no trace in any format that causepath reads"),
        ("line 6", "cut off: the JSON that starts here never ends"),
    ]


def test_what_is_skipped_is_bounded_but_counted(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text(f"{LINE}\n" + "?\n" * 5000)
    (entry,) = read([str(file)]).inputs
    assert (len(entry.skipped), entry.skipped_total) == (1000, 5000)


SEEDS = (
    f"{LINE}\n{OTHER}\n".encode(),
    JAEGER.encode(),
    message(),
    gzip.compress(LINE.encode(), mtime=0),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_file_gives_our_error_and_no_other(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        until = data.draw(st.integers(at, min(len(damaged), at + 20)))
        damaged[at:until] = data.draw(st.binary(max_size=8))
    file = io.BufferedReader(io.BytesIO(bytes(damaged)))  # type: ignore[arg-type]
    from causepath_analyzer.read import traces
    from causepath_analyzer.read.input.source import unpacked

    spans: dict[str, list] = {}  # type: ignore[type-arg]
    try:
        entry = read_stream("f", unpacked(file), spans)
        reading = traces([entry], spans)
    except CausepathError:
        return
    for trace in reading.traces:
        assert explained(trace).path.fault is None
