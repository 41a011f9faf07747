"""Two hundred runs at once through the collector into Jaeger: none lost, mixed or doubled."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.stack import (
    ROOT,
    Collector,
    Jaeger,
    attributes_of,
    collector_running,
    eventually,
    start_python,
)
from tests.support.messages_api import messages_api_process

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backends

AT_ONCE = 200
SPANS_OF_A_RUN = {
    "invoke_agent": 1,
    "chat": 3,
    "attempt": 2,
    "backoff": 1,
    "execute_tool": 3,
}


def traces_in(spans: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for span in spans:
        found[span["traceId"]].append(span)
    return found


def odd_traces(traces: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The traces that are not one whole run by itself, with what is odd about them."""
    asked_in: dict[str, str] = {}
    odd: dict[str, Any] = {}
    for trace_id, spans in traces.items():
        ids = {span["spanId"] for span in spans}
        names = Counter(span["name"].split()[0] for span in spans)
        outside = [
            span["name"]
            for span in spans
            if (span.get("parentSpanId") or next(iter(ids))) not in ids
            # Links of content say where else the same words were, in any run.
            or any(
                link["spanId"] not in ids and attributes_of(link) != {"causepath.link": "content"}
                for link in span.get("links", ())
            )
        ]
        calls = {attributes_of(span).get("gen_ai.tool.call.id") for span in spans} - {None}
        elsewhere = [call for call in calls if asked_in.setdefault(call, trace_id) != trace_id]
        if names != SPANS_OF_A_RUN or outside or elsewhere or len(ids) != len(spans):
            odd[trace_id] = (dict(names), outside, elsewhere)
    return odd


def spans_in_jaeger(jaeger: Jaeger, service: str) -> int:
    return sum(len(trace["spans"]) for trace in jaeger.traces(service, limit=20_000))


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(5, id="5s"), pytest.param(60, id="60s", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_runs_at_once_stay_whole_and_apart(
    tmp_path: Path, jaeger: Jaeger, kind: str, seconds: int
) -> None:
    service = f"load-{kind}-{seconds}"
    with (
        collector_running(tmp_path / "c", "jaeger", jaeger=jaeger.otlp) as collector,
        messages_api_process("examples.research_script:next_answer") as url,
    ):
        agents = start_python(
            ["-m", "tests.backends.agents", kind, AT_ONCE, seconds, url],
            tmp_path,
            {
                "PYTHONPATH": str(ROOT),
                "CAUSEPATH": "1",
                "OTEL_SERVICE_NAME": service,
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
            },
        )
        printed, errors = agents.communicate(timeout=seconds + 300)
        assert (agents.returncode, errors) == (0, "")
        result = json.loads(printed)
        runs = len(result["seconds"])
        assert result["right"] == runs >= AT_ONCE
        expected = 10 * runs
        found = settled(collector, expected)
        in_jaeger = eventually(lambda: spans_in_jaeger(jaeger, service), expected.__eq__)
        accepted = collector.count("otelcol_receiver_accepted_spans")
        memory_mib = collector.running.memory_mib()
    traces = traces_in(found)
    median_seconds = sorted(result["seconds"])[runs // 2]
    print(f"{kind}: {runs} runs, {len(found)} spans, median of a run {median_seconds:.1f} s")
    print(f"memory: agents {result['memory_mib']:.0f} MiB, collector {memory_mib:.0f} MiB")
    assert odd_traces(traces) == {}
    assert (len(traces), len(found), accepted, in_jaeger) == (runs, expected, expected, expected)


def settled(collector: Collector, count: int) -> list[dict[str, Any]]:
    eventually(lambda: collector.count("otelcol_exporter_sent_spans"), lambda n: n >= 2 * count)
    return collector.spans()
