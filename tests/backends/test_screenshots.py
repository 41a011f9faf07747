"""Pages of some runs as people see them, in headless Chromium: to be looked at.

Held here is only that a page shows the rows of its run, in order.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.host_script import TURNS
from tests.backends.stack import ROOT, eventually, get, start_python
from tests.backends.test_stack import stack_running
from tests.support.messages_api import messages_api_process

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.screenshots, pytest.mark.timeout(600)]

HOSTS = {
    "demo": "examples/research_agent.py",
    "web": "-m tests.backends.hosts web",
    "team": "-m tests.backends.hosts team",
    "thirty": "-m tests.backends.hosts thirty",
}
RETRIED = ["attempt 1", "backoff", "attempt 2"]
CHAT, HELPER = "chat claude-opus-5-5", "chat claude-haiku-4-5"
ROWS = {
    "demo": [
        "invoke_agent research_agent",
        CHAT,
        "execute_tool search_web",
        "execute_tool search_papers",
        CHAT,
        *RETRIED,
        "execute_tool fetch_page",
        CHAT,
    ],
    "web": ["POST /ask", "invoke_agent assistant", "chat house-1"],
    "team": [
        "invoke_agent lead",
        CHAT,
        *RETRIED,
        *("execute_tool find_facts", "invoke_agent find_facts", HELPER),
        *("execute_tool check_facts", "invoke_agent check_facts", HELPER),
        CHAT,
    ],
    "thirty": ["invoke_agent hosts", *[CHAT, "execute_tool look_up"] * (TURNS - 1), CHAT],
}
"""What a page shows of the first run of each service."""


@dataclass(frozen=True)
class Pages:
    """The stack after some runs."""

    jaeger: str
    phoenix: str | None
    traces: dict[str, str]
    """The id of the first run of each service."""

    def url(self, service: str) -> str:
        trace_id = self.traces[service]
        if self.phoenix is None:
            return f"{self.jaeger}/trace/{trace_id}"
        (project, *_) = (
            one["id"]
            for one in get(f"{self.phoenix}/v1/projects")["data"]
            if one["name"] == "default"
        )
        return f"{self.phoenix}/projects/{project}/traces/{trace_id}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("stack")
    assets = os.environ.get("JAEGER_ASSETS", "")
    with (
        stack_running(folder, **({"JAEGER_ASSETS": assets} if assets else {})) as stack,
        messages_api_process("tests.backends.host_script:next_answer") as model,
    ):
        agents = []
        for service, command in HOSTS.items():
            variables = {
                "CAUSEPATH": "1",
                "OTEL_SERVICE_NAME": service,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{stack['OTLP_HTTP_ENDPOINT']}",
                "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only",
            }
            host = [model] if "hosts" in command else []
            agents.append(start_python([*command.split(), *host], ROOT, variables))
        for agent in agents:
            _, errors = agent.communicate(timeout=120)
            assert (agent.returncode, errors) == (0, "")
        jaeger = f"http://{stack['JAEGER_UI_ENDPOINT']}"

        def first(service: str) -> dict[str, Any]:
            traces = eventually(
                lambda: get(f"{jaeger}/api/traces", service=service, limit=10)["data"],
                lambda found: sum(len(one["spans"]) for one in found) >= len(ROWS[service]),
            )
            found: dict[str, Any] = min(
                traces, key=lambda one: min(span["startTime"] for span in one["spans"])
            )
            return found

        traces = {service: first(service)["traceID"] for service in HOSTS}
        phoenix = None if assets else f"http://{stack['PHOENIX_UI_ENDPOINT']}"
        if phoenix:
            sent = sum(len(rows) for rows in ROWS.values())
            eventually(
                lambda: get(f"{phoenix}/v1/projects/default/spans", limit=1000)["data"],
                lambda found: len(found) >= sent,
                seconds=60,
            )
        yield Pages(jaeger, phoenix, traces)


def chromium(url: str, folder: Path, *options: str) -> str:
    """Load a page and give it time to ask for what it shows."""
    command = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-prefers-reduced-motion",
        f"--user-data-dir={folder}",
        "--window-size=1600,1000",
        "--virtual-time-budget=30000",
        *options,
        url,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


@pytest.mark.parametrize("service", HOSTS)
def test_a_page_shows_the_rows_of_a_run(pages: Pages, service: str, tmp_path: Path) -> None:
    url = pages.url(service)
    made = Path(os.environ.get("SCREENSHOTS") or tmp_path).resolve()
    made.mkdir(parents=True, exist_ok=True)
    kind = "jaeger" if pages.phoenix is None else "phoenix"
    picture = made / f"{kind}-{service}.png"
    chromium(url, tmp_path / "profile", f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")
    document = chromium(url, tmp_path / "profile", "--dump-dom")
    text = re.sub(r"<[^>]+>", "\n", re.sub(r"(?s)<(script|style).*?</\1>", "", document))
    shown = [line.strip() for line in text.splitlines()]
    rows = iter(shown)
    assert [row for row in ROWS[service] if row not in rows] == []
