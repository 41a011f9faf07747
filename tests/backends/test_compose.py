"""docker-compose.yml, as Docker Compose itself reads it, and the configurations that it mounts."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.backends.programs import CONFIGURATIONS, defaults, program, versions
from tests.backends.stack import ROOT

pytestmark = pytest.mark.backends

PIPELINES = ["jaeger", "privacy", "sampling", "metrics"]


def composed(**variables: str) -> dict[str, Any]:
    """The services as Compose understands them."""
    done = subprocess.run(
        [program("compose"), "-format", "json", "docker-compose.yml"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_what_runs_where() -> None:
    services = composed()
    pinned = versions()
    assert {name: service["image"] for name, service in services.items()} == {
        "collector": f"otel/opentelemetry-collector-contrib:{pinned['COLLECTOR_VERSION']}",
        "jaeger": f"jaegertracing/jaeger:{pinned['JAEGER_VERSION']}",
        "prometheus": f"prom/prometheus:v{pinned['PROMETHEUS_VERSION']}",
        "grafana": f"grafana/grafana:{pinned['GRAFANA_VERSION']}",
    }
    assert {name: service.get("profiles", []) for name, service in services.items()} == {
        "collector": [],
        "jaeger": [],
        "prometheus": ["metrics"],
        "grafana": ["metrics"],
    }
    # To this machine only.
    assert {
        (name, port["host_ip"], port["published"], port["target"])
        for name, service in services.items()
        for port in service["ports"]
    } == {
        ("collector", "127.0.0.1", "4317", 4317),
        ("collector", "127.0.0.1", "4318", 4318),
        ("jaeger", "127.0.0.1", "16686", 16686),
        ("jaeger", "127.0.0.1", "14318", 4318),
        ("prometheus", "127.0.0.1", "9090", 9090),
        ("grafana", "127.0.0.1", "3000", 3000),
    }


def test_what_is_mounted_and_named_is_there() -> None:
    for pipeline in PIPELINES:
        for service in composed(PIPELINE=pipeline).values():
            mounted = {
                volume["target"]: Path(volume["source"])
                for volume in service["volumes"]
                if volume["type"] == "bind"
            }
            assert all(source.is_dir() for source in mounted.values())
            for argument in service.get("command", []):
                _, _, named = argument.partition("=")
                for target, source in mounted.items():
                    if named.startswith(target):
                        assert (source / named.removeprefix(target).lstrip("/")).is_file()


def test_every_variable_that_compose_sets_is_one_of_a_configuration() -> None:
    services = composed()
    known = set().union(*(defaults(CONFIGURATIONS / f"{name}.yaml") for name in PIPELINES))
    assert set(services["collector"]["environment"]) <= known
    of_jaeger = defaults(CONFIGURATIONS / "jaeger" / "config.yaml")
    assert set(services["jaeger"]["environment"]) == set(of_jaeger)


def test_services_name_each_other_by_the_ports_they_listen_on() -> None:
    services = composed()
    listening = {
        f"{name}:{endpoint.rpartition(':')[2]}"
        for name in ("collector", "jaeger")
        for endpoint in services[name]["environment"].values()
        if endpoint and endpoint.startswith("0.0.0.0:")
    } | {"collector:8888", "prometheus:9090"}
    texts = [path.read_text() for path in CONFIGURATIONS.rglob("*.yaml")]
    texts.append(services["collector"]["environment"]["JAEGER_ENDPOINT"])
    named = {
        name
        for text in texts
        for name in re.findall(r"\b(?:collector|jaeger|prometheus):\d+\b", text)
    }
    assert named == {
        "collector:8888",
        "collector:8889",
        "jaeger:4317",
        "jaeger:16686",
        "prometheus:9090",
    }
    assert named <= listening


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_variable_has_a_default_and_stands_in_the_comment_on_top(pipeline: str) -> None:
    text = (CONFIGURATIONS / f"{pipeline}.yaml").read_text()
    named = set(re.findall(r"\$\{env:(\w+)", text))
    assert named == set(defaults(CONFIGURATIONS / f"{pipeline}.yaml"))
    comment = text.partition("\nextensions:")[0]
    of_jaeger = set(defaults(CONFIGURATIONS / "jaeger.yaml")) if pipeline != "jaeger" else set()
    assert {name for name in named - of_jaeger if name not in comment} == set()


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_pipeline_is_valid_alone_and_beside_the_metrics(pipeline: str) -> None:
    configurations = [f"--config={CONFIGURATIONS / name}.yaml" for name in (pipeline, "metrics")]
    for arguments in (configurations[:1], configurations):
        done = subprocess.run(
            [program("otelcol"), "validate", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
