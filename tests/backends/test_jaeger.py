"""The example agents through the collector into Jaeger: nothing is lost or changed on the way."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.spans import of_service, span
from tests.backends.stack import (
    ROOT,
    Collector,
    Jaeger,
    attributes_of,
    collector_running,
    eventually,
    report,
    start_python,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.backends

# Service, example, protocol.
RUNS = [
    ("sync-http", "research_agent.py", "http/protobuf"),
    ("sync-grpc", "research_agent.py", "grpc"),
    ("async-http", "research_agent_async.py", "http/protobuf"),
    ("together-grpc", "research_agent_async.py --together", "grpc"),
]
SERVICES = [service for service, *_ in RUNS]

# As Jaeger's page shows it: name, kind, category, red; the causes; in the order of starts.
ROWS = """\
invoke_agent research_agent internal agent
  chat claude-opus-5-5 client llm
  execute_tool search_web internal tool <- chat claude-opus-5-5
  execute_tool search_papers internal tool <- chat claude-opus-5-5
  chat claude-opus-5-5 client llm <- execute_tool search_web, execute_tool search_papers
    attempt 1 client retry
    backoff internal retry
    attempt 2 client network
  execute_tool fetch_page internal tool <- chat claude-opus-5-5, \
execute_tool search_web, execute_tool search_papers
  chat claude-opus-5-5 client llm <- execute_tool fetch_page, \
