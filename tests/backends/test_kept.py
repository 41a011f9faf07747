"""What docs/jaeger.md says of what is kept and lost, as far as test_faults.py does not show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backends.spans import of_service, span
from tests.backends.stack import Jaeger, collector_running, eventually, jaeger_running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backends

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
