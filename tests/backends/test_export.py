"""Reading from the real Jaeger, and writing the critical path back into it."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.stack import (
    CAUSEPATH,
    ROOT,
    Collector,
    Jaeger,
    collector_running,
    eventually,
    get,
    report,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.backends

RECORDED = ROOT / "tests" / "analyzer" / "recorded" / "causepath.jsonl"
MANY = 250


def recorded(service: str, trace_id: str) -> list[dict[str, Any]]:
    """The resource spans of the recorded run under another name and id, as if it ran just now."""
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    batches = [batch for line in lines for batch in line["resourceSpans"]]
    spans = [span for batch in batches for group in batch["scopeSpans"] for span in group["spans"]]
    ended_ns = max(int(span["endTimeUnixNano"]) for span in spans)
    # Jaeger keeps microseconds: with whole ones nothing is lost on the way.
    later_ns = time.time_ns() - ended_ns
    for span in spans:
        for name in ("startTimeUnixNano", "endTimeUnixNano"):
            span[name] = str((int(span[name]) + later_ns) // 1000 * 1000)
        for owner in (span, *span.get("links", ())):
            owner["traceId"] = trace_id
        for event in span.get("events", ()):
            event["timeUnixNano"] = str((int(event["timeUnixNano"]) + later_ns) // 1000 * 1000)
    for batch in batches:
        batch["resource"]["attributes"] = [
            {"key": "service.name", "value": {"stringValue": service}}
        ]
    return batches


def many(service: str) -> list[dict[str, Any]]:
    """Traces of one span each, of which the later ones began earlier."""
    now_ns = time.time_ns()
    spans = [
        {
            "traceId": f"{i + 1:032x}",
            "spanId": f"{i + 1:016x}",
            "name": "chat m",
            "startTimeUnixNano": str(now_ns - (i + 2) * 1_000_000_000),
            "endTimeUnixNano": str(now_ns - (i + 1) * 1_000_000_000),
            "kind": 3,
        }
        for i in range(MANY)
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return [{"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}]


@pytest.fixture(scope="module")
def collector(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    folder = tmp_path_factory.mktemp("export")
    with collector_running(folder, "jaeger", jaeger=jaeger.otlp) as running:
        running.send(*many("many"))
        spans_in(jaeger, "many", MANY)
        yield running


def spans_in(jaeger: Jaeger, service: str, count: int) -> list[dict[str, Any]]:
    """The spans of a service, once there are `count`."""

    def ask() -> list[dict[str, Any]]:
        return [s for trace in jaeger.traces(service, 1000) for s in trace["spans"]]

    return eventually(ask, lambda spans: len(spans) >= count)


def causepath(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CAUSEPATH), *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def sent(
    jaeger: Jaeger, collector: Collector, service: str, trace_id: str, folder: Path
) -> tuple[Path, int]:
    """A file with the recorded run, which is in Jaeger as well, and how many spans that has."""
    batches = recorded(service, trace_id)
    file = folder / "direct.jsonl"
    file.write_text(json.dumps({"resourceSpans": batches}))
    collector.send(*batches)
    count = sum(len(group["spans"]) for batch in batches for group in batch["scopeSpans"])
    assert len(spans_in(jaeger, service, count)) == count
    return file, count


@pytest.mark.parametrize("address", ["", "/trace/{}", "/api/traces/{}", "/search?service={}"])
def test_jaeger_gives_the_report_that_the_file_gives(
    address: str, jaeger: Jaeger, collector: Collector, tmp_path: Path
) -> None:
    service, trace_id = f"read-{address.count('/')}-{len(address)}", f"{len(address) + 1:032x}"
    trace_id = "c" + trace_id[1:]
    file, _ = sent(jaeger, collector, service, trace_id, tmp_path)
    named = trace_id if "trace" in address else service
    options = [] if address else ["--service", service, "--since", "1h", "--limit", "200"]
    done = causepath(jaeger.url + address.format(named), "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    (found,), (direct,) = json.loads(done.stdout)["traces"], report(file)["traces"]
    assert found == direct


@pytest.mark.parametrize(("limit", "expected"), [(1000, MANY), (120, 120)])
def test_more_traces_than_a_page(
    limit: int, expected: int, jaeger: Jaeger, collector: Collector
) -> None:
    done = causepath(jaeger.url, "--service", "many", "--limit", limit, "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert len({trace["trace_id"] for trace in told["traces"]}) == expected
    assert told["inputs"][0]["spans"] == expected
    assert ("--limit" in done.stderr) == (expected < MANY)


def tagged(jaeger: Jaeger, service: str, **tags: str) -> list[dict[str, Any]]:
    """The traces of a service in which a span has the tags, as its page searches them."""
    found: list[dict[str, Any]] = get(
        f"{jaeger.url}/api/traces", service=service, tags=json.dumps(tags), limit=20
    )["data"]
    return found


def test_the_path_can_be_searched_in_jaeger(
    jaeger: Jaeger, collector: Collector, tmp_path: Path
) -> None:
    file, count = sent(jaeger, collector, "written", "d" * 32, tmp_path)
    source = f"{jaeger.url}/trace/{'d' * 32}"
    for _ in range(2):  # a second time changes nothing
        done = causepath("export", source, "--to", "jaeger", "-o", jaeger.otlp_http)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{count} spans of 1 trace sent to {jaeger.otlp_http}/v1/traces" in done.stdout
        copies = spans_in(jaeger, "written (causepath)", count)
        assert len(copies) == count
    assert len(spans_in(jaeger, "written", count)) == count
    # What goes to Jaeger itself is no run more in the collector's file.
    assert "written (causepath)" not in {span["service"] for span in collector.spans()}
    assert tagged(jaeger, "written", **{"causepath.critical_path": "true"}) == []
    (copy,) = tagged(jaeger, "written (causepath)", **{"causepath.critical_path": "true"})
    tags = [{tag["key"]: tag["value"] for tag in span["tags"]} for span in copy["spans"]]
    path_ns = sum(t["causepath.path_ns"] for t in tags if t.get("causepath.critical_path"))
    (direct,) = report(file)["traces"]
    assert path_ns == direct["wall_ns"] - direct["wall"].get("uncovered", 0)
    # Every copy names its original, and all but the root have a reference to it.
    assert {told["causepath.copy_of"] for told in tags} == {"d" * 32}
    originals = {
        r["spanID"] for s in copy["spans"] for r in s["references"] if r["traceID"] == "d" * 32
    }
    assert len(originals) == count - 1
    assert causepath(f"{jaeger.url}/trace/{copy['traceID']}").returncode == 5


def test_spans_that_keep_their_ids_are_there_twice(
    jaeger: Jaeger, collector: Collector, tmp_path: Path
) -> None:
    file, count = sent(jaeger, collector, "twice", "e" * 32, tmp_path)
    done = causepath("export", file, "--to", "otlp", "-o", collector.http)
    assert done.returncode == 0
    assert len(spans_in(jaeger, "twice", count + 1)) > count
    found = json.loads(causepath(f"{jaeger.url}/trace/{'e' * 32}", "--json").stdout)["traces"][0]
    (direct,) = report(file)["traces"]
    assert found["health"]["duplicates"] > 0
    assert (found["path"], found["calls"]) == (direct["path"], direct["calls"])


@pytest.mark.parametrize(
    ("what", "status", "told"),
    [
        ("--service nope", 2, "no service is called nope; there is "),
        ("/trace/abcdef", 5, "no trace abcdef there: it may be too old, not sampled, or not have"),
        ("/nowhere", 4, "answers with a page for people (HTML), not with JSON"),
    ],
)
def test_bad_input(what: str, status: int, told: str, jaeger: Jaeger, collector: Collector) -> None:
    path, _, options = what.partition(" ") if what.startswith("/") else ("", "", what)
    done = causepath(jaeger.url + path, *options.split())
    assert (done.returncode, done.stdout) == (status, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_other_ports_are_told_apart(jaeger: Jaeger, collector: Collector) -> None:
    for address, told in (
        (f"http://{jaeger.otlp}", "the connection broke off"),
        (collector.http, "neither Jaeger's nor Tempo's API is there"),
    ):
        done = causepath(address)
        assert done.returncode == 4
        assert told in done.stderr
    done = causepath("export", RECORDED, "--to", "jaeger", "-o", jaeger.url)
    assert done.returncode == 4
    assert "a receiver of OTLP over HTTP mostly has port 4318" in done.stderr