execute_tool search_papers, execute_tool search_web"""

LONGEST_VALUE = 1_000


@dataclass(frozen=True)
class Ran:
    """What the agents sent, as they wrote it themselves, and what took it."""

    jaeger: Jaeger
    collector: Collector
    direct: dict[str, Path]


@pytest.fixture(scope="module")
def ran(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("collector")
    with collector_running(folder, "jaeger", "metrics", jaeger=jaeger.otlp) as collector:
        agents = {}
        for service, example, protocol in RUNS:
            name, *options = example.split()
            variables = {
                "CAUSEPATH": "1",
                "OTEL_SERVICE_NAME": service,
                # To the collector, and as lines on standard output.
                "OTEL_TRACES_EXPORTER": "otlp,otlp_json_file",
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc
                if protocol == "grpc"
                else collector.http,
            }
            agents[service] = start_python([ROOT / "examples" / name, *options], folder, variables)
        direct = {}
        for service, agent in agents.items():
            printed, errors = agent.communicate(timeout=120)
            assert (agent.returncode, errors) == (0, "")
            # A batch may come in the middle of a line of the agent's answer.
            lines = re.findall(r'{"resourceSpans".*$', printed, re.MULTILINE)
            direct[service] = folder / f"{service}.jsonl"
            direct[service].write_text("\n".join(lines))
        yield Ran(jaeger, collector, direct)


def trace_in_jaeger(ran: Ran, service: str) -> dict[str, Any]:
    """The one trace of a service."""
    found = eventually(
        lambda: ran.jaeger.traces(service),
        lambda traces: sum(len(trace["spans"]) for trace in traces) == 10,
    )
    assert len(found) == 1
    return found[0]


def tags_of(span: dict[str, Any]) -> dict[str, Any]:
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def rows_of(trace: dict[str, Any]) -> str:
    """A trace as text, one row a span."""
    spans = {span["spanID"]: span for span in trace["spans"]}
    rows = []

    def row(span: dict[str, Any], depth: int) -> None:
        tags = tags_of(span)
        causes = [
            spans[reference["spanID"]]["operationName"]
            for reference in span["references"]
            if reference["refType"] == "FOLLOWS_FROM"
        ]
        words = [span["operationName"], tags["span.kind"], tags["causepath.category"]]
        words += ["RED"] if tags.get("error") else []
        words += [f"<- {', '.join(causes)}"] if causes else []
        rows.append("  " * depth + " ".join(words))
        for child in sorted(spans.values(), key=lambda one: one["startTime"]):
            if ("CHILD_OF", span["spanID"]) in [
                (reference["refType"], reference["spanID"]) for reference in child["references"]
            ]:
                row(child, depth + 1)

    for one in spans.values():
        if not any(reference["refType"] == "CHILD_OF" for reference in one["references"]):
            row(one, 0)
    return "\n".join(rows)


@pytest.mark.parametrize("service", SERVICES)
def test_a_run_is_one_trace_with_names_kinds_categories_and_causes(ran: Ran, service: str) -> None:
    trace = trace_in_jaeger(ran, service)
    agent = "research_agent" if service.startswith("sync") else "research_agent_async"
    expected = ROWS.replace("invoke_agent research_agent", f"invoke_agent {agent}")
    assert rows_of(trace) == expected
    assert {process["serviceName"] for process in trace["processes"].values()} == {service}
    assert all(not span["warnings"] for span in trace["spans"])


@pytest.mark.parametrize("service", SERVICES)
def test_jaeger_has_the_times_and_values_that_the_agent_wrote(ran: Ran, service: str) -> None:
    def microseconds(span: dict[str, Any]) -> tuple[int, int]:
        start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        return start // 1000, (end - start) // 1000

    written = {
        span["spanId"]: (span["name"], microseconds(span), set(attributes_of(span)))
        for line in ran.direct[service].read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }
    own_tags = {"span.kind", "error", "otel.scope.name", "otel.scope.version"}
    own_tags |= {"otel.status_code", "otel.status_description", "w3c.tracestate"}
    shown = {
        span["spanID"]: (
            span["operationName"],
            (span["startTime"], span["duration"]),
            set(tags_of(span)) - own_tags,
        )
        for span in trace_in_jaeger(ran, service)["spans"]
    }
    assert shown == written


@pytest.mark.parametrize("service", SERVICES)
def test_no_value_is_longer_than_a_screen(ran: Ran, service: str) -> None:
    long = {
        (span["operationName"], key): len(str(value))
        for span in trace_in_jaeger(ran, service)["spans"]
        for key, value in tags_of(span).items()
        if len(str(value)) > LONGEST_VALUE
    }
    assert long == {}


def test_the_collectors_file_gives_the_report_of_the_agents_own_file(ran: Ran) -> None:
    eventually(ran.collector.spans, lambda spans: len(spans) == 10 * len(RUNS))
    through = report(ran.collector.traces_file.parent)
    direct = report(*ran.direct.values())
    by_id = {trace["trace_id"]: trace for trace in direct["traces"]}
    assert len(by_id) == len(RUNS)
    assert {trace["trace_id"]: trace for trace in through["traces"]} == by_id
    assert through["summary"] == direct["summary"]


@pytest.mark.parametrize("service", SERVICES)
def test_read_from_jaeger_a_run_is_the_same_but_for_its_microseconds(
    ran: Ran, service: str
) -> None:
    shown = trace_in_jaeger(ran, service)
    (through,) = report(f"{ran.jaeger.url}/trace/{shown['traceID']}")["traces"]
    (direct,) = report(ran.direct[service])["traces"]
    assert through["wall"] == pytest.approx(direct["wall"], abs=50_000)
    for found in ("tokens", "calls", "turns", "cost_usd", "status", "name", "service"):
        assert through[found] == direct[found]
    assert [one["code"] for one in through["findings"]] == [
        one["code"] for one in direct["findings"]
    ]


def jaegers_path(trace: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The critical path as Jaeger's page works it out: span, start and end in microseconds.

    From the end of a span, the child that ended last takes over; at its start, the one of its
    siblings that ended before that, strictly; what no child takes is the parent's own. Children
    that outlive their parent are cut; none of the traces here has one.
    """
    spans = {one["spanID"]: one for one in trace["spans"]}
    children: dict[str | None, list[str]] = {}
    for span_id, one in spans.items():
        parents = [ref["spanID"] for ref in one["references"] if ref["refType"] == "CHILD_OF"]
        children.setdefault(parents[0] if parents else None, []).append(span_id)

    def end(span_id: str) -> int:
        return int(spans[span_id]["startTime"] + spans[span_id]["duration"])

    def below(span_id: str) -> list[tuple[str, int, int]]:
        path: list[tuple[str, int, int]] = []
        start, until = spans[span_id]["startTime"], end(span_id)
        candidates = children.get(span_id, [])
        while candidates:
            last = max(candidates, key=end)
            path = [
                *below(last),
                *([(span_id, end(last), until)] if end(last) < until else []),
                *path,
            ]
            until = spans[last]["startTime"]
            candidates = [one for one in candidates if end(one) < until]
        return [*([(span_id, start, until)] if start < until else []), *path]

    (root,) = children[None]
    return below(root)


