"""The shipped pipelines under way on free ports, and what can be asked of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from tests.backends.programs import CONFIGURATIONS, Running, free_ports, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
CAUSEPATH = Path(sysconfig.get_path("scripts")) / "causepath"
SETTLE_SECONDS = 30

Found = TypeVar("Found")


def eventually(
    ask: Callable[[], Found], good: Callable[[Found], bool], seconds: float = SETTLE_SECONDS
) -> Found:
    """Give what `ask` gives once it is good, or after some seconds as it is then."""
    deadline = time.monotonic() + seconds
    while not good(found := ask()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def get(url: str, **parameters: object) -> Any:
    """The JSON at `url`."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=30) as answer:
        return json.load(answer)


def post_spans(url: str, resource_spans: Sequence[Mapping[str, Any]]) -> None:
    """Send spans as OTLP/JSON to what takes OTLP over HTTP at `url`."""
    request = urllib.request.Request(
        f"{url}/v1/traces",
        json.dumps({"resourceSpans": resource_spans}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


@dataclass(frozen=True)
class Jaeger:
    """Jaeger under way."""

    running: Running
    url: str
    otlp: str
    otlp_http: str
    metrics_url: str

    def send(self, *resource_spans: Mapping[str, Any]) -> None:
        """Send spans as OTLP/JSON, past the collector."""
        post_spans(self.otlp_http, resource_spans)

    def traces(self, service: str, limit: int = 100) -> list[dict[str, Any]]:
        """The traces of a service, in the form of the API of the page."""
        found: list[dict[str, Any]] = get(f"{self.url}/api/traces", service=service, limit=limit)[
            "data"
        ]
        return found


@dataclass(frozen=True)
class Collector:
    """The collector under way."""

    running: Running
    http: str
    grpc: str
    traces_file: Path
    metrics_url: str
    self_metrics_url: str
    health_url: str

    def send(self, *resource_spans: Mapping[str, Any]) -> None:
        """Send spans as OTLP/JSON."""
        post_spans(self.http, resource_spans)

    def spans(self) -> list[dict[str, Any]]:
        """The spans in its files, each with the name of its service.

        A last line without an end is still being written.
        """
        return [
            {**span, "service": service_of(resource)}
            for path in self.traces_file.parent.glob("*.jsonl")
            for line in path.read_text().split("\n")[:-1]
            for resource in json.loads(line)["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def count(self, metric: str) -> int:
        """The sum of one of its metrics about itself, e.g. `otelcol_receiver_accepted_spans`."""
        with urllib.request.urlopen(self.self_metrics_url, timeout=10) as answer:
            text = answer.read().decode()
        return sum(
            int(float(n)) for n in re.findall(rf"(?m)^{metric}(?:_total)?{{.*}} (\S+)$", text)
        )


def service_of(resource: Mapping[str, Any]) -> str:
    """The name of the service in an OTLP/JSON resource."""
    found = attributes_of(resource["resource"]).get("service.name")
    return str(found)


def attributes_of(span: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an OTLP/JSON span or resource."""
    return {
        attribute["key"]: next(iter(attribute["value"].values()), None)
        for attribute in span.get("attributes", ())
    }


@contextlib.contextmanager
def jaeger_running(folder: Path, *beside: str, **more: str) -> Iterator[Jaeger]:
    """Run Jaeger as docker-compose.yml does, with other configurations beside it."""
    *ports, metrics = free_ports(6)
    otlp, otlp_http, ui, grpc, health = (f"127.0.0.1:{port}" for port in ports)
    variables = {
        "JAEGER_OTLP_ENDPOINT": otlp,
        "JAEGER_OTLP_HTTP_ENDPOINT": otlp_http,
        "JAEGER_UI_ENDPOINT": ui,
        "JAEGER_GRPC_ENDPOINT": grpc,
        "JAEGER_HEALTH_ENDPOINT": health,
        "JAEGER_METRICS_HOST": "127.0.0.1",
        "JAEGER_METRICS_PORT": str(metrics),
        "JAEGER_UI_CONFIG": str(CONFIGURATIONS / "jaeger" / "ui.json"),
        **more,
    }
    configurations = [CONFIGURATIONS / "jaeger" / f"{name}.yaml" for name in ("config", *beside)]
    with started(
        "jaeger",
        [f"--config={path}" for path in configurations],
        variables,
        f"http://{health}/status",
        folder / "jaeger.log",
    ) as running:
        yield Jaeger(
            running,
            f"http://{ui}",
            otlp,
            f"http://{otlp_http}",
            f"http://127.0.0.1:{metrics}/metrics",
        )


@contextlib.contextmanager
def collector_running(
    folder: Path, *configurations: str, jaeger: str = "127.0.0.1:9", **variables: str
) -> Iterator[Collector]:
    """The collector with pipelines as we ship them. Without a Jaeger it finds none."""
    folder.mkdir(exist_ok=True)
    grpc, http, health, self_metrics, metrics = free_ports(5)
    traces_file = folder / "traces" / "traces.jsonl"
    variables = {
        "OTLP_GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
        "OTLP_HTTP_ENDPOINT": f"127.0.0.1:{http}",
        "HEALTH_ENDPOINT": f"127.0.0.1:{health}",
        "SELF_METRICS_HOST": "127.0.0.1",
        "SELF_METRICS_PORT": str(self_metrics),
        "METRICS_ENDPOINT": f"127.0.0.1:{metrics}",
        "JAEGER_ENDPOINT": jaeger,
        "TRACES_FILE": str(traces_file),
        **variables,
    }
    arguments = [f"--config={CONFIGURATIONS / name}.yaml" for name in configurations]
    with started(
        "otelcol", arguments, variables, f"http://127.0.0.1:{health}", folder / "otelcol.log"
    ) as running:
        yield Collector(
            running,
            f"http://127.0.0.1:{http}",
            f"http://127.0.0.1:{grpc}",
            traces_file,
            f"http://127.0.0.1:{metrics}/metrics",
            f"http://127.0.0.1:{self_metrics}/metrics",
            f"http://127.0.0.1:{health}",
        )


def start_python(
    arguments: Sequence[object], folder: Path, variables: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Python with `arguments` in `folder`, with nothing in the environment but what is given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "CAUSEPATH", "ANTHROPIC_"))
    }
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**kept, **variables},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def report(*inputs: Path | str) -> Any:
    """What `causepath --json` says of files, folders or an address."""
    command = [str(CAUSEPATH), *map(str, inputs), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120)
    return json.loads(done.stdout)
