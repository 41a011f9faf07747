"""Spans become metrics, and what we ship to look at them finds them: asked of a real Prometheus.

Each query of the dashboard is held to what the analyzer says of the same spans.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from genai_prices import data_snapshot

from tests.backends.hosts import REQUEST, ROUTE
from tests.backends.programs import CONFIGURATIONS, free_ports, program, started
from tests.backends.spans import SECRET, of_service, span
from tests.backends.stack import (
    CAUSEPATH,
    ROOT,
    Collector,
    Jaeger,
    attributes_of,
    collector_running,
    eventually,
    get,
    jaeger_running,
    report,
    start_python,
)
from tests.support.messages_api import messages_api_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.backends

DASHBOARD = CONFIGURATIONS / "grafana" / "dashboards" / "causepath.json"
ALERTS = CONFIGURATIONS / "prometheus" / "alerts.yaml"
AGENTS = {
    "demo": "examples/research_agent.py",
    "together": "examples/research_agent_async.py --together",
    "web": "-m tests.backends.hosts web",
    "silent": "-m tests.backends.hosts silent",
    "team": "-m tests.backends.hosts team",
    "frugal": "-m tests.backends.hosts frugal",
}
"""Services and what they run."""
RANGE = "1h"
SHOPS_CALLS = 'traces_span_metrics_calls_total{service_name="shop", causepath_category="llm"}'

Labels = tuple[str, ...]


def compose_command(service: str) -> list[str]:
    """Read the arguments that docker-compose.yml gives a service."""
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    command: list[str] = composed["services"][service]["command"]
    return command


@contextlib.contextmanager
def prometheus_running(folder: Path, collector: Collector, jaeger: Jaeger) -> Iterator[str]:
    """Run Prometheus as shipped, but that it finds the others here and asks every second."""
    shipped = CONFIGURATIONS / "prometheus"
    shutil.copytree(shipped, folder)
    text = (shipped / "prometheus.yaml").read_text().replace("15s", "1s")
    for target, url in {
        "collector:8889": collector.metrics_url,
        "collector:8888": collector.self_metrics_url,
        "jaeger:8888": jaeger.metrics_url,
    }.items():
        text = text.replace(target, url.removeprefix("http://").partition("/")[0])
    assert not re.search("(collector|jaeger):", text)
    (folder / "prometheus.yaml").write_text(text)
    (port,) = free_ports(1)
    arguments = [
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *(one for one in compose_command("prometheus") if one.startswith("--enable-feature")),
    ]
    url = f"http://127.0.0.1:{port}"
    with started("prometheus", arguments, {}, f"{url}/-/ready", folder / "prometheus.log"):
        yield url


@dataclass(frozen=True)
class Watched:
    """Prometheus after the agents have run, and the spans that they sent."""

    url: str
    jaeger: Jaeger
    traces: Path
    attributes: Mapping[str, Mapping[str, Any]]
    """Of each span, as the collector wrote them."""

    @cached_property
    def spans(self) -> list[dict[str, str]]:
        """The analyzer's row of each span."""
        written = self.traces / "spans.csv"
        command = [CAUSEPATH, "export", self.traces, "--to", "csv", "-o", written]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        with written.open() as lines:
            return list(csv.DictReader(lines))

    @cached_property
    def reported(self) -> list[dict[str, Any]]:
        """The analyzer's report of each trace."""
        found: list[dict[str, Any]] = report(self.traces)["traces"]
        return found

    def of(self, category: str, *services: str) -> list[dict[str, str]]:
        """The rows of a category."""
        wanted = services or AGENTS
        return [
            one
            for one in self.spans
            if (one["category"], one["service"] in wanted) == (category, True)
        ]

    @property
    def runs(self) -> list[dict[str, str]]:
        """The agents that no agent is around, and the requests that are runs themselves."""
        by_id = {one["span_id"]: one for one in self.spans}

        def above(one: dict[str, str] | None) -> Iterator[str]:
            while one := by_id.get(one["parent_id"] if one else ""):
                yield one["category"]

        requests = [
            one for one in self.spans if (one["name"], one["service"]) == (REQUEST, "silent")
        ]
        return [one for one in self.of("agent") if "agent" not in above(one)] + requests

    @property
    def inner(self) -> list[dict[str, str]]:
        """The other agents."""
        outer = {one["span_id"] for one in self.runs}
        return [one for one in self.of("agent") if one["span_id"] not in outer]


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


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Prometheus after the agents, and two times five drawn runs of a shop."""
    folder = tmp_path_factory.mktemp("metrics")
    with (
        jaeger_running(folder) as jaeger,
        collector_running(
            folder / "c",
            "jaeger",
            "metrics",
            jaeger=jaeger.otlp,
            METRICS_INTERVAL="1s",
            RUN_BUDGET="3s",
        ) as collector,
        prometheus_running(folder / "p", collector, jaeger) as url,
        messages_api_process("tests.backends.host_script:next_answer") as model,
    ):
        agents = []
        for service, command in AGENTS.items():
            variables = {
                "CAUSEPATH": "1",
                "OTEL_SERVICE_NAME": service,
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
            }
            host = [model] if "hosts" in command else []
            agents.append(start_python([*command.split(), *host], ROOT, variables))
        for sent in (5, 10):
            collector.send(runs(5))
            eventually(
                lambda: ask(url, f"sum({SHOPS_CALLS})"),
                lambda found, sent=sent: [value for _, value in found] == [float(sent)],
            )
        for agent in agents:
            _, errors = agent.communicate(timeout=120)
            assert (agent.returncode, errors) == (0, "")

        def counts() -> set[float]:
            calls = table(url, "sum(traces_span_metrics_calls_total)")
            prompts = table(url, "sum(causepath_tokens_input_total)")
            sent = [attributes_of(one) for one in collector.spans()]
            used = sum(int(one.get("gen_ai.usage.input_tokens", 0)) for one in sent)
            taken = collector.count("otelcol_receiver_accepted_spans")
            return {calls.get((), 0) - len(sent), prompts.get((), 0) - used, taken - len(sent)}

        assert eventually(counts, lambda found: found == {0}) == {0}
        attributes = {one["spanId"]: attributes_of(one) for one in collector.spans()}
        yield Watched(url, jaeger, collector.traces_file.parent, attributes)


def ask(url: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """The labels and values that Prometheus answers with."""
    found = get(f"{url}/api/v1/query", query=expression)["data"]["result"]
    return [(one["metric"], float(one["value"][1])) for one in found]


def table(url: str, expression: str) -> dict[Labels, float]:
    """The values by their labels, in the order of the labels' names."""
    return {
        tuple(value for _, value in sorted(labels.items())): value
        for labels, value in ask(url, expression)
    }


