"""What the agent notices of a collector in trouble: nothing, and what was lost is said once."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.backends.stack import (
    ROOT,
    Collector,
    Jaeger,
    collector_running,
    eventually,
    start_python,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.backends

NOWHERE = "http://127.0.0.1:9"
SPANS = 10
FLUSH_SECONDS = 5
"""How long the plugin may hold up the end of the process."""


@dataclass(frozen=True)
class Ended:
    """An agent that has ended."""

    status: int
    printed: str
    errors: str
    answer_seconds: float
    """Until the last line of the answer."""
    exit_seconds: float
    """From there until the process was gone."""


@dataclass(frozen=True)
class Outcomes:
    """The agents, and the collectors as they are afterwards, by what was wrong."""

    agents: Mapping[str, Ended]
    collectors: Mapping[str, Collector]
    jaeger: Jaeger


def watch(process: subprocess.Popen[str]) -> Ended:
    start = time.monotonic()
    assert process.stdout is not None
    assert process.stderr is not None
    lines, last = [], start
    for line in process.stdout:
        lines.append(line)
        last = time.monotonic()
    status = process.wait(60)
    errors = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    return Ended(status, "".join(lines), errors, last - start, time.monotonic() - last)


@pytest.fixture(scope="module")
def outcomes(jaeger: Jaeger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """All at once, so that what the machine does at the time is the same for each."""
    folder = tmp_path_factory.mktemp("faults")
    with contextlib.ExitStack() as stack:

        def collector(name: str, jaeger: str = "127.0.0.1:9", **variables: str) -> Collector:
            return stack.enter_context(
                collector_running(folder / name, "jaeger", jaeger=jaeger, **variables)
            )

        collectors = {
            "well": collector("well", jaeger.otlp),
            "killed": collector("killed", jaeger.otlp),
            "silent": collector("silent", jaeger.otlp),
            "refusing": collector("refusing", jaeger.otlp, MEMORY_LIMIT_MIB="1"),
            "disk full": collector("full", jaeger.otlp, TRACES_FILE="/dev/full"),
            "no Jaeger": collector("nojaeger"),
        }
        collectors["silent"].running.pause()
        endpoints = {name: one.http for name, one in collectors.items()}
        endpoints |= {"down": NOWHERE, "down, gRPC": NOWHERE}
        ended: dict[str, Ended] = {}

        def run(name: str, variables: Mapping[str, str]) -> None:
            agent = start_python([ROOT / "examples" / "research_agent.py"], folder, variables)
            ended[name] = watch(agent)

        threads = [threading.Thread(target=run, args=("without", {}))]
        for name, endpoint in endpoints.items():
            variables = {
                "CAUSEPATH": "1",
                "OTEL_SERVICE_NAME": f"faults-{name}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if "gRPC" in name else "http/protobuf",
                "OTEL_BSP_SCHEDULE_DELAY": "200",  # several batches in a run
            }
            threads.append(threading.Thread(target=run, args=(name, variables)))
        for thread in threads:
            thread.start()
        killed = collectors["killed"]
        eventually(lambda: killed.count("otelcol_receiver_accepted_spans"), bool)
        killed.running.kill()
        threads[0].join(1.5)  # the agents go on meanwhile
        killed.running.restart()
        for thread in threads:
            thread.join()
        yield Outcomes(ended, collectors, jaeger)


FAULTS = ["well", "killed", "silent", "refusing", "disk full", "no Jaeger", "down", "down, gRPC"]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_agent_does_and_says_the_same(outcomes: Outcomes, fault: str) -> None:
    without, well = outcomes.agents["without"], outcomes.agents["well"]
    ended = outcomes.agents[fault]
    assert (ended.status, ended.printed) == (0, without.printed)
    print(f"{fault}: {ended.answer_seconds / without.answer_seconds:.3f} of the time without us,")
    print(f"exit {ended.exit_seconds:.2f} s, {well.exit_seconds:.2f} s where all is well")
    assert ended.answer_seconds < 1.25 * without.answer_seconds
    # Only who takes connections and then nothing else is waited for at the end.
    patience = FLUSH_SECONDS if fault in ("silent", "refusing") else 0
    assert ended.exit_seconds < 2 * well.exit_seconds + patience


LOST = {
    "well": "",
    "disk full": "",
    "no Jaeger": "",
    "down": rf"{SPANS} spans could not be sent to {NOWHERE}: Connection refused",
    "down, gRPC": rf"{SPANS} spans could not be sent to {NOWHERE}: Connection refused",
    "silent": rf"{SPANS} spans could not be sent to \S+: .+",
    "refusing": rf"{SPANS} spans could not be sent to \S+: Service Unavailable",
}


@pytest.mark.parametrize("fault", LOST)
def test_what_was_lost_is_said_once_and_counted(outcomes: Outcomes, fault: str) -> None:
    lines = outcomes.agents[fault].errors.splitlines()
    assert all(line.startswith("causepath: ") for line in lines)
    said = [line.removeprefix("causepath: ") for line in lines]
    if not LOST[fault]:
        assert said == []
        return
    assert re.fullmatch(LOST[fault], said[-1])
    assert len(said) <= 2
    assert all(re.match(r"no spans get to \S+: .+; the agent goes on$", line) for line in said[:-1])


@pytest.mark.parametrize("fault", ["well", "no Jaeger"])
def test_the_file_has_every_span(outcomes: Outcomes, fault: str) -> None:
    found = eventually(outcomes.collectors[fault].spans, lambda spans: len(spans) == SPANS)
    assert len({span["spanId"] for span in found}) == len(found) == SPANS


@pytest.mark.parametrize("fault", ["well", "disk full"])
def test_jaeger_has_every_span(outcomes: Outcomes, fault: str) -> None:
    def count() -> int:
        return sum(len(one["spans"]) for one in outcomes.jaeger.traces(f"faults-{fault}"))

    assert eventually(count, SPANS.__eq__) == SPANS


def test_the_collector_counts_what_its_full_disk_lost(outcomes: Outcomes) -> None:
    collector = outcomes.collectors["disk full"]
    lost = eventually(lambda: collector.count("otelcol_exporter_send_failed_spans"), SPANS.__eq__)
    assert lost == SPANS
    assert "no space left on device" in collector.running.log.read_text()


def test_killed_in_the_middle_and_started_again_it_has_the_rest_once(outcomes: Outcomes) -> None:
    """What the dead one had taken and not yet handed on is lost; it is never there twice."""
    collector = outcomes.collectors["killed"]
    eventually(lambda: collector.count("otelcol_exporter_queue_size"), lambda n: n == 0)
    found = Counter(span["spanId"] for span in collector.spans())
    assert set(found.values()) == {1}
    # The last span of a run is the run itself, long after the new start.
    assert "invoke_agent research_agent" in {span["name"] for span in collector.spans()}
    assert outcomes.agents["killed"].errors.count("\n") <= 2


def test_memory_stays_bounded_while_nobody_takes_the_spans(tmp_path: Path) -> None:
    code = """
