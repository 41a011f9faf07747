"""docker-compose.yml, as Docker Compose itself reads it, and the configurations that it mounts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.backends.programs import CONFIGURATIONS, defaults, program, versions
from tests.backends.stack import ROOT
from tests.backends.test_kept import TRACE_KIB

pytestmark = pytest.mark.backends

COMPOSE = ROOT / "docker-compose.yml"
NOBODY = 65534
PIPELINES = ["jaeger", "privacy", "sampling", "metrics"]


def composed(**variables: str) -> dict[str, Any]:
    """Read the services as Compose does, with variables put in for it: this reader has none."""
    text = COMPOSE.read_text()
    for name, of in variables.items():
        text = re.sub(rf"\$\{{{name}:-[^}}]*\}}", lambda _, of=of: of, text)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(
            [program("compose"), "-format", "json", file.name],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_what_runs_where() -> None:
    services = composed()
    pinned = versions()
    jaeger = f"jaegertracing/jaeger:{pinned['JAEGER_VERSION']}"
    assert {name: service["image"] for name, service in services.items()} == {
        "preflight": jaeger,
        "collector": f"otel/opentelemetry-collector-contrib:{pinned['COLLECTOR_VERSION']}",
        "collector-health": jaeger,
        "jaeger": jaeger,
        "prometheus": f"prom/prometheus:v{pinned['PROMETHEUS_VERSION']}",
        "grafana-password": jaeger,
        "grafana": f"grafana/grafana:{pinned['GRAFANA_VERSION']}",
    }
    assert {name for name, service in services.items() if service.get("profiles")} == {
        "prometheus",
        "grafana-password",
        "grafana",
    }
    # To this machine only.
    assert {
        (name, port["host_ip"], port["published"], port["target"])
        for name, service in services.items()
        for port in service.get("ports", ())
    } == {
        ("collector", "127.0.0.1", "4317", 4317),
        ("collector", "127.0.0.1", "4318", 4318),
        ("jaeger", "127.0.0.1", "16686", 16686),
        ("jaeger", "127.0.0.1", "14318", 4318),
        ("prometheus", "127.0.0.1", "9090", 9090),
        ("grafana", "127.0.0.1", "3000", 3000),
    }


@pytest.mark.parametrize("name", list(yaml.safe_load(COMPOSE.read_text())["services"]))
def test_every_container_has_no_more_than_it_needs(name: str) -> None:
    service = composed()[name]
    assert {
        key: service.get(key) for key in ("cap_drop", "read_only", "security_opt", "privileged")
    } == {
        "cap_drop": ["ALL"],
        "read_only": True,
        "security_opt": ["no-new-privileges:true"],
        "privileged": None,
    }
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    # The configurations are read; what is written is a folder or volume of its own.
    written = {one["target"] for one in service.get("volumes", ()) if not one.get("read_only")}
    assert written == {
        "preflight": {"/traces"},
        "collector": {"/traces"},
        "prometheus": {"/prometheus"},
        "grafana": {"/var/lib/grafana"},
    }.get(name, set())


def test_each_waits_until_what_it_needs_is_ready() -> None:
    services = composed()
    assert {
        (name, needed, how["condition"].removeprefix("service_"))
        for name, service in services.items()
        for needed, how in service.get("depends_on", {}).items()
    } == {
        ("collector", "preflight", "completed_successfully"),
        ("collector", "jaeger", "healthy"),
        ("collector-health", "collector", "started"),
        ("prometheus", "collector-health", "healthy"),
        ("grafana", "grafana-password", "completed_successfully"),
        ("grafana", "prometheus", "healthy"),
        ("grafana", "jaeger", "healthy"),
    }
    asked = {
        name: service["healthcheck"]["test"][-1]
        for name, service in services.items()
        if "healthcheck" in service
    }
    jaeger, collector = services["jaeger"]["environment"], services["collector"]["environment"]
    assert asked == {
        "collector-health": f"http://collector:{collector['HEALTH_ENDPOINT'].rpartition(':')[2]}/",
        "jaeger": f"http://127.0.0.1:{jaeger['JAEGER_HEALTH_ENDPOINT'].rpartition(':')[2]}/status",
        "prometheus": "http://127.0.0.1:9090/-/ready",
        "grafana": "http://127.0.0.1:3000/api/health",
    }


def test_jaegers_memory_holds_its_traces() -> None:
    most = int(defaults(CONFIGURATIONS / "jaeger" / "config.yaml")["JAEGER_MAX_TRACES"])
    jaeger = composed()["jaeger"]
    limit_mib = int(jaeger["mem_limit"].removesuffix("g")) * 1024
    assert most * TRACE_KIB / 1024 < limit_mib * 0.9
    assert int(jaeger["environment"]["GOMEMLIMIT"].removesuffix("MiB")) < limit_mib
    collector = composed()["collector"]
    usual = int(defaults(CONFIGURATIONS / "jaeger.yaml")["MEMORY_LIMIT_MIB"])
    assert usual * 2 <= int(collector["mem_limit"].removesuffix("g")) * 1024


def checked(
    service: str, *, user: int | None = None, traces: str = "", **environment: str
) -> tuple[int, str]:
    """Run what a service checks before others start; its status and what it says."""
    (script,) = composed()[service]["command"]
    done = subprocess.run(
        ["/bin/sh", "-c", re.sub(r"(?<!\w)/traces", traces, script)],
        env={"PATH": os.environ["PATH"], **environment},
        user=user,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_traces_folder_that_cannot_be_written_ends_the_start(tmp_path: Path) -> None:
    somebody = NOBODY if os.getuid() == 0 else None
    for above in [tmp_path, *tmp_path.parents][:3]:
        above.chmod(0o755)
    fine, mine = tmp_path / "fine", tmp_path / "mine"
    fine.mkdir()
    fine.chmod(0o777)
    mine.mkdir()
    mine.chmod(0o555)
    assert checked("preflight", user=somebody, traces=str(fine), PIPELINE="jaeger")[0] == 0
    assert list(fine.iterdir()) == []
    status, said = checked("preflight", user=somebody, traces=str(mine), PIPELINE="jaeger")
    uid = somebody or os.getuid()
    assert status == 1
    assert said.splitlines()[-1] == (
        f"error: user {uid} cannot write to collector-config/traces: USER_ID={os.getuid()} "
        f"docker compose up, or give the folder to user {uid}"
    )


def test_a_pipeline_that_there_is_not_ends_the_start(tmp_path: Path) -> None:
    for pipeline in PIPELINES:
        given = composed(PIPELINE=pipeline)["preflight"]["environment"]
        assert checked("preflight", traces=str(tmp_path), **given) == (0, "")
    # Files that are no pipelines, too.
    for wrong in ("jeager", "builder", "phoenix", "", "../jaeger", "a 'b'"):
        status, said = checked("preflight", traces=str(tmp_path), PIPELINE=wrong)
        assert (status, said) == (
            1,
            f"error: no pipeline '{wrong}': PIPELINE is one of {', '.join(sorted(PIPELINES))}\n",
        )
    assert composed()["preflight"]["environment"] == {"PIPELINE": "jaeger"}


def test_grafana_has_no_default_password_and_shows_nothing_to_strangers() -> None:
    said = "error: set a password: GRAFANA_PASSWORD=... docker compose --profile metrics up\n"
    assert checked("grafana-password") == (1, said)
    assert checked("grafana-password", GRAFANA_PASSWORD="") == (1, said)
    assert checked("grafana-password", GRAFANA_PASSWORD="a 'b'") == (0, "")
    grafana = composed(GRAFANA_PASSWORD="one of mine")["grafana"]["environment"]
    assert grafana["GF_SECURITY_ADMIN_PASSWORD"] == "one of mine"
    assert grafana["GF_AUTH_ANONYMOUS_ENABLED"] == grafana["GF_USERS_ALLOW_SIGN_UP"] == "false"


def test_what_is_mounted_and_named_is_there() -> None:
    for pipeline in PIPELINES:
        for service in composed(PIPELINE=pipeline).values():
            mounted = {
                volume["target"]: Path(volume["source"])
                for volume in service.get("volumes", ())
                if volume["type"] == "bind"
            }
            assert all(source.is_dir() for source in mounted.values())
            for argument in service.get("command") or ():
                _, _, named = argument.partition("=")
                for target, source in mounted.items():
                    if named.startswith(target):
                        assert (source / named.removeprefix(target).lstrip("/")).is_file()


def test_every_variable_that_compose_sets_is_one_of_a_configuration() -> None:
    services = composed()
    known = set().union(*(defaults(CONFIGURATIONS / f"{name}.yaml") for name in PIPELINES))
    assert set(services["collector"]["environment"]) <= known
    of_jaeger = defaults(CONFIGURATIONS / "jaeger" / "config.yaml")
    # The page's files are in the image, and its configuration where that is looked for.
    assert set(services["jaeger"]["environment"]) - {"GOMEMLIMIT"} == set(of_jaeger) - {
        "JAEGER_ASSETS",
        "JAEGER_UI_CONFIG",
    }
    (mounted,) = services["jaeger"]["volumes"]
    assert of_jaeger["JAEGER_UI_CONFIG"].startswith(mounted["target"])
    assert (Path(mounted["source"]) / Path(of_jaeger["JAEGER_UI_CONFIG"]).name).is_file()


def test_services_name_each_other_by_the_ports_they_listen_on() -> None:
    services = composed()
    listening = {
        f"{name}:{endpoint.rpartition(':')[2]}"
        for name in ("collector", "jaeger")
        for endpoint in services[name]["environment"].values()
        if str(endpoint).startswith("0.0.0.0:")
    } | {"collector:8888", "jaeger:8888", "prometheus:9090"}
    texts = [
        path.read_text()
        for path in CONFIGURATIONS.rglob("*.yaml")
        if path.parent.name != "kubernetes"
    ]
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
        "jaeger:8888",
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


@pytest.mark.parametrize("pipeline", ["jaeger", "privacy", "sampling"])
def test_phoenix_gets_what_jaeger_gets(pipeline: str) -> None:
    configurations = [CONFIGURATIONS / f"{name}.yaml" for name in (pipeline, "phoenix")]
    done = subprocess.run(
        [program("otelcol"), "validate", *(f"--config={path}" for path in configurations)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    of, beside = (
        yaml.safe_load(path.read_text())["service"]["pipelines"] for path in configurations
    )
    assert {*beside["traces"]["exporters"]} == {*of["traces"]["exporters"], "forward/phoenix"}
    assert beside["traces/phoenix"]["receivers"] == ["forward/phoenix"]
    assert beside["traces/phoenix"]["exporters"] == ["otlp_grpc/phoenix"]
