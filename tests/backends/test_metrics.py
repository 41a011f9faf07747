"""Spans become metrics, and what we ship to look at them finds them: asked of a real Prometheus."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.programs import CONFIGURATIONS, free_ports, started
from tests.backends.spans import of_service, span
from tests.backends.stack import Collector, Jaeger, collector_running, eventually, get

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.backends

DASHBOARD = CONFIGURATIONS / "grafana" / "dashboards" / "causepath.json"


def runs(count: int) -> dict[str, Any]:
    """Runs with one model call that fails in one of them, its retry, and one call of a tool."""
    spans = []
    for number in range(count):
        root = span(
            "invoke_agent planner",
            4,
            {"causepath.category": "agent", "gen_ai.agent.name": "planner"},
            failed=number == 0,
        )
        call = span(
            "chat m-1",
            3,
            {
                "causepath.category": "llm",
                "gen_ai.request.model": "m-1",
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 10,
                "gen_ai.usage.cache_read.input_tokens": 40,
                "gen_ai.usage.cache_write.input_tokens": 5,
            },
            parent=root,
        )
        attributes = {"causepath.category": "retry", "error.type": "429"}
        attempt = span("attempt 1", 0.2, attributes, parent=call, failed=True)
        attributes = {"causepath.category": "tool", "gen_ai.tool.name": "search"}
        tool = span("execute_tool search", 0.3, attributes, parent=root, failed=number == 1)
        spans += [attempt, call, tool, root]
    return of_service("shop", *spans)


@contextlib.contextmanager
def prometheus_running(folder: Path, collector: Collector) -> Iterator[str]:
    """Prometheus as shipped, but that it finds the collector here and asks every second."""
    shipped = CONFIGURATIONS / "prometheus"
    shutil.copytree(shipped, folder)
    text = (shipped / "prometheus.yaml").read_text().replace("15s", "1s")
    for port, url in (("8889", collector.metrics_url), ("8888", collector.self_metrics_url)):
        text = text.replace(f"collector:{port}", url.removeprefix("http://").partition("/")[0])
    assert "collector:" not in text
    (folder / "prometheus.yaml").write_text(text)
    (port,) = free_ports(1)
    arguments = [
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    with started("prometheus", arguments, {}, f"{url}/-/ready", folder / "prometheus.log"):
        yield url


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger) -> Iterator[str]:
    """Prometheus after two times five runs."""
    folder = tmp_path_factory.mktemp("metrics")
    with (
        collector_running(
            folder / "c", "jaeger", "metrics", jaeger=jaeger.otlp, METRICS_INTERVAL="1s"
        ) as collector,
        prometheus_running(folder / "p", collector) as url,
    ):
        for sent in (5, 10):
            collector.send(runs(5))
            eventually(
                lambda: ask(url, "sum(causepath_tokens_input_total)"),
                lambda found, sent=sent: [value for _, value in found] == [100.0 * sent],
            )
            eventually(
                lambda: ask(url, 'sum(traces_span_metrics_calls_total{span_name="chat m-1"})'),
                lambda found, sent=sent: [value for _, value in found] == [float(sent)],
            )
        yield url


def ask(url: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """The labels and values that Prometheus answers with."""
    found = get(f"{url}/api/v1/query", query=expression)["data"]["result"]
    return [(one["metric"], float(one["value"][1])) for one in found]


def table(url: str, expression: str) -> dict[tuple[str, ...], float]:
    return {tuple(labels.values()): value for labels, value in ask(url, expression)}


# What is asked, and the whole answer: the values of the labels in the order of their names.
COUNTS: list[tuple[str, dict[tuple[str, ...], float]]] = [
    (
        "sum by (causepath_category, status_code) (traces_span_metrics_calls_total)",
        {
            ("agent", "STATUS_CODE_ERROR"): 2,
            ("agent", "STATUS_CODE_UNSET"): 8,
            ("llm", "STATUS_CODE_UNSET"): 10,
            ("retry", "STATUS_CODE_ERROR"): 10,
            ("tool", "STATUS_CODE_ERROR"): 2,
            ("tool", "STATUS_CODE_UNSET"): 8,
        },
    ),
    (
        (
            "sum by (gen_ai_agent_name, service_name) "
            '(traces_span_metrics_calls_total{causepath_category="agent"})'
        ),
        {("planner", "shop"): 10},
    ),
    (
        (
            "sum by (gen_ai_request_model) "
            '(traces_span_metrics_duration_seconds_sum{causepath_category="llm"})'
        ),
        {("m-1",): 30},
    ),
    (
        (
            "sum by (gen_ai_tool_name) "
            '(traces_span_metrics_duration_seconds_sum{causepath_category="tool"})'
        ),
        {("search",): 3},
    ),
    (
        'sum by (error_type) (traces_span_metrics_calls_total{error_type!=""})',
        {("429",): 10},
    ),
    *(
        (
            f"sum by (gen_ai_request_model, service_name) (causepath_tokens_{kind}_total)",
            {("m-1", "shop"): 10 * each},
        )
        for kind, each in (("input", 100), ("output", 10), ("cache_read", 40), ("cache_write", 5))
    ),
]


@pytest.mark.parametrize(("expression", "answer"), COUNTS)
def test_spans_are_counted_once_by_category_model_tool_and_agent(
    prometheus: str, expression: str, answer: dict[tuple[str, ...], float]
) -> None:
    assert table(prometheus, expression) == pytest.approx(answer)


def test_every_query_of_the_dashboard_finds_something(prometheus: str) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = {
        target["expr"]: panel["title"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    assert len(expressions) > 15
    queries = {
        expression.replace("$__rate_interval", "5m").replace("$service", ".*"): title
        for expression, title in expressions.items()
        if "send_failed" not in expression  # the collector counts it from the first failure on
    }

    def empty() -> dict[str, str]:
        return {query: title for query, title in queries.items() if not ask(prometheus, query)}

    # A rate takes two looks at a counter.
    assert eventually(empty, lambda queries: not queries) == {}


def test_every_alert_is_understood_and_names_metrics_that_there_are(prometheus: str) -> None:
    (group,) = get(f"{prometheus}/api/v1/rules")["data"]["groups"]
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
    assert len(group["rules"]) == len(
        re.findall("- alert:", (CONFIGURATIONS / "prometheus" / "alerts.yaml").read_text())
    )
    named = {
        name
        for rule in group["rules"]
        for name in re.findall(r"\b(?:traces_span|causepath|otelcol)_\w+(?=[{\[(])", rule["query"])
    }
    known = set(get(f"{prometheus}/api/v1/label/__name__/values")["data"])
    assert {name for name in named if "_failed_" not in name} <= known