def our_path(trace: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The path of a report; what is split into kinds within a span is one section."""
    path: list[tuple[str, int, int]] = []
    for step in trace["path"]:
        start, end = step["start_ns"] // 1000, step["end_ns"] // 1000
        if path and path[-1][0] == step["span_id"]:
            path[-1] = (step["span_id"], path[-1][1], end)
        else:
            path.append((step["span_id"], start, end))
    return path


@pytest.mark.parametrize("service", SERVICES)
def test_jaegers_critical_path_is_ours_where_nothing_overlaps_its_cause(
    ran: Ran, service: str
) -> None:
    (reported,) = report(ran.direct[service])["traces"]
    ours = our_path(reported)
    shown = trace_in_jaeger(ran, service)
    jaegers = jaegers_path(shown)
    # By what the run called: a pause that begins in the microsecond in which an attempt ends is
    # left out by Jaeger, and its time is the model call's own.
    parents = {
        one["spanID"]: reference["spanID"]
        for one in shown["spans"]
        for reference in one["references"]
        if reference["refType"] == "CHILD_OF"
    }

    def called(path: list[tuple[str, int, int]]) -> dict[str, int]:
        total: dict[str, int] = defaultdict(int)
        for step, start, end in path:
            above = step
            while parents.get(parents.get(above, "")):
                above = parents[above]
            total[above] += end - start
        return total

    assert called(jaegers) == pytest.approx(called(ours), abs=10)
    assert len(called(ours)) == (6 if "together" in service else 7)


def test_jaeger_leaves_a_call_out_whose_tool_began_before_it_had_ended(
    jaeger: Jaeger, tmp_path: Path
) -> None:
    """The known difference: there, the time until the tool began is the run's own."""
    root = span("invoke_agent a", 5, {"causepath.category": "agent"})
    call = span("chat m", 3, {"causepath.category": "llm"}, parent=root)
    tool = span("execute_tool t", 5, {"causepath.category": "tool"}, parent=root)
    tool["startTimeUnixNano"] = str(int(tool["startTimeUnixNano"]) + 2_000_000_000)
    link = {"key": "causepath.link", "value": {"stringValue": "tool_call"}}
    ids = {"traceId": call["traceId"], "spanId": call["spanId"]}
    tool["links"] = [{**ids, "attributes": [link]}]
    with collector_running(tmp_path / "c", "jaeger", jaeger=jaeger.otlp) as collector:
        collector.send(of_service("overlap", root, call, tool))
        (trace,) = eventually(lambda: jaeger.traces("overlap"), bool)
        eventually(collector.spans, lambda spans: len(spans) == 3)
        (reported,) = report(collector.traces_file)["traces"]
    names = {one["spanId"]: one["name"] for one in (root, call, tool)}

    def seconds(path: list[tuple[str, int, int]]) -> list[tuple[str, float]]:
        return [(names[step], round((end - start) / 1e6, 3)) for step, start, end in path]

    assert seconds(jaegers_path(trace)) == [("invoke_agent a", 2), ("execute_tool t", 3)]
    assert seconds(our_path(reported)) == [("chat m", 2), ("execute_tool t", 3)]
