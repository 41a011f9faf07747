"""What a person is told who starts the programs wrong: one sentence, and no trace of Python."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.backends.programs import CONFIGURATIONS, ProgramError, defaults
from tests.backends.stack import ROOT, collector_running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.backends


def stack(**variables: str) -> tuple[int, str]:
    """Status and standard error of `make stack`, which must not come up."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.backends.programs", "stack"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_port_in_use_is_named_with_the_variable_to_change() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        said = f"{endpoint} is in use: end what listens there, or set OTLP_HTTP_ENDPOINT to another"
        assert stack(OTLP_HTTP_ENDPOINT=endpoint) == (2, f"error: {said}\n")
        said = said.replace("OTLP_HTTP_ENDPOINT", "JAEGER_METRICS_PORT")
        assert stack(
            JAEGER_METRICS_HOST="127.0.0.1", JAEGER_METRICS_PORT=endpoint.partition(":")[2]
        ) == (2, f"error: {said}\n")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"PIPELINE": "jeager"},
            "no pipeline 'jeager': PIPELINE is one of jaeger, metrics, privacy, sampling",
        ),
        (
            {"JAEGER_UI_ENDPOINT": "16686"},
            "JAEGER_UI_ENDPOINT is '16686', but a host and a port are needed: localhost:16686",
        ),
        (
            {"OTLP_GRPC_ENDPOINT": ""},
            "OTLP_GRPC_ENDPOINT is '', but a host and a port are needed: localhost:4317",
        ),
        (
            {"OTLP_GRPC_ENDPOINT": "localhost:99999"},
            (
                "OTLP_GRPC_ENDPOINT is 'localhost:99999', but a host and a port are needed: "
                "localhost:4317"
            ),
        ),
        (
            {"OTLP_GRPC_ENDPOINT": "192.0.2.1:4317"},
            (
                f"nothing can listen on 192.0.2.1:4317 ({os.strerror(errno.EADDRNOTAVAIL)}): "
                "set OTLP_GRPC_ENDPOINT to another"
            ),
        ),
        (
            {"JAEGER_METRICS_PORT": "localhost:18888"},
            "JAEGER_METRICS_PORT is 'localhost:18888', but a port is needed: 18888",
        ),
        (
            {"XDG_CACHE_HOME": "/nowhere"},
            "jaeger is not built yet: run `make backends`",
        ),
        (
            {"JAEGER_ASSETS": "/nowhere", "TRACES_FILE": "/tmp/t.jsonl"},
            (
                "JAEGER_ASSETS is '/nowhere', but there is no index.html: name the folder that "
                "`npm run build` of jaeger-ui makes (packages/jaeger-ui/build)"
            ),
        ),
        (
            {"TRACES_FILE": "/dev/null/x/traces.jsonl"},
            (
                "nothing can be written to /dev/null/x (Not a directory): give the folder to "
                "yourself, or set TRACES_FILE to another place"
            ),
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(variables: dict[str, str], said: str) -> None:
    assert stack(**variables) == (2, f"error: {said}\n")


def test_a_collector_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(
            ProgramError, match=r"^otelcol did not start: .*'limit_mib' expected type 'uint32'"
        ),
        collector_running(tmp_path / "a", "jaeger", MEMORY_LIMIT_MIB="much"),
    ):
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(ProgramError, match=r"^otelcol did not start: .*address already in use"),
            collector_running(tmp_path / "b", "jaeger", OTLP_GRPC_ENDPOINT=endpoint),
        ):
            pass


def test_a_variable_without_a_value_is_its_default() -> None:
    found = defaults(CONFIGURATIONS / "jaeger.yaml")
    assert found["OTLP_HTTP_ENDPOINT"] == "localhost:4318"
    assert found["TRACES_FILE"] == "causepath-traces/traces.jsonl"
