"""OTLP: what is read back is what was there, with the path on it, as often as one likes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from causepath_analyzer.cli import invoke
from causepath_analyzer.read.formats.originals import CARRIED
from tests.analyzer.corpus import FOLDER
from tests.analyzer.read.samples import SAMPLES
from tests.analyzer.read.test_damage import ALL, changed
from tests.support.trace_servers import Answer, Respond, jaeger, serving

RECORDED = sorted((Path(__file__).parents[1] / "recorded").glob("*.jsonl"))
CORPUS = sorted(p for p in FOLDER.rglob("*json*") if "bad-input" not in p.parts)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CAUSEPATH_HEADERS", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.delenv(name, raising=False)


def report(path: Path, folder: Path) -> Any:
    """The report on `path`, or ``None`` if there is no trace in it."""
    out = folder / "report.json"
    out.unlink(missing_ok=True)
    invoke([str(path), "--json", "-o", str(out)])
    return json.loads(out.read_text()) if out.exists() else None


def exported(path: Path, folder: Path, *options: str) -> Path:
    out = folder / f"exported-{len(list(folder.iterdir()))}.jsonl"
    assert invoke(["export", str(path), "--to", "otlp", "-o", str(out), *options]) == 0
    return out


def without_ids(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is said of a run, without ids and what was mended and merged before."""
    for trace in traces:
        for name in ("trace_id", "health", "lacking", "merges", "conversations"):
            del trace[name]
        money = trace["money"] or {"calls": (), "carried": ()}
        for item in (*trace["path"], *trace["findings"], *money["calls"], *money["carried"]):
            for name in ("span_id", "span_ids", "first_span_id"):
                item.pop(name, None)
    return traces