import json, resource
import causepath
causepath.instrument()
def spans(count):
    for _ in range(count):
        with causepath.agent("a"):
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([spans(5_000), spans(45_000)]))
"""
    process = start_python(["-c", code], tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE})
    ended = watch(process)
    assert ended.status == 0
    before, after = map(float, re.findall(r"[\d.]+", ended.printed))
    print(f"{before:.0f} MiB after 5,000 spans, {after:.0f} MiB after 50,000")
    assert after < 1.25 * before
    assert ended.errors.splitlines()[-1] == (
        f"causepath: 50000 spans could not be sent to {NOWHERE}: Connection refused"
    )


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_what_was_said_in_many_calls_gets_through_in_one_batch(
    tmp_path: Path, jaeger: Jaeger, protocol: str
) -> None:
    """25 MB at once, more than collectors take by themselves."""
    code = """
import causepath
from opentelemetry import trace
causepath.instrument()
tracer = trace.get_tracer("test")
with causepath.agent("a"):
    for _ in range(399):
        with tracer.start_as_current_span("chat m") as span:
            span.set_attribute("gen_ai.input.messages", "x" * 64_000)
"""
    service = f"large-{protocol[:4]}"
    with collector_running(tmp_path / "c", "jaeger", jaeger=jaeger.otlp) as collector:
        ended = watch(
            start_python(
                ["-c", code],
                tmp_path,
                {
                    "OTEL_SERVICE_NAME": service,
                    "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                    "OTEL_EXPORTER_OTLP_ENDPOINT": (
                        collector.grpc if protocol == "grpc" else collector.http
                    ),
                },
            )
        )
        assert (ended.status, ended.errors) == (0, "")
        assert len(eventually(collector.spans, lambda spans: len(spans) == 400)) == 400

        def count() -> int:
            return sum(len(one["spans"]) for one in jaeger.traces(service))

        assert eventually(count, (400).__eq__) == 400
