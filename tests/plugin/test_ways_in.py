"""All the ways to enable the plugin, in processes of their own, and where the spans go then."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import sysconfig
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.forked import Forks
from tests.support.messages_api import messages_api_process
from tests.support.traced_programs import plain_environment, spans_in

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "research_agent.py"

TREE = """\
invoke_agent research_agent
  chat claude-opus-5-5
  execute_tool search_web
  execute_tool search_papers
  chat claude-opus-5-5
    attempt 1
    backoff
    attempt 2
  execute_tool fetch_page
  chat claude-opus-5-5"""

BY_IMPORT = f"import causepath.auto, sys, runpy; sys.path.insert(0, {str(EXAMPLE.parent)!r})"
BY_CALL = (
    f"import causepath, sys, runpy; causepath.instrument(); sys.path.insert(0, "
    f"{str(EXAMPLE.parent)!r})"
)
RUN = f"; sys.argv = ['x']; runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
LAUNCHER = Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument"


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return plain_environment(**{"CAUSEPATH_FILE": str(tmp_path / "traces.jsonl"), **more})


def run(
    command: list[str], tmp_path: Path, check: bool = True, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment(tmp_path, **more),
        cwd=tmp_path,
        check=check,
        capture_output=True,
        text=True,
        timeout=60,
    )


def python(code: str, tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` in an interpreter that has just started, as it matters what it imports."""
    return run([sys.executable, "-c", textwrap.dedent(code)], tmp_path, **more)


FORKS = Forks("anthropic", "opentelemetry.sdk.trace")


def forked(code: str, tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    done = FORKS.run(["-c", code], cwd=tmp_path, env=environment(tmp_path, **more))
    assert done.returncode == 0, done.stderr
    return done


def written(tmp_path: Path, name: str = "traces.jsonl") -> list[dict[str, Any]]:
    return spans_in(tmp_path / name)


def tree(spans: list[dict[str, Any]]) -> str:
    ids = {span["spanId"] for span in spans}
    rows: list[str] = []

    def below(parent: str | None, depth: int) -> None:
        children = [
            span
            for span in spans
            if (span["parentSpanId"] if span.get("parentSpanId") in ids else None) == parent
        ]
        for span in sorted(children, key=lambda span: int(span["startTimeUnixNano"])):
            rows.append("  " * depth + span["name"])
            below(span["spanId"], depth + 1)

    below(None, 0)
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        pytest.param([sys.executable, str(EXAMPLE)], {"CAUSEPATH": "1"}, id="variable"),
        pytest.param([sys.executable, "-c", BY_IMPORT + RUN], {}, id="import"),
        pytest.param([sys.executable, "-c", BY_CALL + RUN], {}, id="call"),
        pytest.param(
            [str(LAUNCHER), sys.executable, str(EXAMPLE)],
            {
                "OTEL_TRACES_EXPORTER": "otlp_json_file",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
            },
            id="launcher",
        ),
        pytest.param([sys.executable, str(EXAMPLE)], {}, id="nothing"),
    ],
)
def test_every_way_in_gives_the_same_tree(
    tmp_path: Path, command: list[str], variables: dict[str, str]
) -> None:
    done = run(command, tmp_path, **variables)
    if "OTEL_TRACES_EXPORTER" in variables:  # that exporter writes to standard output
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"resourceSpans"')]
        (tmp_path / "traces.jsonl").write_text("\n".join(lines))
    spans = written(tmp_path)
    if not variables and "causepath" not in command[-1]:
        assert spans == []
        assert done.stderr == ""
        return
    assert tree(spans) == TREE
    categories = [
        attribute["value"]["stringValue"]
        for span in spans
        for attribute in span["attributes"]
        if attribute["key"] == "causepath.category"
    ]
    assert len(categories) == len(spans) == 10
    if "OTEL_TRACES_EXPORTER" not in variables:
        assert done.stderr == f"causepath: 10 spans written to {tmp_path / 'traces.jsonl'}\n"


CALL = """
import anthropic
client = anthropic.Anthropic(base_url={url!r}, api_key="test")
client.messages.create(model="m", max_tokens=9, messages=[dict(role="user", content="?")])
"""


@pytest.fixture(scope="module")
def url() -> Any:
    with messages_api_process("tests.plugin.scripts:hello") as found:
        yield found


@pytest.fixture(scope="module")
def weather() -> Any:
    """The address of a model that asks for the weather first."""
    with messages_api_process("tests.plugin.scripts:weather") as found:
        yield found


OWN_SETUP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, ConsoleSpanExporter
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(
    formatter=lambda span: f"{span.name} {span.attributes['causepath.category']}\\n")))
