"""The plugin and its extras beside several releases of OpenTelemetry, each in its environment."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tomllib

from tests.plugin.test_ways_in import CALL, OWN_SETUP, TREE, tree
from tests.support.messages_api import MessagesApi
from tests.support.script import Reply, Usage
from tests.support.traced_programs import plain_environment

pytestmark = [pytest.mark.opentelemetry, pytest.mark.timeout(60)]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "traced_research_agent.py"
SETS = ("oldest", "newest", "mixed")


def python(release: str, *arguments: str, cwd: Path, **variables: str) -> tuple[str, str]:
    done = subprocess.run(
        [ROOT / ".sdk" / f"opentelemetry-{release}" / "bin" / "python", *arguments],
        env=plain_environment(PYTHONPATH=str(ROOT / "src"), **variables),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def spans(path: Path) -> list[dict[str, Any]]:
    return [
        span
        for line in lines(path)
        for resource in line["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


@pytest.mark.parametrize("release", SETS)
def test_the_extras_can_be_installed_beside_it(release: str, tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["auto"], *extras["otlp"]]
    versions = (
        "import importlib.metadata as m, json\n"
        "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
    )
    installed = json.loads(python(release, "-c", versions, cwd=tmp_path)[0])
    packaging = pytest.importorskip("packaging.requirements")
    for requirement in map(packaging.Requirement, wanted):
        assert requirement.specifier.contains(installed[requirement.name], prereleases=True)


@pytest.mark.parametrize("release", SETS)
def test_an_agent_is_written_to_the_file(release: str, tmp_path: Path) -> None:
    printed, said = python(release, str(EXAMPLE), cwd=tmp_path)
    path = tmp_path / "causepath-traces.jsonl"
    assert said == f"causepath: 10 spans written to {path}\n"
    assert printed
    assert tree(spans(path)) == TREE


class Collector(BaseHTTPRequestHandler):
    received: list[bytes]

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as inherited)
        """Nothing."""


@pytest.mark.parametrize("release", SETS)
def test_an_agent_is_sent_to_a_collector(release: str, tmp_path: Path) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    handler = type("Handler", (Collector,), {"received": []})
    with (
        MessagesApi(Reply("Hello.", usage=Usage(3, 2))) as api,
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        code = "import causepath.auto\n" + CALL.format(url=api.url)
        _, said = python(release, "-c", code, cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        server.shutdown()
    requests = [ExportTraceServiceRequest.FromString(body) for body in handler.received]
    assert said == ""
    names = [
        span.name
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert names == ["chat m", "invoke_agent"]
    assert not (tmp_path / "causepath-traces.jsonl").exists()


@pytest.mark.parametrize("release", SETS)
def test_an_applications_own_provider_is_used(release: str, tmp_path: Path) -> None:
    with MessagesApi(Reply("Hello.", usage=Usage(3, 2))) as api:
        code = OWN_SETUP + "import causepath.auto\n" + CALL.format(url=api.url)
        printed, said = python(release, "-c", code, cwd=tmp_path)
    assert said == ""
    assert printed.splitlines() == ["chat m llm", "invoke_agent agent"]