@pytest.mark.parametrize("path", [*RECORDED, *CORPUS], ids=lambda p: p.name)
def test_what_is_written_reads_as_what_was_read(path: Path, tmp_path: Path) -> None:
    before = report(path, tmp_path)
    if before is None:
        assert invoke(["export", str(path), "--to", "otlp"]) in (4, 5)
        return
    after = report(exported(path, tmp_path), tmp_path)
    hex_ids = all(
        len(t["trace_id"]) == 32 and all(len(s["span_id"] or "0" * 16) == 16 for s in t["path"])
        for t in before["traces"]
    )
    if {entry["format"] for entry in before["inputs"]} <= {*CARRIED, None} and hex_ids:
        assert after["traces"] == before["traces"]
    else:
        assert without_ids(after["traces"]) == without_ids(before["traces"])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_can_be_exported(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sample"
    path.write_bytes(SAMPLES[name])
    before, after = report(path, tmp_path), report(exported(path, tmp_path), tmp_path)
    assert without_ids(after["traces"]) == without_ids(before["traces"])


@pytest.mark.parametrize("path", RECORDED, ids=lambda p: p.name)
def test_a_second_export_changes_nothing(path: Path, tmp_path: Path) -> None:
    once = exported(path, tmp_path)
    assert exported(once, tmp_path).read_text() == once.read_text()


def spans_of(path: Path) -> list[dict[str, Any]]:
    return [
        span
        for line in path.read_text().splitlines()
        for batch in json.loads(line)["resourceSpans"]
        for group in batch["scopeSpans"]
        for span in group["spans"]
    ]


def plain(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Attributes by name; whole numbers as such."""
    found = {}
    for pair in pairs:
        ((kind, value),) = pair["value"].items()
        found[pair["key"]] = int(value) if kind == "intValue" else value
    return found


MADE = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "demo"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "s", "version": "1"},
                    "spans": [
                        {
                            "traceId": "a" * 32,
                            "spanId": "1" * 16,
                            "name": "invoke_agent demo",
                            "startTimeUnixNano": "1000000000",
                            "endTimeUnixNano": "2000000000",
                            "attributes": [
                                {"key": "nobody.asks", "value": {"kvlistValue": {"values": []}}},
                                {"key": "blob", "value": {"bytesValue": "AAE="}},
                                {"key": "nan", "value": {"doubleValue": "NaN"}},
                            ],
                            "events": [{"timeUnixNano": "1000000001", "name": "theirs"}],
                        },
                        {
                            "traceId": "a" * 32,
                            "spanId": "2" * 16,
                            "parentSpanId": "1" * 16,
                            "name": "execute_tool t",
                            "startTimeUnixNano": "1100000000",
                            "endTimeUnixNano": "1900000000",
                            "kind": 3,
                            "traceState": "a=b",
                            "flags": 257,
                            "status": {"code": 2, "message": "boom"},
                            "links": [
                                {"traceId": "b" * 32, "spanId": "3" * 16, "traceState": "c=d"}
                            ],
                        },
                    ],
                }
            ],
        }
    ]
}


def test_spans_keep_what_they_had_and_get_what_is_known(tmp_path: Path) -> None:
    source = tmp_path / "made.json"
    source.write_text(json.dumps(MADE))
    root, tool = spans_of(exported(source, tmp_path))
    before_root, before_tool = MADE["resourceSpans"][0]["scopeSpans"][0]["spans"]  # type: ignore[index]
    assert root["attributes"][:3] == [
        {"key": "nobody.asks", "value": {"kvlistValue": {}}},
        *before_root["attributes"][1:],
    ]
    assert plain(root["attributes"][3:]) == {
        "causepath.critical_path": True,
        "causepath.path_ns": 200_000_000,
        "causepath.path.seconds": 0.2,
        "causepath.path.percent": 20.0,
        "causepath.path.kind": "agent",
        "causepath.path.edge": "time",
        "causepath.wall_ns": 1_000_000_000,
        "causepath.wall.seconds": 1.0,
        "causepath.wall.tool_ns": 800_000_000,
        "causepath.wall.tool.seconds": 0.8,
        "causepath.wall.tool.percent": 80.0,
        "causepath.wall.agent_ns": 200_000_000,
        "causepath.wall.agent.seconds": 0.2,
        "causepath.wall.agent.percent": 20.0,
    }
    assert [event["name"] for event in root["events"]] == ["theirs", *["causepath.path"] * 2]
    assert plain(root["events"][1]["attributes"]) == {
        "kind": "agent",
        "edge": "time",
        "duration_ns": 100_000_000,
    }
    assert plain(tool.pop("attributes")) == {
        "causepath.critical_path": True,
        "causepath.path_ns": 800_000_000,
        "causepath.path.seconds": 0.8,
        "causepath.path.percent": 80.0,
        "causepath.path.kind": "tool",
        "causepath.path.edge": "time",
    }
    del tool["events"]
    assert tool == before_tool


def test_a_copy_has_its_own_ids_and_tells_of_the_original(tmp_path: Path) -> None:
    source = tmp_path / "made.json"
    source.write_text(json.dumps(MADE))
    out = exported(source, tmp_path, "--copy")
    root, tool = spans_of(out)
    assert root["traceId"] == tool["traceId"] != "a" * 32
    assert tool["parentSpanId"] == root["spanId"] != "1" * 16
    for span, number in ((root, "1"), (tool, "2")):
        copied = plain(span["attributes"])
        assert copied["causepath.copy_of"] == "a" * 32
        assert copied["causepath.copy_of.span_id"] == number * 16
    # Jaeger up to 2.14 draws no path where the first reference of a span is no parent.
    assert "links" not in root
    assert [link["traceId"] for link in tool["links"]] == ["b" * 32, "a" * 32]
    assert tool["links"][1] == {
        "traceId": "a" * 32,
        "spanId": "2" * 16,
        "attributes": [{"key": "causepath.link", "value": {"stringValue": "copy_of"}}],
    }
    assert exported(source, tmp_path, "--copy").read_text() == out.read_text()


def services_and_names(path: Path) -> list[tuple[str, str]]:
    return [
        (plain(batch["resource"]["attributes"])["service.name"], span["name"])
        for line in path.read_text().splitlines()
        for batch in json.loads(line)["resourceSpans"]
        for group in batch["scopeSpans"]
        for span in group["spans"]
    ]


# Name, attributes, and the service and the name of the copy.
SHOWN: list[tuple[str, dict[str, Any], str, str]] = [
    ("chat m", {"gen_ai.operation.name": "chat", "causepath.turn": 12}, "model", "12 m"),
    ("chat m", {"gen_ai.operation.name": "chat"}, "model", "m"),
    ("execute_tool find", {"gen_ai.tool.name": "find"}, "tool", "find"),
    (
        "execute_tool mcp__files_of_the_server__read_text_file",
        {"gen_ai.tool.name": "mcp__files_of_the_server__read_text_file"},
        "tool",
        "mcp__files_o…d_text_file",
    ),
    (
        "execute_tool mcp__files_of_the_server__read_text_file",
        {"gen_ai.tool.name": "r", "causepath.tool.inferred": True},
        "tool",
        "≤ mcp__files_…_text_file",
    ),
    ("invoke_agent planner", {"causepath.category": "agent"}, "demo (causepath)", "planner"),
    ("attempt 1", {"causepath.category": "retry"}, "retry", "attempt 1"),
    ("GET", {"causepath.category": "network"}, "network", "GET"),
    ("step", {}, "demo (causepath)", "step"),
]


def test_copies_are_short_and_have_the_kind_of_work_as_service(tmp_path: Path) -> None:
    made = json.loads(json.dumps(MADE))
    root, _ = made["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans = [root]
    for number, (name, attributes, *_) in enumerate(SHOWN):
        spans.append(
            {
                "traceId": root["traceId"],
                "spanId": f"{number + 2:016x}",
                "parentSpanId": root["spanId"],
                "name": name,
                "startTimeUnixNano": str(1_000_000_000 + number * 10_000_000),
                "endTimeUnixNano": str(1_009_000_000 + number * 10_000_000),
                "attributes": [
                    {
                        "key": key,
                        "value": {
                            {bool: "boolValue", int: "intValue", str: "stringValue"}[
                                type(value)
                            ]: value
                        },
                    }
                    for key, value in attributes.items()
                ],
            }
        )
    made["resourceSpans"][0]["scopeSpans"][0]["spans"] = spans
    source = tmp_path / "made.json"
    source.write_text(json.dumps(made))
    found = services_and_names(exported(source, tmp_path, "--copy"))
    expected = [("demo (causepath)", "demo"), *((service, name) for *_, service, name in SHOWN)]
    assert sorted(found) == sorted(expected)
    assert all(len(name) <= 24 for _, name in found)


def test_copies_are_left_out_where_the_originals_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = exported(RECORDED[0], tmp_path, "--copy")
    both = tmp_path / "both.jsonl"
    both.write_bytes(copies.read_bytes() + RECORDED[0].read_bytes() + copies.read_bytes())
    count = 2 * len(spans_of(copies))
    capsys.readouterr()
    read, alone = report(both, tmp_path), report(RECORDED[0], tmp_path)
    assert read["traces"] == alone["traces"]
    assert f"{count} spans left out: copies that `causepath export` made" in capsys.readouterr().err
    assert invoke([str(copies)]) == 5
    assert capsys.readouterr().err == (
        f"causepath: {copies}: only copies that `causepath export` made to be looked at: read the "
        "runs that it made them of\n"
    )


def receiver(answer: Answer | None = None, **headers: str) -> Respond:
    def respond(path: str, query: dict[str, str], got: dict[str, str]) -> Answer:
        assert path == "/v1/traces"
        assert (got["content-type"], got["content-encoding"]) == ("application/x-protobuf", "gzip")
        assert headers.items() <= got.items()
        return answer or (200, "application/x-protobuf", b"")

    return respond


def partial(rejected: int, message: str) -> Answer:
    said = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    body = ExportTraceServiceResponse(partial_success=said).SerializeToString()
    return 200, "application/x-protobuf", body


@pytest.mark.parametrize("endpoint", ["", "/", "/v1/traces"])
def test_spans_are_sent_as_protobuf(
    endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    import gzip

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")
    path = str(RECORDED[0])
    with serving(receiver(authorization="Bearer s3cret")) as server:
        assert invoke(["export", path, "--to", "otlp", "-o", server.url + endpoint]) == 0
    (posted,) = server.posted
    request = ExportTraceServiceRequest.FromString(gzip.decompress(posted))
    file = spans_of(exported(RECORDED[0], tmp_path))
    sent = [s for b in request.resource_spans for g in b.scope_spans for s in g.spans]
    assert [s.span_id.hex() for s in sent] == [s["spanId"] for s in file]
    assert capsys.readouterr().out.startswith(
        f"{len(sent)} spans of 1 trace sent to {server.url}/v1/traces\n"
    )


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (partial(2, "too old"), 0, "rejected 2 spans: too old"),
        ((401, "text/plain", b""), 4, "not allowed there (401): set OTEL_EXPORTER_OTLP_HEADERS"),
        (
            (404, "text/plain", b""),
            4,
            (
                "takes no OTLP (404): a receiver of OTLP over HTTP mostly has port 4318; name it "
                "with -o http://HOST:4318"
            ),
        ),
        ((200, "text/html", b"<!doctype html>"), 4, "takes no OTLP (200)"),
        ((503, "text/plain", b"busy"), 4, "the server answers 503: busy"),
        (
            (307, "text/plain", b"", {"Location": "/other"}),
            4,
            "has moved to ",
        ),
    ],
    ids=["partial", "401", "404", "page", "503", "moved"],
)
def test_what_a_receiver_says_is_said(
    answer: Answer, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(receiver(answer)) as server:
        assert invoke(["export", str(RECORDED[0]), "--to", "otlp", "-o", server.url]) == status
    assert told in capsys.readouterr().err


def test_much_is_sent_in_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("causepath_analyzer.cli.export._MOST_BYTES_AT_ONCE", 3000)
    with serving(receiver()) as server:
        assert invoke(["export", str(RECORDED[0]), "--to", "otlp", "-o", server.url]) == 0
    assert len(server.posted) > 1


def test_from_jaeger_to_jaeger(capsys: pytest.CaptureFixture[str]) -> None:
    import time

    now_us = time.time_ns() // 1000
    trace = {
        "traceID": "ab",
        "spans": [
            {
                "traceID": "ab",
                "spanID": "1",
                "operationName": "chat m",
                "references": [],
                "startTime": now_us,
                "duration": 5,
                "tags": [
                    {"key": "n", "type": "int64", "value": 1},
                    {"key": "error", "type": "bool", "value": True},
                    {"key": "span.kind", "type": "string", "value": "client"},
                ],
                "logs": [
                    {
                        "timestamp": now_us,
                        "fields": [{"key": "event", "type": "string", "value": "e"}],
                    }
                ],
                "processID": "p1",
            }
        ],
        "processes": {"p1": {"serviceName": "demo", "tags": []}},
    }
    with serving(jaeger([trace])) as source, serving(receiver()) as target:
        options = ["--to", "jaeger", "-o", target.url, "--json"]
        assert invoke(["export", f"{source.url}/trace/ab", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "causepath.export/1",
        "to": "jaeger",
        "target": f"{target.url}/v1/traces",
        "traces": 1,
        "spans": 1,
        "anew": 0,
        "copy": True,
        "services": ["demo (causepath)"],
        "rejected": 0,
        "message": "",
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--to csv --copy", "--copy is for jaeger and otlp, not for csv"),
        ("--to csv -o http://h", "http://h: csv is a file: name it with -o FILE"),
        ("--to otlp --json", "--json tells what was written to a file: name it with -o FILE"),
        ("--to otlp -o http://h --header a:b", "--header goes to where traces are read from; for"),
        (
            "http://h:4318 --to otlp",
            "http://h:4318 takes traces and gives none: to send there, write -o http://h:4318",
        ),
        ("--to csv --weight own", "--weight is for folded, not for csv"),
        ("--to jaeger --timeout 0", "--timeout 0: no time to wait"),
        ("--to otlp --service x", "--service is for servers, and "),
        ("--to svg", "Invalid value"),
        ("--to otlp -o /nowhere/x", "/nowhere/x: cannot be written: No such file or directory"),
    ],
)
def test_bad_input(arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["export", str(RECORDED[0]), *arguments.split()]) == 2
    assert told in capsys.readouterr().err


def test_what_is_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sample"
    path.write_bytes(SAMPLES["langfuse"])
    exported(path, tmp_path)
    told = capsys.readouterr().err
    assert "in formats other than OTLP and Jaeger: written from what was understood" in told


@pytest.mark.slow
@pytest.mark.parametrize("name", CARRIED)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_input_is_carried_as_far_as_it_is_read(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if name == "otlp-protobuf":
        document = bytearray(ALL[name])
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(document) - 1))
            document[at] = data.draw(st.integers(0, 255))
        damaged = bytes(document)
    else:
        damaged = data.draw(changed(name))
    folder = tmp_path_factory.mktemp("damaged")
    path, out = folder / "damaged", folder / "out.jsonl"
    path.write_bytes(damaged)
    before = report(path, folder)
    status = invoke(["export", str(path), "--to", "otlp", "-o", str(out)])
    if before is None:
        assert status in (2, 4, 5)
        return
    assert status == 0
    assert report(out, folder) is not None
