"""The manifests of `collector-config/kubernetes`, against the schemas of Kubernetes and each other.

No cluster runs here. What the containers run is tried with the real programs, but for the exporter
that sends a trace to one sampler: the collector that the tests build has none.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from tests.backends.programs import CONFIGURATIONS, defaults, program, versions
from tests.backends.spans import of_service, span
from tests.backends.stack import collector_running, eventually, jaeger_running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.backends

FILES = sorted((CONFIGURATIONS / "kubernetes").glob("*.yaml"))
MANIFESTS: list[dict[str, Any]] = [
    manifest for file in FILES for manifest in yaml.safe_load_all(file.read_text())
]
WORKLOADS = {
    one["metadata"]["name"]: one
    for one in MANIFESTS
    if one["kind"] in ("Deployment", "StatefulSet")
}
SERVICES = {one["metadata"]["name"]: one for one in MANIFESTS if one["kind"] == "Service"}
(GATEWAY,) = (one["data"]["gateway.yaml"] for one in MANIFESTS if one["kind"] == "ConfigMap")


def name_of(manifest: dict[str, Any]) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def pod_of(workload: str) -> dict[str, Any]:
    pod: dict[str, Any] = WORKLOADS[workload]["spec"]["template"]["spec"]
    return pod


def container_of(workload: str) -> dict[str, Any]:
    (container,) = pod_of(workload)["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(workload: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container_of(workload)["env"]}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=name_of)
def test_a_manifest_is_what_kubernetes_understands(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    if manifest["kind"] != "Namespace":
        assert manifest["metadata"]["namespace"] == "causepath"


def test_the_schemas_say_no_to_what_is_misspelt() -> None:
    wrong = {**MANIFESTS[-1], "specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_what_runs_where() -> None:
    pinned = versions()
    collector = f"otel/opentelemetry-collector-contrib:{pinned['COLLECTOR_VERSION']}"
    assert {
        name: (one["kind"], one["spec"]["replicas"], container_of(name)["image"])
        for name, one in WORKLOADS.items()
    } == {
        "gateway": ("Deployment", 2, collector),
        "sampler": ("StatefulSet", 2, collector),
        # Its disk has one writer.
        "jaeger": ("StatefulSet", 1, f"jaegertracing/jaeger:{pinned['JAEGER_VERSION']}"),
    }


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_container_has_no_more_than_it_needs_and_is_asked_for_its_health(workload: str) -> None:
    pod, container = pod_of(workload), container_of(workload)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert re.fullmatch(r"\d+Gi", container["resources"]["limits"]["memory"])
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "health"
    endpoints = environment_of(workload)
    health = endpoints.get("HEALTH_ENDPOINT") or endpoints["JAEGER_HEALTH_ENDPOINT"]
    assert health == f"0.0.0.0:{ports['health']}"


def test_memory_limits_leave_room_above_what_is_refused_first() -> None:
    for workload in ("gateway", "sampler"):
        limit = container_of(workload)["resources"]["limits"]["memory"]
        refused = int(environment_of(workload)["MEMORY_LIMIT_MIB"])
        assert refused * 2 <= int(limit.removesuffix("Gi")) * 1024


def mounted(workload: str) -> Iterator[tuple[PurePosixPath, str]]:
    """Give where each ConfigMap lies in a container, and its name."""
    maps = {
        volume["name"]: volume["configMap"]["name"]
        for volume in pod_of(workload)["volumes"]
        if "configMap" in volume
    }
    for mount in container_of(workload)["volumeMounts"]:
        if mount["name"] in maps:
            yield PurePosixPath(mount["mountPath"]), maps[mount["name"]]


def config_maps() -> dict[str, dict[str, str]]:
    """Read the ConfigMaps that the commands on top of namespace.yaml make, and the gateway's."""
    text = (CONFIGURATIONS / "kubernetes" / "namespace.yaml").read_text().replace("\\\n#", "")
    found = {"gateway": {"gateway.yaml": GATEWAY}}
    for name, arguments in re.findall(r"create configmap (\w+) (.+)", text):
        for path in re.findall(r"--from-file=(\S+)", arguments):
            place = CONFIGURATIONS.parent / path
            files = sorted(place.iterdir()) if place.is_dir() else [place]
            found.setdefault(name, {}).update({file.name: file.read_text() for file in files})
    return found


@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_a_container_reads_is_there_and_knows_each_variable(workload: str) -> None:
    maps = config_maps()
    texts = []
    for argument in container_of(workload)["args"]:
        path = PurePosixPath(argument.removeprefix("--config="))
        (content,) = (maps[name] for place, name in mounted(workload) if place == path.parent)
        texts.append(content[path.name])
    known = set(re.findall(r"\$\{env:(\w+)", "".join(texts))) | {"GOMEMLIMIT"}
    given = environment_of(workload)
    assert set(given) <= known
    # What has no default is given.
    assert set(re.findall(r"\$\{env:(\w+)\}", "".join(texts))) <= set(given)