# What is asked, and the whole answer: the values of the labels in the order of their names.
COUNTS: list[tuple[str, dict[Labels, float]]] = [
    (
        (
            "sum by (causepath_category, status_code) "
            '(traces_span_metrics_calls_total{service_name="shop"})'
        ),
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
            "sum by (gen_ai_request_model) (traces_span_metrics_duration_seconds_sum"
            '{service_name="shop", causepath_category="llm"})'
        ),
        {("m-1",): 30},
    ),
    (
        (
            "sum by (error_type) "
            '(traces_span_metrics_calls_total{service_name="shop", error_type!=""})'
        ),
        {("429",): 10},
    ),
    *(
        (
            (
                "sum by (gen_ai_request_model, service_name) "
                f'(causepath_tokens_{kind}_total{{service_name="shop"}})'
            ),
            {("m-1", "shop"): 10 * each},
        )
        for kind, each in (
            ("input", 100),
            ("output", 10),
            ("cache_read", 40),
            ("cache_write", 5),
            ("unpriced", 110),
        )
    ),
]


@pytest.mark.parametrize(("expression", "answer"), COUNTS)
def test_spans_are_counted_once_by_category_model_tool_and_agent(
    watched: Watched, expression: str, answer: dict[Labels, float]
) -> None:
    assert table(watched.url, expression) == pytest.approx(answer)


# -- the dashboard

Bounds = tuple[float, float]
Answer = dict[Labels, float] | dict[Labels, Bounds]

BUCKETS = [
    0.01,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2,
    3,
    5,
    7,
    10,
    15,
    20,
    30,
    45,
    60,
    90,
    120,
    180,
    300,
    600,
    1800,
]
FIRST_TOKEN_BUCKETS = [0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 30, 60]


def seconds(row: Mapping[str, str], name: str = "duration_ns") -> float:
    """A time of a row."""
    return int(row[name]) / 1e9


def name_of(row: Mapping[str, str]) -> str:
    """The agent of a row."""
    return ROUTE if row["name"] == REQUEST else row["name"].removeprefix("invoke_agent ")


