"""`make stack`: a page to look at without Docker, and Jaeger's own where its files are given."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.programs import CONFIGURATIONS, PHOENIX_START_SECONDS, free_ports
from tests.backends.stack import ROOT, attributes_of, eventually, get, start_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.backends

ENDPOINTS = [
    "OTLP_GRPC_ENDPOINT",
    "OTLP_HTTP_ENDPOINT",
    "HEALTH_ENDPOINT",
    "JAEGER_OTLP_ENDPOINT",
    "JAEGER_OTLP_HTTP_ENDPOINT",
    "JAEGER_UI_ENDPOINT",
    "JAEGER_GRPC_ENDPOINT",
    "JAEGER_HEALTH_ENDPOINT",
    "PHOENIX_ENDPOINT",
    "PHOENIX_UI_ENDPOINT",
]


def start_stack(folder: Path, **more: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start `make stack` on free ports; the process and its variables."""
    *ports, collector_metrics, jaeger_metrics = free_ports(len(ENDPOINTS) + 2)
    variables = {name: f"127.0.0.1:{port}" for name, port in zip(ENDPOINTS, ports, strict=True)} | {
        "SELF_METRICS_PORT": str(collector_metrics),
        "JAEGER_METRICS_PORT": str(jaeger_metrics),
        "TRACES_FILE": str(folder / "traces" / "traces.jsonl"),
        **more,
    }
    variables["JAEGER_ENDPOINT"] = variables["JAEGER_OTLP_ENDPOINT"]
    kept = {name: of for name, of in os.environ.items() if not name.startswith(("OTEL_", "JAEGER"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.backends.programs", "stack"],
        cwd=ROOT,
        env=kept | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, variables


@contextlib.contextmanager
def stack_running(folder: Path, **more: str) -> Iterator[Mapping[str, str]]:
    """Run `make stack` until the block ends; its variables and what it printed."""
    for _ in range(3):  # a port that was free may be somebody's by then
        process, variables = start_stack(folder, **more)
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:  # it gives up itself where a program does not start
            printed += line
            if line.startswith("until"):
                break
        if " is in use: " not in printed:
            break
    try:
        assert process.poll() is None, printed
        yield variables | {"printed": printed}
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(60)
        process.stdout.close()
    assert status == 0


def page(url: str) -> str:
    """Fetch the text at `url`."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.timeout(PHOENIX_START_SECONDS + 120)
def test_without_docker_a_run_is_seen_in_phoenix_jaeger_and_files(tmp_path: Path) -> None:
    with stack_running(tmp_path, PIPELINE="privacy") as stack:
        phoenix = f"http://{stack['PHOENIX_UI_ENDPOINT']}"
        assert f"the page of Phoenix: {phoenix}" in stack["printed"]
        variables = {
            "CAUSEPATH": "1",
            "OTEL_SERVICE_NAME": "seen",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{stack['OTLP_HTTP_ENDPOINT']}",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only",
        }
        agent = start_python([ROOT / "examples" / "research_agent.py"], tmp_path, variables)
        printed, errors = agent.communicate(timeout=120)
        assert (agent.returncode, errors) == (0, "")

        # The page, and a program that it loads.
        text = page(phoenix)
        assert "<title>Phoenix</title>" in text
        (script, *_) = re.findall(r'src="(/assets/[^"]+\.js)"', text)
        assert len(page(phoenix + script)) > 10_000

        def shown() -> list[dict[str, Any]]:
            spans: list[dict[str, Any]] = get(f"{phoenix}/v1/projects/default/spans", limit=100)[
                "data"
            ]
            return spans

        def in_jaeger() -> list[dict[str, Any]]:
            traces = get(f"http://{stack['JAEGER_UI_ENDPOINT']}/api/traces", service="seen")["data"]
            return [span for trace in traces for span in trace["spans"]]

        def in_files() -> list[dict[str, Any]]:
            return [
                span
                for path in (tmp_path / "traces").glob("*.jsonl")
                for line in path.read_text().split("\n")[:-1]
                for resource in json.loads(line)["resourceSpans"]
                for scope in resource["scopeSpans"]
                for span in scope["spans"]
            ]

        spans, kept, written = (
            eventually(place, lambda found: len(found) == 10, seconds=60)
            for place in (shown, in_jaeger, in_files)
        )
        names = sorted(span["operationName"] for span in kept)
        # In Phoenix they are called as its page has room for.
        bare = {"research_agent", "search_web", "search_papers", "fetch_page"}
        assert {span["name"] for span in spans} - bare == {
            *(f"{turn} claude-opus-5-5" for turn in (1, 2, 3)),
            *("attempt 1: 429", "backoff", "attempt 2"),
        }
        assert sorted(span["name"] for span in written) == names
        # Tokens are where Phoenix looks for them.
        told = {
            span["context"]["span_id"]: span["attributes"].get("llm.token_count.prompt")
            for span in spans
        }
        for span in written:
            tokens = attributes_of(span).get("gen_ai.usage.input_tokens")
            assert told[span["spanId"]] == (None if tokens is None else int(tokens))
        # What the pipeline takes out goes nowhere.
        (question, *_) = printed.splitlines()
        assert question[:40] not in json.dumps(spans)


# As the page's own: the server puts the configuration in the place of `DEFAULT_CONFIG`.
INDEX = """\
<!doctype html><html><head><title>Jaeger UI</title><script>
function getJaegerUiConfig() {
  const DEFAULT_CONFIG = null;
  const JAEGER_CONFIG = DEFAULT_CONFIG;
  return JAEGER_CONFIG;
}
</script></head><body></body></html>
"""


def test_jaegers_own_page_is_shown_where_its_files_are_given(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "index.html").write_text(INDEX)
    with stack_running(tmp_path, JAEGER_ASSETS=str(assets)) as stack:
        jaeger = f"http://{stack['JAEGER_UI_ENDPOINT']}"
        assert f"the page of Jaeger: {jaeger}" in stack["printed"]
        (configured,) = re.findall(r"JAEGER_CONFIG\s*=\s*(\{.*?\});", page(jaeger), re.DOTALL)
    assert json.loads(configured) == json.loads((CONFIGURATIONS / "jaeger" / "ui.json").read_text())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_while_it_starts_ends_everything_without_a_word(
    tmp_path: Path, how: signal.Signals
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "index.html").write_text(INDEX)
    process, _ = start_stack(tmp_path, JAEGER_ASSETS=str(assets))
    # It makes the folder right before it starts the programs.
    eventually((tmp_path / "traces").exists, bool)
    process.send_signal(how)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in said
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # of somebody else, or over
            assert str(tmp_path).encode() not in place.read_bytes()


def test_jaegers_page_shows_first_what_matters_of_a_model_call() -> None:
    """Tags in the order in which the page puts them: by the first prefix, then by name."""
    configured = json.loads((CONFIGURATIONS / "jaeger" / "ui.json").read_text())
    prefixes = configured["topTagPrefixes"]

    def place(tag: str) -> tuple[int, str]:
        matching = [number for number, prefix in enumerate(prefixes) if tag.startswith(prefix)]
        return (min(matching, default=len(prefixes)), tag)

    tags = {
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
        "causepath.category",
        "causepath.cost_usd",
        "causepath.input.blocks",
        "causepath.turn",
        "code.file.path",
        "gen_ai.request.model",
        "gen_ai.response.finish_reasons",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "server.address",
    }
    assert sorted(tags, key=place) == [
        "causepath.turn",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.response.finish_reasons",
        "causepath.cost_usd",
        "gen_ai.request.model",
        "code.file.path",
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens",
        "causepath.category",
        "causepath.input.blocks",
        "server.address",
    ]
    assert configured["monitor"] == {"menuEnabled": False}
    dashboard = json.loads(
        (CONFIGURATIONS / "grafana" / "dashboards" / "causepath.json").read_text()
    )
    (entry, _) = configured["menu"]
    assert entry["url"] == f"http://localhost:3000/d/{dashboard['uid']}"
