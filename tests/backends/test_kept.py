"""What docs/jaeger.md says of what is kept and lost, as far as test_faults.py does not show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backends.spans import of_service, span
from tests.backends.stack import Jaeger, collector_running, eventually, jaeger_running, report

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backends

TRACE_KIB = 650
"""What Jaeger needs for a run of 70 spans with prompts, as docker-compose.yml counts on it."""
AGENT = {"causepath.category": "agent"}
CALL = {"causepath.category": "llm"}


def test_a_collector_that_is_stopped_decides_first_on_the_runs_it_holds(tmp_path: Path) -> None:
    run, cut = span("invoke_agent whole", 5, AGENT), span("invoke_agent cut", 5, AGENT)
    with collector_running(
        tmp_path, "sampling", KEEP_PERCENT="0", AFTER_LAST_SPAN="60s"
    ) as collector:
        collector.send(of_service("s", span("chat", 1, CALL, parent=run), run))
        collector.send(of_service("s", span("chat that fails", 1, CALL, parent=cut, failed=True)))
        eventually(lambda: collector.count("otelcol_receiver_accepted_spans"), (3).__eq__)
        collector.running.stop()
        # Of a run that goes on, what had come is decided on by itself.
        assert [one["name"] for one in collector.spans()] == ["chat that fails"]


def names(jaeger: Jaeger) -> list[str]:
    """Give the names of the runs that Jaeger has."""
    traces = jaeger.traces("kept", limit=5)
    return sorted(one["operationName"] for trace in traces for one in trace["spans"])


def test_jaeger_keeps_the_newest_and_gets_what_came_while_it_was_away(tmp_path: Path) -> None:
    with (
        jaeger_running(tmp_path, JAEGER_MAX_TRACES="5") as jaeger,
        collector_running(tmp_path / "c", "jaeger", jaeger=jaeger.otlp) as collector,
    ):
        for number in range(8):
            collector.send(of_service("kept", span(f"run {number}", 1, AGENT)))
            eventually(
                lambda: collector.count("otelcol_exporter_sent_spans"),
                lambda sent, number=number: sent == 2 * (number + 1),  # and to the file
            )
        assert names(jaeger) == [f"run {number}" for number in (3, 4, 5, 6, 7)]
        jaeger.running.kill()
        collector.send(of_service("kept", span("run while it was away", 1, AGENT)))
        jaeger.running.restart()
        jaeger.running.wait_until_ready(jaeger.url)
        assert eventually(lambda: names(jaeger), bool) == ["run while it was away"]


def test_behind_a_proxys_path_jaeger_is_asked_at_the_address_that_the_browser_shows(
    tmp_path: Path,
) -> None:
    run = span("invoke_agent a", 5, AGENT)
    with jaeger_running(tmp_path, JAEGER_BASE_PATH="/tools/jaeger") as jaeger:
        jaeger.send(of_service("proxied", run))
        page = f"{jaeger.url}/tools/jaeger"
        for address in (f"{page}/trace/{run['traceId']}", f"{page}/search?service=proxied"):
            (found,) = report(address)["traces"]
            assert found["trace_id"] == run["traceId"]


@pytest.mark.slow
def test_a_run_of_70_spans_with_prompts_takes_no_more_memory_than_said(tmp_path: Path) -> None:
    most = 400
    # As the example's spans are, with prompts: 3.4 KB each as JSON.
    attributes = {**CALL, **{f"some.attribute.{number}": "x" * 180 for number in range(12)}}
    with jaeger_running(tmp_path, JAEGER_MAX_TRACES=str(most)) as jaeger:
        before = jaeger.running.memory_mib()
        for _ in range(most * 2 // 20):
            runs = [span("invoke_agent a", 5, AGENT) for _ in range(20)]
            calls = [span("chat", 1, attributes, parent=run) for run in runs for _ in range(69)]
            jaeger.send(of_service("many", *runs, *calls))
        used = (jaeger.running.memory_mib() - before) * 1024 / most
    assert used < TRACE_KIB
