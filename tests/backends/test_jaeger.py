"""The example agents through the collector into Jaeger: nothing is lost or changed on the way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

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
    attempt 1 client retry RED
    backoff internal retry
    attempt 2 client network
  execute_tool fetch_page internal tool <- chat claude-opus-5-5
  chat claude-opus-5-5 client llm <- execute_tool fetch_page"""

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

    for span in spans.values():
        if not any(reference["refType"] == "CHILD_OF" for reference in span["references"]):
            row(span, 0)
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
