"""Pages of some runs as people see them, in headless Chromium: to be looked at.

Held here is only that a page shows the rows of its run, in order.
"""

from __future__ import annotations

import html
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
    "front": "-m tests.backends.hosts front",
    "team": "-m tests.backends.hosts team",
    "thirty": "-m tests.backends.hosts thirty",
}
OPUS, HELPER = "chat claude-opus-5-5", "chat claude-haiku-4-5"


def retried(why: str) -> list[str]:
    return [f"attempt 1 !{why}", "backoff", "attempt 2"]


def looked_up(turns: int) -> list[str]:
    rows = [(f"{OPUS} #{turn}", "execute_tool look_up") for turn in range(1, turns)]
    return [*(name for of_turn in rows for name in of_turn), f"{OPUS} #{turns}"]


ROWS = {
    "demo": [
        "invoke_agent research_agent",
        f"{OPUS} #1",
        "execute_tool search_web",
        "execute_tool search_papers",
        f"{OPUS} #2",
        *retried("429"),
        "execute_tool fetch_page",
        f"{OPUS} #3",
    ],
    "web": ["POST /ask", "invoke_agent assistant", "chat house-1 #1"],
    "front": [
        *("POST /order", "invoke_agent front", f"{HELPER} #1"),
        *("POST", "POST /ask", "invoke_agent assistant", *looked_up(3)),
    ],
    "team": [
        "invoke_agent lead",
        f"{OPUS} #1",
        *retried("529"),
        *("execute_tool find_facts", "invoke_agent find_facts", f"{HELPER} #1"),
        *("execute_tool check_facts", "invoke_agent check_facts", f"{HELPER} #1"),
        f"{OPUS} #2",
    ],
    "thirty": ["invoke_agent hosts", *looked_up(TURNS)],
}
"""The rows of the first run of each service, as their spans are called. "#" stands before what the
turn of a call is, "!" before why an attempt failed: both are in Phoenix' names."""

ASKED = {
    "research_agent": "How far will battery-electric airliners be able to fly by 2035?",
    "lead": "team",
    "hosts": "thirty pages, please",
}
ANSWERED = "the answer is in these words"


def row_of(name: str, page: str) -> str:
    """How the row of a span is called on a page."""
    bare, _, why = name.partition(" !")
    bare, _, turn = bare.partition(" #")
    if page == "jaeger":
        return bare
    bare = re.sub("^(invoke_agent|execute_tool|chat) ", "", bare)
    return f"{turn} {bare}" if turn else f"{bare}: {why}" if why else bare


@dataclass(frozen=True)
class Pages:
    """The stack after some runs."""

    jaeger: str
    phoenix: str | None
    traces: dict[str, str]
    """The id of the first run of each service."""

    @property
    def kind(self) -> str:
        return "jaeger" if self.phoenix is None else "phoenix"

    def project(self) -> str:
        assert self.phoenix is not None
        found = get(f"{self.phoenix}/v1/projects")["data"]
        return next(str(one["id"]) for one in found if one["name"] == "default")

    def url(self, service: str, failed: str = "") -> str:
        """Where a run is shown, in Phoenix with the span of that name that failed."""
        trace_id = self.traces[service]
        if self.phoenix is None:
            return f"{self.jaeger}/trace/{trace_id}"
        url = f"{self.phoenix}/projects/{self.project()}/traces/{trace_id}"
        if failed:
            spans = get(f"{self.phoenix}/v1/projects/default/spans", limit=1000)["data"]
            shown = (span["id"] for span in spans if is_failed(span, trace_id, failed))
            url += f"?selectedSpanNodeId={next(shown)}"
        return url


def is_failed(span: dict[str, Any], trace_id: str, name: str) -> bool:
    found = (span["context"]["trace_id"], span["name"], span["status_code"])
    return found == (trace_id, name, "ERROR")


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
            sent = sum(map(len, ROWS.values()))
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


def shown_on(pages: Pages, url: str, name: str, folder: Path) -> list[str]:
    """The texts of a page, of which a picture is made to be looked at."""
    made = Path(os.environ.get("SCREENSHOTS") or folder).resolve()
    made.mkdir(parents=True, exist_ok=True)
    picture = made / f"{pages.kind}-{name}.png"
    chromium(url, folder / "profile", f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")
    document = chromium(url, folder / "profile", "--dump-dom")
    text = re.sub(r"<[^>]+>", "\n", re.sub(r"(?s)<(script|style).*?</\1>", "", document))
    return [line.strip() for line in html.unescape(text).splitlines()]


@pytest.mark.parametrize("service", HOSTS)
def test_a_page_shows_the_rows_of_a_run(pages: Pages, service: str, tmp_path: Path) -> None:
    rows = iter(shown_on(pages, pages.url(service), service, tmp_path))
    expected = [row_of(name, pages.kind) for name in ROWS[service]]
    assert [row for row in expected if row not in rows] == []


def test_phoenix_lists_runs_with_question_and_answer(pages: Pages, tmp_path: Path) -> None:
    if pages.phoenix is None:
        pytest.skip("Jaeger's list has no such columns")
    url = f"{pages.phoenix}/projects/{pages.project()}/traces"
    shown = shown_on(pages, url, "list", tmp_path)
    found = {name: shown[shown.index(name) :] for name in ASKED}
    assert {name for name, after in found.items() if ASKED[name] not in after[:40]} == set()
    assert ANSWERED in shown


def test_phoenix_says_why_a_tool_failed(pages: Pages, tmp_path: Path) -> None:
    if pages.phoenix is None:
        pytest.skip("Jaeger's page shows it when the row is opened")
    shown = shown_on(pages, pages.url("front", "look_up"), "failed-tool", tmp_path)
    assert "KeyError: 0" in shown