trace.set_tracer_provider(provider)
"""


@pytest.mark.parametrize("own_first", [True, False], ids=["before", "after"])
def test_the_applications_own_set_up_is_used_as_it_is(
    tmp_path: Path, url: str, own_first: bool
) -> None:
    parts = [OWN_SETUP, "import causepath.auto\n"]
    code = "".join(parts if own_first else reversed(parts)) + CALL.format(url=url)
    done = forked(code, tmp_path)
    assert done.stdout.splitlines() == ["chat m llm", "invoke_agent agent"]
    assert done.stderr == ""
    assert written(tmp_path) == []


def test_a_set_up_after_the_first_span_succeeds_and_takes_over(tmp_path: Path, url: str) -> None:
    code = "import causepath.auto\n" + CALL.format(url=url) + OWN_SETUP + CALL.format(url=url)
    done = forked(code, tmp_path)
    assert "Overriding" not in done.stderr
    assert [span["name"] for span in written(tmp_path)] == ["chat m", "invoke_agent"]
    assert done.stdout.splitlines() == ["chat m llm", "invoke_agent agent"]


def test_otel_variables_are_honoured(tmp_path: Path, url: str) -> None:
    code = "import causepath.auto\n" + CALL.format(url=url)
    done = forked(code, tmp_path, OTEL_TRACES_EXPORTER="console")
    assert '"name": "chat m"' in done.stdout
    assert written(tmp_path) == []

    forked(code, tmp_path, OTEL_TRACES_EXPORTER="none")
    forked(code, tmp_path, OTEL_SDK_DISABLED="true")
    assert written(tmp_path) == []

    done = forked(code, tmp_path, OTEL_TRACES_EXPORTER="nowhere")
    assert done.stderr == (
        "causepath: no spans are sent: the exporter 'nowhere' is not installed, or "
        "OTEL_TRACES_EXPORTER misspells it\n"
    )


@pytest.mark.parametrize(
    ("command", "variables", "service"),
    [
        (["shop.py"], {}, "shop"),
        (["-m", "shop"], {}, "shop"),
        (["-m", "market"], {}, "market"),
        (["-c", "import shop"], {}, "python"),
        (["shop.py"], {"OTEL_SERVICE_NAME": "mine"}, "mine"),
        (["shop.py"], {"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours"}, "ours"),
    ],
)
def test_a_service_that_nobody_named_has_the_name_of_the_program(
    tmp_path: Path, url: str, command: list[str], variables: dict[str, str], service: str
) -> None:
    code = "import causepath.auto\n" + CALL.format(url=url)
    (tmp_path / "shop.py").write_text(code)
    (tmp_path / "market").mkdir()
    (tmp_path / "market" / "__main__.py").write_text(code)
    run([sys.executable, *command], tmp_path, **variables)
    (resource,) = {
        attribute["value"]["stringValue"]
        for line in (tmp_path / "traces.jsonl").read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for attribute in resource["resource"]["attributes"]
        if attribute["key"] == "service.name"
    }
    assert resource == service


def test_a_dead_collector_costs_nothing_but_its_spans(tmp_path: Path, url: str) -> None:
    code = "import causepath.auto\n" + CALL.format(url=url) + "print('done')"
    done = forked(code, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://user:secret@127.0.0.1:9")
    assert done.stdout == "done\n"
    assert done.stderr == (
        "causepath: 2 spans could not be sent to http://127.0.0.1:9: Connection refused\n"
    )


class Refusing(BaseHTTPRequestHandler):
    """A collector that answers with one status, and always the same."""

    status = 503

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as inherited)
        """Nothing."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("status", "reason"),
    [(503, "Service Unavailable"), (429, "Too Many Requests"), (400, "Bad Request")],
)
def test_a_collector_that_refuses_is_said_once_with_its_reason_and_what_was_lost(
    tmp_path: Path, url: str, status: int, reason: str
) -> None:
    # Two batches: the first is refused while the agent goes on, the second at its end.
    code = (
        "import causepath.auto, sys, threading\n"
        + CALL.format(url=url)
        + "sys.stdin.readline()\n"
        + "for _ in range(3):\n"
        + textwrap.indent(CALL.format(url=url), "    ")
        + "print('done')"
    )
    handler = type("Refusing", (Refusing,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        agent = subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment(tmp_path, **variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert agent.stderr is not None
        first = agent.stderr.readline()
        printed, rest = agent.communicate("go on\n", timeout=60)
        server.shutdown()
    assert printed == "done\n"
    assert first == f"causepath: no spans get to {endpoint}: {reason}; the agent goes on\n"
    assert rest == f"causepath: 8 spans could not be sent to {endpoint}: {reason}\n"


def test_what_a_full_queue_has_no_room_for_is_counted(tmp_path: Path, url: str) -> None:
    code = (
        "import causepath.auto\n"
        "from opentelemetry import trace\n"
        + CALL.format(url=url)
        + "tracer = trace.get_tracer('mine')\n"
        + "for _ in range(98):\n    tracer.start_span('s').end()\n"
        + "print('done')"
    )
    done = forked(code, tmp_path, OTEL_BSP_MAX_QUEUE_SIZE="10", OTEL_BSP_SCHEDULE_DELAY="60000")
    arrived = len(written(tmp_path))
    assert 10 <= arrived < 100
    assert done.stdout == "done\n"
    assert done.stderr == (
        f"causepath: {arrived} spans written to {tmp_path / 'traces.jsonl'}\n"
        f"causepath: {100 - arrived} spans could not be written to {tmp_path / 'traces.jsonl'}: "
        "they came faster than they could be sent\n"
    )


def test_a_collector_that_never_answers_keeps_no_file_from_being_written(
    tmp_path: Path, url: str
) -> None:
    code = "import causepath.auto\n" + CALL.format(url=url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = forked(
            code,
            tmp_path,
            OTEL_TRACES_EXPORTER="otlp,otlp_json_file",
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        )
    assert done.stdout.count("resourceSpans") == 1
    assert done.stderr == (
        f"causepath: 2 spans could not be sent to {endpoint}: no answer in time\n"
    )


def test_the_file_is_appended_whole_lines_at_a_time_by_many_processes(
    tmp_path: Path, url: str
) -> None:
    code = "import causepath.auto\n" + CALL.format(url=url) * 5
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment(tmp_path), stderr=subprocess.DEVNULL
        )
        for _ in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(written(tmp_path)) == 4 * 5 * 2


def test_a_forked_child_writes_its_own_spans_and_only_those(tmp_path: Path, url: str) -> None:
    code = (
        "import causepath.auto, os\n"
        + CALL.format(url=url)
        + "if (child := os.fork()) == 0:\n"
        + textwrap.indent(CALL.format(url=url), "    ")
        + "    raise SystemExit\n"
        "os.waitpid(child, 0)\n"
    )
    done = forked(f"import warnings; warnings.simplefilter('ignore')\n{code}", tmp_path)
    assert len(written(tmp_path)) == 4
    assert done.stderr.count("spans written") == 1


def test_a_child_forked_while_the_set_up_is_made_does_not_hang(tmp_path: Path, url: str) -> None:
    code = (
        "import os, threading, warnings; warnings.simplefilter('ignore')\n"
        "import causepath.auto\n"
        "from causepath import instrumentor\n"
        "from causepath.export import default_provider as set_up\n"
        "made, forked = threading.Event(), threading.Event()\n"
        "make = set_up.default_provider\n"
        "def slow(config):\n    made.set(); forked.wait(); return make(config)\n"
        "set_up.default_provider = slow\n"
        "def call():\n"
        + textwrap.indent(CALL.format(url=url), "    ")
        + "thread = threading.Thread(target=call); thread.start(); made.wait()\n"
        "if (child := os.fork()) == 0:\n"
        "    set_up.default_provider = make; call(); raise SystemExit\n"
        "forked.set(); os.waitpid(child, 0); thread.join()\n"
    )
    forked(code, tmp_path)
    assert len(written(tmp_path)) == 4


def test_workers_of_multiprocessing_write_their_spans_and_stay_quiet(
    tmp_path: Path, url: str
) -> None:
    (tmp_path / "main.py").write_text(
        "import causepath.auto, multiprocessing, warnings\n"
        "warnings.simplefilter('ignore')\n"
        f"def call():\n{textwrap.indent(CALL.format(url=url), '    ')}"
        "if __name__ == '__main__':\n"
        "    call()\n"
        "    for method in ('fork', 'spawn'):\n"
        "        worker = multiprocessing.get_context(method).Process(target=call)\n"
        "        worker.start(); worker.join(); assert worker.exitcode == 0\n"
    )
    done = run([sys.executable, "main.py"], tmp_path)
    assert len(written(tmp_path)) == 6
    assert done.stderr == f"causepath: 2 spans written to {tmp_path / 'traces.jsonl'}\n"


RUNNER = """
import anthropic

@anthropic.beta_tool
def get_weather(city: str) -> str:
    "The weather in a city."
    return "sunny in " + city

client = anthropic.Anthropic(base_url={url!r}, api_key="x")
client.beta.messages.tool_runner(
    model="m", max_tokens=9, tools=[get_weather], messages=[dict(role="user", content="?")]
).until_done()
"""


def test_what_the_sdk_writes_first_of_all_is_in_one_trace_with_the_rest(
    tmp_path: Path, weather: str
) -> None:
    """Nobody has set up OpenTelemetry when the tool runner begins its span."""
    python(RUNNER.format(url=weather), tmp_path, CAUSEPATH="1")
    spans = written(tmp_path)
    assert len({span["traceId"] for span in spans}) == 1
    root, *calls = sorted(spans, key=lambda span: int(span["startTimeUnixNano"]))
    assert root["name"].startswith("invoke_agent")
    assert [span["name"] for span in calls] == ["chat m", "execute_tool get_weather", "chat m"]
    assert {span["parentSpanId"] for span in calls} == {root["spanId"]}


AGENTS_IN_WORKERS = """
import multiprocessing, sys
import anthropic

def get_weather(city):
    return "sunny in " + city

def agent(url):
    messages = [{{"role": "user", "content": "?"}}]
    while True:
        with anthropic.Anthropic(base_url=url, api_key="x") as client:
            reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        if reply.stop_reason != "tool_use":
            return
        results = [
            {{"type": "tool_result", "tool_use_id": b.id, "content": get_weather(**b.input)}}
            for b in reply.content
        ]
        messages.append({{"role": "assistant", "content": reply.content}})
        messages.append({{"role": "user", "content": results}})

if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(1) as pool:
        pool.map(agent, [{url!r}])
        pool.close()
        pool.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_an_agent_of_the_main_module_is_the_same_in_a_worker(
    tmp_path: Path, weather: str, method: str
) -> None:
    script = tmp_path / "some_agent.py"
    script.write_text(AGENTS_IN_WORKERS.format(url=weather, method=method))
    run([sys.executable, str(script)], tmp_path, CAUSEPATH="1")
    names = [span["name"] for span in written(tmp_path)]
    assert sorted(names) == [
        "chat m", "chat m", "execute_tool get_weather", "invoke_agent some_agent",
    ]  # fmt: skip
    (tool,) = (span for span in written(tmp_path) if span["name"].startswith("execute_tool"))
    assert "causepath.tool.inferred" not in {a["key"] for a in tool["attributes"]}


@pytest.mark.parametrize("handled", [False, True], ids=["default", "own handler"])
def test_sigterm_loses_no_span(tmp_path: Path, url: str, handled: bool) -> None:
    own = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n" if handled else ""
    code = (
        "import signal, sys\n"
        f"{own}import causepath.auto, time\n{CALL.format(url=url)}\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == (7 if handled else -signal.SIGTERM)
    said = process.stderr.read().decode()
    process.stdout.close()
    process.stderr.close()
    assert said == f"causepath: 2 spans written to {tmp_path / 'traces.jsonl'}\n"
    assert len(written(tmp_path)) == 2


def test_a_file_that_cannot_be_written_is_said_once_and_harms_nothing(
    tmp_path: Path, url: str
) -> None:
    code = "import causepath.auto\n" + CALL.format(url=url) + "print('done')"
    path = tmp_path / "missing" / "traces.jsonl"
    done = forked(code, tmp_path, CAUSEPATH_FILE=str(path))
    assert done.stdout == "done\n"
    assert done.stderr == (
        f"causepath: 2 spans could not be written to {path}: No such file or directory\n"
    )


def test_starting_python_imports_nothing_while_the_variable_is_unset(tmp_path: Path) -> None:
    code = "import sys; print([m for m in sys.modules if m.startswith(('causepath', 'opentel'))])"
    assert python(code, tmp_path).stdout == "[]\n"
    for value in ("", "0", "false", "no", "off"):
        assert python(code, tmp_path, CAUSEPATH=value).stdout == "[]\n"


@pytest.mark.parametrize("way", [{"CAUSEPATH": "1"}, {}], ids=["variable", "import"])
def test_enabling_imports_no_sdk(tmp_path: Path, way: dict[str, str]) -> None:
    code = """
        import causepath.auto, sys
        sdks = ("anthropic", "httpx", "httpx2", "opentelemetry.sdk", "opentelemetry.exporter")
        print([m for m in sys.modules if m in sdks])
    """
    assert python(code, tmp_path, **way).stdout == "[]\n"


def test_without_the_opentelemetry_sdk_it_says_what_to_install(tmp_path: Path, url: str) -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "import causepath.auto\n" + CALL.format(url=url) + "print('done')"
    )
    done = python(code, tmp_path)
    assert done.stdout == "done\n"
    assert done.stderr == (
        "causepath: no spans are written: the OpenTelemetry SDK is not installed; type: "
        "pip install 'causepath[auto]'\n"
    )