def outcome(row: Mapping[str, str]) -> str:
    return "failed" if row["error"] else "fine"


def number(row: Mapping[str, str], name: str) -> int:
    return int(row[name] or 0)


def total(
    rows: Iterable[Mapping[str, str]],
    *by: Callable[[Mapping[str, str]], str],
    of: Callable[[Mapping[str, str]], float] = lambda _: 1,
) -> dict[Labels, float]:
    """Add up the rows that have the same labels."""
    found: dict[Labels, float] = defaultdict(float)
    for row in rows:
        found[tuple(label(row) for label in by)] += of(row)
    return dict(found)


def ratio(above: dict[Labels, float], below: dict[Labels, float]) -> dict[Labels, float]:
    return {labels: above[labels] / value for labels, value in below.items() if labels in above}


def quantile(
    share: float,
    rows: Iterable[Mapping[str, str]],
    by: Callable[[Mapping[str, str]], str],
    *,
    time: str = "duration_ns",
    buckets: list[float] = BUCKETS,
) -> dict[Labels, Bounds]:
    """Find the bucket that has the quantile: its bounds are all that a histogram knows."""
    times: dict[Labels, list[float]] = defaultdict(list)
    for row in rows:
        times[by(row),].append(seconds(row, time))
    found = {}
    for labels, of_label in times.items():
        rank = max(1, -int(-share * len(of_label) // 1))
        at = sorted(of_label)[rank - 1]
        found[labels] = next(
            bounds for bounds in itertools.pairwise([0, *buckets, float("inf")]) if at <= bounds[1]
        )
    return found


def model(row: Mapping[str, str]) -> str:
    return row["model"]


def service(row: Mapping[str, str]) -> str:
    return row["service"]


def tool(row: Mapping[str, str]) -> str:
    return row["tool"]


def whole(value: float) -> dict[Labels, float]:
    return {(): value}


def prompt(row: Mapping[str, str]) -> int:
    return number(row, "input_tokens")


def started_runs(of: Watched) -> int:
    return len(of.runs)


def cost(of: Watched) -> float:
    return float(
        sum(Decimal(one["cost_usd"] or 0) for one in of.reported if one["service"] in AGENTS)
    )


def used(of: Watched) -> dict[str, float]:
    """The tokens with and without a price, by the analyzer's report."""
    found: dict[str, float] = defaultdict(float)
    for one in of.reported:
        if one["service"] in AGENTS:
            count = one["tokens"]["input"] + one["tokens"]["output"]
            found["all"] += count
            found["priced"] += count * (one["priced_share"] or 0)
    return found


def streamed(of: Watched) -> list[dict[str, str]]:
    return [one for one in of.of("llm") if one["ttft_ns"]]


def generated(of: Watched) -> dict[Labels, float]:
    """How long replies were written: to the last event, less what the reader held and the wait.

    As `causepath` has it: where nothing is left, the call shows no pace.
    """
    found: dict[Labels, float] = defaultdict(float)
    for one in paced(of):
        found[one["model"],] += wrote(of, one)
    return dict(found)


def wrote(of: Watched, one: Mapping[str, str]) -> float:
    told = of.attributes[one["span_id"]]
    last, held = (told[f"causepath.stream.{name}_ms"] / 1e3 for name in ("last_event", "held"))
    return min(last, seconds(one)) - held - seconds(one, "ttft_ns")


def paced(of: Watched) -> list[dict[str, str]]:
    return [one for one in streamed(of) if wrote(of, one) > 0]


def attempts(of: Watched) -> list[dict[str, str]]:
    return [one for one in of.of("retry") if one["name"] != "backoff"]


def frugal(of: Watched) -> list[dict[str, str]]:
    """The runs that the report calls over a budget of their own."""
    over = {one["trace_id"] for one in of.reported if one["over_budget"]}
    return [one for one in of.runs if one["trace_id"] in over]


def tokens_by_model(column: str) -> Callable[[Watched], Answer]:
    return lambda of: total(of.of("llm"), model, of=lambda row: number(row, column))


def firing(of: Watched) -> set[Labels]:
    """Say which alerts have to fire after these runs, with what they name."""
    retried = total(attempts(of), service)
    return {
        *(
            ("AgentRunsFail", *labels)
            for labels in total([one for one in of.runs if one["error"]], service)
        ),
        *(
            ("AgentRunsOverBudget", name_of(one), service(one))
            for one in of.runs
            if seconds(one) > OVER_BUDGET_SECONDS
        ),
        *(
            ("PromptsOverBudget", model(one), service(one))
            for one in of.of("llm")
            if prompt(one) > OVER_BUDGET_TOKENS
        ),
        *(("BudgetsUsedUp", *labels) for labels in total(frugal(of), name_of, service)),
        *(
            ("ModelCallsRetried", *labels)
            for labels, count in total(of.of("llm", *AGENTS, "shop"), service).items()
            if retried.get(labels, 0) >= 3 and retried[labels] / count > 0.2
        ),
        ("ModelCallsRetried", "shop"),
    }


OVER_BUDGET_SECONDS = 3
OVER_BUDGET_TOKENS = 50_000

# By the panel's title: the answer to each of its queries.
PANELS: dict[str, list[Callable[[Watched], Answer]]] = {
    "Runs": [lambda of: whole(started_runs(of))],
    "Runs that fail": [
        lambda of: whole(sum(outcome(one) == "failed" for one in of.runs) / len(of.runs))
    ],
    "Run time, mean": [lambda of: whole(sum(map(seconds, of.runs)) / len(of.runs))],
    "Run time, p95": [lambda _: {}],  # fewer than 20
    "Runs over budget": [
        lambda of: whole(sum(seconds(one) > OVER_BUDGET_SECONDS for one in of.runs))
    ],
    "Model calls over budget": [
        lambda of: whole(sum(prompt(one) > OVER_BUDGET_TOKENS for one in of.of("llm")))
    ],
    "Budgets of programs used up": [lambda of: whole(len(frugal(of)))],
    "Cost": [lambda of: whole(cost(of))],
    "Tokens with a price": [lambda of: whole(used(of)["priced"] / used(of)["all"])],
    "Cost of a run": [lambda of: whole(cost(of) / started_runs(of))],
    "Prompt tokens of a run": [lambda of: whole(sum(map(prompt, of.of("llm"))) / started_runs(of))],
    "Prompt tokens from caches": [
        lambda of: whole(
            sum(number(one, "cache_read_tokens") for one in of.of("llm"))
            / sum(map(prompt, of.of("llm")))
        )
    ],
    "First token, mean": [
        lambda of: whole(sum(seconds(one, "ttft_ns") for one in streamed(of)) / len(streamed(of)))
    ],
    "Failed attempts for a model call": [lambda of: whole(len(attempts(of)) / len(of.of("llm")))],
    "Alerts": [lambda of: dict.fromkeys(firing(of), 1.0)],
    "Services whose runs are not known": [lambda _: {}],
    "Runs by service": [lambda of: total(of.runs, service, outcome)],
    "Run time by agent": [
        lambda of, share=share: quantile(share, of.runs, name_of) for share in (0.5, 0.95)
    ],
    "Agents inside of runs, mean time": [
        lambda of: ratio(total(of.inner, name_of, of=seconds), total(of.inner, name_of))
    ],
    "Over budget, by agent": [
        lambda of: total([one for one in of.runs if seconds(one) > OVER_BUDGET_SECONDS], name_of),
        lambda of: total(frugal(of), name_of),
    ],
    "Time by category, sum of all spans": [
        lambda of: total(
            [
                one
                for one in of.spans
                if one["service"] in AGENTS and one["category"] not in ("agent", "other", "")
            ],
            lambda row: row["category"],
            of=seconds,
        )
    ],
    "Time by model": [
        lambda of, share=share: quantile(share, of.of("llm"), model) for share in (0.5, 0.95)
    ],
    "Calls by model": [lambda of: total(of.of("llm"), model, outcome)],
    "First token by model": [
        *(
            lambda of, share=share: quantile(
                share, streamed(of), model, time="ttft_ns", buckets=FIRST_TOKEN_BUCKETS
            )
            for share in (0.5, 0.95)
        ),
        lambda of: ratio(
            total(streamed(of), model, of=lambda row: seconds(row, "ttft_ns")),
            total(streamed(of), model),
        ),
    ],
    "Tokens per second by model": [
        lambda of: ratio(
            total(paced(of), model, of=lambda row: number(row, "output_tokens")), generated(of)
        )
    ],
    "Tokens by model": [
        tokens_by_model(column)
        for column in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    ],
    "Cost by model": [lambda of: whole(cost(of))],
    "Prompt tokens from caches, by model": [
        lambda of: ratio(
            total(of.of("llm"), model, of=lambda row: number(row, "cache_read_tokens")),
            total(of.of("llm"), model, of=prompt),
        )
    ],
    "Failed attempts, by service": [lambda of: total(attempts(of), service)],
    "Time by tool": [
        lambda of, share=share: quantile(share, of.of("tool"), tool) for share in (0.5, 0.95)
    ],
    "Calls by tool": [lambda of: total(of.of("tool"), tool, outcome)],
    "Spans received and sent": [
        lambda of: {("collector", "otlp"): len(of.spans), ("jaeger", "otlp"): len(of.spans)},
        lambda of: {
            ("file", "collector"): len(of.spans),
            ("otlp_grpc/jaeger", "collector"): len(of.spans),
            ("jaeger_storage_exporter", "jaeger"): len(of.spans),
        },
    ],
    "Spans lost": [lambda _: {}] * 3,
}
ASKED_BUT_NOT_COMPARED = {"Memory", "Spans that wait for Jaeger"}

PANELS_SHOWN = [
    panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"
]


def in_test(expression: str, interval: str = RANGE) -> str:
    """Put values into a query as Grafana does, with the whole time as one interval."""
    for variable, value in {
        "$__range": RANGE,
        "$__interval": interval,
        "$service": "|".join(AGENTS),
    }.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def asked(url: str, expression: str) -> dict[Labels, float]:
    """The values by their labels; whether a span is OK or says nothing is the same."""
    found: dict[Labels, float] = defaultdict(float)
    for labels, value in ask(url, in_test(expression)):
        if "status_code" in labels:
            failed = labels["status_code"] == "STATUS_CODE_ERROR"
            labels["status_code"] = "failed" if failed else "fine"
        found[tuple(of for _, of in sorted(labels.items()))] += value
    return dict(found)


def lost(url: str, expression: str) -> dict[Labels, float]:
    """Leave out what is 0: the programs count some failures before there is one."""
    return {labels: value for labels, value in asked(url, expression).items() if value}


def added_up(url: str, expression: str) -> dict[Labels, float]:
    """Add the values up: the report has the cost of a run, not of each model."""
    found = asked(url, expression)
    assert {model for (model,) in found} == {"claude-opus-5-5", "claude-haiku-4-5"}
    return whole(sum(found.values()))


LOOKS = {"Spans lost": lost, "Cost by model": added_up}


def test_every_panel_is_compared() -> None:
    titles = [panel["title"] for panel in PANELS_SHOWN]
    assert sorted(titles) == sorted({*PANELS, *ASKED_BUT_NOT_COMPARED})


@pytest.mark.parametrize("panel", PANELS_SHOWN, ids=lambda panel: panel["title"])
def test_a_panel_shows_what_the_analyzer_says_of_the_same_spans(
    watched: Watched, panel: dict[str, Any]
) -> None:
    queries = [target["expr"] for target in panel["targets"]]
    if panel["title"] in ASKED_BUT_NOT_COMPARED:
        assert all(asked(watched.url, query) for query in queries)
        return
    answers = [answer(watched) for answer in PANELS[panel["title"]]]
    assert len(queries) == len(answers)
    for query, answer in zip(queries, answers, strict=True):
        look = LOOKS.get(panel["title"], asked)
        found = eventually(
            lambda query=query, look=look: look(watched.url, query),
            lambda found, answer=answer: set(found) == set(answer),
            seconds=10,
        )
        if any(isinstance(value, tuple) for value in answer.values()):
            assert {
                labels: answer[labels]
                for labels, value in found.items()
                if not answer[labels][0] <= value <= answer[labels][1]
            } == {}
            assert set(found) == set(answer)
        else:
            assert found == pytest.approx(answer, rel=1e-6)


DRAWN_COUNTS = [
    target["expr"]
    for panel in PANELS_SHOWN
    for target in panel["targets"]
    if re.fullmatch(
        r"sum by \([\w, ]+\) \(increase\([^/]+\[\$__interval\] anchored\)\)", target["expr"]
    )
]


def test_the_steps_of_a_drawn_count_add_up_to_what_is_counted(watched: Watched) -> None:
    """Of an agent that ran once, too: no event falls between two points."""
    assert len(DRAWN_COUNTS) == 12
    step_seconds = 15
    end = time.time() // step_seconds * step_seconds + step_seconds
    for expression in DRAWN_COUNTS:
        found = get(
            f"{watched.url}/api/v1/query_range",
            query=in_test(expression, f"{step_seconds}s"),
            start=end - 3_600,
            end=end,
            step=step_seconds,
        )["data"]["result"]
        added_up = {
            tuple(of for _, of in sorted(one["metric"].items())): sum(
                float(value) for _, value in one["values"]
            )
            for one in found
        }
        assert added_up == pytest.approx(table(watched.url, in_test(expression))), expression


def test_budgets_that_a_program_has_used_up_are_counted(tmp_path: Path) -> None:
    kinds = {"causepath.budget.exceeded": ["tokens", "wall"], "gen_ai.agent.name": "a"}
    over = span("invoke_agent a", 1, {"causepath.category": "agent", **kinds})
    kept = span("invoke_agent b", 1, {"causepath.category": "agent", "gen_ai.agent.name": "b"})
    with collector_running(tmp_path, "metrics", METRICS_INTERVAL="1s") as collector:
        collector.send(of_service("s", over, kept))

        def counted() -> list[tuple[str, str]]:
            with urllib.request.urlopen(collector.metrics_url, timeout=10) as answer:
                text = answer.read().decode()
            labels = r'gen_ai_agent_name="(\w+)"'
            return re.findall(
                rf"(?m)^causepath_budgets_exceeded_total{{.*{labels}.*}} (\S+)$", text
            )

        assert eventually(counted, bool) == [("a", "1")]


def test_a_counter_begins_at_0_so_that_its_first_event_counts(watched: Watched) -> None:
    for counter in (
        'traces_span_metrics_calls_total{service_name="web", status_code="STATUS_CODE_ERROR"}',
        'causepath_tokens_input_total{service_name="shop"}',
        'causepath_first_token_seconds_count{service_name="web", gen_ai_request_model="house-1"}',
    ):
        (found,) = get(f"{watched.url}/api/v1/query", query=f"{counter}[1h]")["data"]["result"]
        values = [float(value) for _, value in found["values"]]
        # The 0 comes second where a scrape began in the moment of the first event.
        assert 0 in values[:2]
        assert table(watched.url, f"sum(increase({counter}[1h] anchored))") == {(): values[-1]}
        assert values[-1] > 0


def test_a_collector_that_is_started_again_loses_no_count(tmp_path: Path, jaeger: Jaeger) -> None:
    with (
        collector_running(tmp_path / "c", "metrics", METRICS_INTERVAL="1s") as collector,
        prometheus_running(tmp_path / "p", collector, jaeger) as url,
    ):

        def counted() -> list[float]:
            counters = (SHOPS_CALLS, "causepath_tokens_input_total")
            return [
                value
                for counter in counters
                for _, value in ask(url, f"sum(increase({counter}[1h] anchored))")
            ]

        collector.send(runs(5))
        assert eventually(counted, [5, 500].__eq__) == [5, 500]
        collector.running.stop()
        collector.running.restart()
        collector.running.wait_until_ready(collector.health_url)
        collector.send(runs(5))
        assert eventually(counted, [10, 1_000].__eq__) == [10, 1_000]


USUAL: dict[str, object] = {
    "causepath.category": "llm",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-opus-5-5",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 10,
}
ODD: list[tuple[dict[str, object], float]] = [
    # What differs from the usual call, and the prompt tokens that are counted of it.
    ({}, 100),
    ({"gen_ai.usage.input_tokens": "100"}, 100),
    ({"gen_ai.usage.input_tokens": "many"}, 0),
    ({"gen_ai.usage.cache_read.input_tokens": 500}, 100),
    ({"gen_ai.request.model": 'm\n"x\\\0é'}, 100),
    ({"gen_ai.request.model": "x" * 100_000}, 100),
    ({"gen_ai.request.model": ["a", "b"]}, 100),
    ({"gen_ai.response.time_to_first_chunk": "soon"}, 100),
    ({"causepath.turn": "first"}, 100),
    ({"gen_ai.provider.name": ["anthropic"]}, 100),
    ({"causepath.category": ["llm"]}, 0),
    ({"causepath.category": 7}, 0),
]


def test_odd_spans_are_counted_and_disturb_no_other(tmp_path: Path) -> None:
    calls = [span("chat", 1, {**USUAL, **odd}) for odd, _ in ODD]
    backwards = span("chat", -1, USUAL)
    nameless = {"resource": {}, "scopeSpans": [{"spans": [span("chat", 1, USUAL)]}]}
    with collector_running(tmp_path, "metrics", METRICS_INTERVAL="1s") as collector:
        collector.send(of_service("s", *calls, backwards), nameless)

        def counted() -> dict[str, float]:
            with urllib.request.urlopen(collector.metrics_url, timeout=10) as answer:
                text = answer.read().decode()
            return {
                name: sum(float(n) for n in re.findall(rf"(?m)^{name}{{.*}} (\S+)$", text))
                for name in (
                    "traces_span_metrics_calls_total",
                    "causepath_tokens_input_total",
                    "causepath_cost_usd_total",
                )
            }

        # Of the usual one, three that are as good, the backward and the nameless one.
        dear = 6 * (100 * 4 + 10 * 20) / 1e6
        expected = [len(ODD) + 2, sum(tokens for _, tokens in ODD) + 200, dear]
        found = eventually(counted, lambda found: [*found.values()][:2] == expected[:2])
        assert [*found.values()] == pytest.approx(expected)


def test_names_without_end_are_counted_as_one_and_what_is_too_much_is_told(
    tmp_path: Path,
) -> None:
    named = [span(f"GET /users/{number}", 1, {}) for number in range(500)]
    tool = {"causepath.category": "tool"}
    tools = [
        span(f"execute_tool {number}", 1, {**tool, "gen_ai.tool.name": f"{number}"})
        for number in range(3_000)
    ]
    with collector_running(tmp_path, "metrics", METRICS_INTERVAL="1s") as collector:

        def counted() -> dict[str, int]:
            with urllib.request.urlopen(collector.metrics_url, timeout=10) as answer:
                text = answer.read().decode()
            lines = re.findall(r"(?m)^traces_span_metrics_calls_total{(.*)} (\S+)$", text)
            found: dict[str, int] = defaultdict(int)
            for labels, count in lines:
                name = re.findall(r'otel_metric_overflow|span_name="(\w+)', labels)[0]
                found[name or "overflow"] += int(float(count))
            return dict(found)

        collector.send(of_service("s", *named))
        assert eventually(counted, {"other": 500}.__eq__) == {"other": 500}
        for start in range(0, len(tools), 1_000):
            collector.send(of_service("s", *tools[start : start + 1_000]))
        found = eventually(counted, lambda found: sum(found.values()) == 3_500)
        assert found["other"] == 500
        assert 900 < found["overflow"] <= 1_001

        def refused() -> int:
            with urllib.request.urlopen(collector.self_metrics_url, timeout=10) as answer:
                text = answer.read().decode()
            return sum(
                int(float(count))
                for count in re.findall(
                    r'(?m)^otelcol_deltatocumulative_datapoints_total{.*error="limit".*} (\S+)$',
                    text,
                )
            )

        # Each of these is four counters: tokens of both kinds, without a price, and a first turn.
        call = {**USUAL, "gen_ai.provider.name": "house", "causepath.turn": 1}
        models = [
            span("chat", 1, {**call, "gen_ai.request.model": f"m-{number}"})
            for number in range(3_000)
        ]
        for start in range(0, len(models), 1_000):
            collector.send(of_service("s", *models[start : start + 1_000]))
        assert eventually(refused, (4 * 3_000 - 10_000).__eq__) == 4 * 3_000 - 10_000


@pytest.mark.parametrize("pipeline", ["jaeger", "privacy", "sampling"])
def test_nothing_that_was_said_is_in_metrics_or_logs(tmp_path: Path, pipeline: str) -> None:
    names = [
        "gen_ai.request.model",
        "gen_ai.tool.name",
        "gen_ai.agent.name",
        "error.type",
        "gen_ai.provider.name",
        "gen_ai.input.messages",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
        "gen_ai.response.time_to_first_chunk",
        "causepath.stream.last_event_ms",
        "causepath.stream.held_ms",
        "causepath.generation_s",
        "causepath.cost_usd",
        "causepath.turn",
    ]
    said = f'"{SECRET}", they said:\n' * 9
    categories = ["agent", "llm", "tool", "retry", "other", said]
    spans = [
        span(
            said,
            1,
            {"causepath.category": category, **dict.fromkeys(names, said)},
            failed=True,
            events={"exception": {"exception.message": said}},
        )
        for category in categories
    ]
    with collector_running(tmp_path, pipeline, "metrics", METRICS_INTERVAL="1s") as collector:
        collector.send(of_service("s", *spans))

        def metrics() -> str:
            with urllib.request.urlopen(collector.metrics_url, timeout=10) as answer:
                text: str = answer.read().decode()
            return text

        counted = r"(?m)^traces_span_metrics_calls_total{"
        found = eventually(
            metrics, lambda text: len(re.findall(counted, text)) == len(categories) - 1
        )
        assert len(re.findall(counted, found)) == len(categories) - 1  # two are "other"
        assert SECRET not in found
        with urllib.request.urlopen(collector.self_metrics_url, timeout=10) as answer:
            assert SECRET not in answer.read().decode()
        collector.running.stop()
        assert SECRET not in collector.running.log.read_text()


def test_a_point_of_the_dashboard_leads_to_its_trace_in_jaeger(watched: Watched) -> None:
    drawn = [
        in_test(target["expr"])
        for panel in PANELS_SHOWN
        for target in panel["targets"]
        if target.get("exemplar")
    ]
    assert len(drawn) == 6
    now = time.time()
    for query in drawn:
        found = get(
            f"{watched.url}/api/v1/query_exemplars", query=query, start=now - 3600, end=now
        )["data"]
        ids = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
        assert ids
        for trace_id in ids:
            (trace,) = get(f"{watched.jaeger.url}/api/traces/{trace_id}")["data"]
            assert trace["traceID"] == trace_id
    datasources = yaml.safe_load(
        (CONFIGURATIONS / "grafana" / "datasources" / "prometheus.yaml").read_text()
    )["datasources"]
    (destination,) = datasources[0]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination == {"name": "trace_id", "datasourceUid": datasources[1]["uid"]}


# -- alerts


def test_each_alert_is_tried_both_firing_and_silent(tmp_path: Path) -> None:
    cases = yaml.safe_load((ROOT / "tests" / "backends" / "alert_cases.yaml").read_text())
    cases["rule_files"] = [str(ALERTS)]
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases))
    done = subprocess.run(
        [program("promtool"), "test", "rules", tmp_path / "cases.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    tried: dict[bool, set[str]] = {True: set(), False: set()}
    for case in cases["tests"]:
        for one in case["alert_rule_test"]:
            tried[bool(one["exp_alerts"])].add(one["alertname"])
    alerts = {rule["alert"] for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
    assert tried == {True: alerts, False: alerts}


# -- prices

USED = {"input": 1_000, "output": 100, "cache_read.input": 200, "cache_write.input": 50}


def call_of(provider: str, model: str) -> dict[str, Any]:
    """Draw a run of one call of a model."""
    attributes: dict[str, object] = {
        "causepath.category": "llm",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        **{f"gen_ai.usage.{kind}_tokens": count for kind, count in USED.items()},
    }
    if provider == "anthropic":
        attributes["anthropic.usage.cache_creation.ephemeral_1h_input_tokens"] = 20
    return of_service(model, span(f"chat {model}", 1, attributes))


def test_a_call_costs_what_the_analyzer_says_or_nothing_is_said(tmp_path: Path) -> None:
    """Each model that the analyzer lists of two providers, also with dates, and one elsewhere."""
    listed = {
        (provider.id, name)
        for provider in data_snapshot.get_snapshot().providers
        if provider.id in ("anthropic", "openai")
        for model in provider.models
        for name in (model.id, f"{model.id}-20260101", f"{model.id}-2026-01-01", f"{model.id}-mini")
    }
    assert len(listed) > 100
    calls = [call_of(*one) for one in [*sorted(listed), ("aws.bedrock", "a-model-of-ours")]]
    with collector_running(tmp_path, "jaeger", "metrics", METRICS_INTERVAL="1s") as collector:
        collector.send(*calls)
        eventually(collector.spans, lambda spans: len(spans) == len(calls))

        def metric(name: str) -> dict[str, float]:
            with urllib.request.urlopen(collector.metrics_url, timeout=10) as answer:
                text = answer.read().decode()
            found = re.findall(rf'(?m)^{name}{{.*service_name="([^"]+)".*}} (\S+)$', text)
            return {model: float(value) for model, value in found}

        unpriced = eventually(
            lambda: metric("causepath_tokens_unpriced_total"),
            lambda found: len(found) + len(metric("causepath_cost_usd_total")) >= len(calls),
        )
        priced = metric("causepath_cost_usd_total")
        reported = report(collector.traces_file.parent)["traces"]
    said = {one["service"]: one["cost_usd"] for one in reported}
    assert {model: said[model] and float(said[model]) for model in priced} == pytest.approx(priced)
    assert len(priced) > 20
    assert set(priced) | set(unpriced) == set(said)