def test_each_finds_the_next_by_a_service_and_nobody_else_gets_through() -> None:
    named = {
        "gateway": [yaml.safe_load(GATEWAY)["exporters"]["loadbalancing"]["resolver"]["dns"]],
        "sampler": [
            dict(
                zip(
                    ("hostname", "port"),
                    environment_of("sampler")["JAEGER_ENDPOINT"].split(":"),
                    strict=True,
                )
            )
        ],
    }
    edges = set()
    for workload, addresses in named.items():
        for address in addresses:
            host, namespace, *domain = address["hostname"].split(".")
            assert (namespace, domain) == ("causepath", ["svc", "cluster", "local"])
            service = SERVICES[host]["spec"]
            (port,) = (one for one in service["ports"] if str(one["port"]) == address["port"])
            target = service["selector"]["app"]
            assert port["targetPort"] in {one["name"] for one in container_of(target)["ports"]}
            edges.add((workload, target, port["targetPort"]))
    allowed = {
        (rule["from"][0].get("podSelector", {}).get("matchLabels", {}).get("app"), to, port["port"])
        for one in MANIFESTS
        if one["kind"] == "NetworkPolicy" and one["spec"].get("ingress")
        for to in [one["spec"]["podSelector"]["matchLabels"]["app"]]
        for rule in one["spec"]["ingress"]
        for port in rule["ports"]
        if "podSelector" in rule["from"][0]
    }
    assert (
        allowed
        == edges
        == {
            ("gateway", "sampler", "otlp-grpc"),
            ("sampler", "jaeger", "otlp-grpc"),
        }
    )
    # The page is in no rule, and all that is in none is refused.
    (nobody,) = (
        one["spec"]
        for one in MANIFESTS
        if one["kind"] == "NetworkPolicy" and "ingress" not in one["spec"]
    )
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert "page" not in {
        port["port"]
        for one in MANIFESTS
        if one["kind"] == "NetworkPolicy"
        for rule in one["spec"].get("ingress", ())
        for port in rule["ports"]
    }
    # A sampler is found by its own address, not by one for all.
    assert SERVICES["sampler"]["spec"]["clusterIP"] == "None"


def test_the_gateways_pipeline_is_valid_beside_the_metrics(tmp_path: Path) -> None:
    configuration = yaml.safe_load(GATEWAY)
    assert configuration["exporters"]["loadbalancing"]["routing_key"] == "traceID"
    # In the place of the exporter that the tests' collector does not have.
    configuration["exporters"] = {"otlp_grpc": {"endpoint": "sampler:4317"}}
    configuration["service"]["pipelines"]["traces"]["exporters"] = ["otlp_grpc"]
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(configuration))
    paths = [tmp_path / "gateway.yaml", CONFIGURATIONS / "metrics.yaml"]
    done = subprocess.run(
        [program("otelcol"), "validate", *(f"--config={path}" for path in paths)],
        env=environment_of("gateway"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_jaeger_on_a_disk_has_its_traces_after_a_restart_and_forgets_them_in_time(
    tmp_path: Path,
) -> None:
    disk = {"JAEGER_DATA": str(tmp_path / "data"), "JAEGER_RETENTION": "168h"}
    run = span("invoke_agent a", 5, {"causepath.category": "agent"})
    with (
        jaeger_running(tmp_path, "disk", **disk) as jaeger,
        collector_running(tmp_path / "c", "jaeger", jaeger=jaeger.otlp) as collector,
    ):
        collector.send(of_service("kept", run))
        assert eventually(lambda: jaeger.traces("kept"), bool)
    with jaeger_running(tmp_path, "disk", **disk) as jaeger:
        (trace,) = eventually(lambda: jaeger.traces("kept"), bool)
        assert trace["traceID"] == run["traceId"]
    # What is as old as that is not shown.
    short = {**disk, "JAEGER_DATA": str(tmp_path / "short"), "JAEGER_RETENTION": "8s"}
    with (
        jaeger_running(tmp_path, "disk", **short) as jaeger,
        collector_running(tmp_path / "d", "jaeger", jaeger=jaeger.otlp) as collector,
    ):
        collector.send(of_service("gone", run))
        assert eventually(lambda: jaeger.traces("gone"), bool)
        assert eventually(lambda: jaeger.traces("gone"), lambda found: not found) == []
    of_disk = defaults(CONFIGURATIONS / "jaeger" / "disk.yaml")
    assert {name: environment_of("jaeger")[name] for name in of_disk} == of_disk
