"""The examples of `docs/gallery.md` as a user runs them: each gives the trace that is shown there.

`make test-frameworks` installs what they need. None needs a key: a stand-in answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.messages_api import messages_api_process

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "frameworks"
BIN = ROOT / ".sdk" / "examples" / "bin"
SECONDS = 120
ANSWER = "You need no umbrella in Lisbon today."

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(300)]

SHOWN = dict(
    re.findall(
        r"^## .*?\[\w+\]\(\.\./examples/frameworks/([\w.]+)\).*?^```text\n(.*?)\n```$",
        (ROOT / "docs" / "gallery.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
)
"""The traces in the gallery, by the name of the example."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with messages_api_process("examples.frameworks.weather_script:next_answer") as found:
        yield found


@pytest.fixture
def environment(tmp_path: Path, url: str) -> dict[str, str]:
    assert BIN.exists(), "needs make .sdk/examples/.ready"
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "CAUSEPATH", "ANTHROPIC_", "PYTHON"))
    }
    return {
        **kept,
        "ANTHROPIC_API_KEY": "no-key-needed",
        "ANTHROPIC_BASE_URL": url,
        "CAUSEPATH": "1",
        "CAUSEPATH_FILE": str(tmp_path / "traces.jsonl"),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(EXAMPLES),
    }


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(environment: dict[str, str], *command: str | Path) -> str:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def running(environment: dict[str, str], *command: str | Path) -> Iterator[None]:
    """A server, until the block is over; then SIGTERM ends it, as a deployment would."""
    with (
        Path("server.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(SECONDS)
            finally:
                process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def got(address: str) -> str:
    """Asks a server that may still have to start."""
    until = time.monotonic() + SECONDS
    while (text := _tried(address)) is None:
        assert time.monotonic() < until, Path("server.log").read_text()
        time.sleep(0.1)
    return text


def _tried(address: str) -> str | None:
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as reply:
            text: str = reply.read().decode()
            return text
    except urllib.error.HTTPError:
        raise
    except (ConnectionError, urllib.error.URLError):
        return None


def trees() -> str:
    """The traces in the file as the gallery draws them: names, below what they are in."""
    spans: list[dict[str, Any]] = [
        span
        for line in Path("traces.jsonl").read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert len({span["traceId"] for span in spans}) == 1
    known = {span["spanId"] for span in spans}
    for span in spans:
        span["below"] = parent if (parent := span.get("parentSpanId")) in known else None

    def below(parent: str | None, depth: int) -> list[str]:
        children = [span for span in spans if span["below"] == parent]
        children.sort(key=lambda span: int(span["startTimeUnixNano"]))
        return [
            line
            for span in children
            for line in ("  " * depth + span["name"], *below(span["spanId"], depth + 1))
        ]

    return "\n".join(below(None, 0))


def test_fastapi_streams(environment: dict[str, str]) -> None:
    port = free_port()
    command = ("uvicorn", "fastapi_streaming:app", "--port", str(port), "--log-level", "warning")
    with running(environment, BIN / command[0], *command[1:]):
        assert got(f"http://127.0.0.1:{port}/ask?question=Umbrella") == ANSWER
    assert trees() == SHOWN["fastapi_streaming.py"]


def test_django(environment: dict[str, str]) -> None:
    port = free_port()
    script = EXAMPLES / "django_view.py"
    with running(
        environment, BIN / "python", script, "runserver", "--noreload", f"127.0.0.1:{port}"
    ):
        assert got(f"http://127.0.0.1:{port}/ask?question=Umbrella") == ANSWER
    assert trees() == SHOWN["django_view.py"]


def test_celery(environment: dict[str, str]) -> None:
    worker = ("--app", "celery_task", "worker", "--concurrency", "1", "--without-mingle")
    with running(environment, BIN / "celery", *worker):
        asking = {**environment, "CAUSEPATH": "0"}
        assert run(asking, BIN / "python", EXAMPLES / "celery_task.py") == f"{ANSWER}\n"
    assert trees() == SHOWN["celery_task.py"]


def test_langgraph(environment: dict[str, str]) -> None:
    assert run(environment, BIN / "python", EXAMPLES / "langgraph_agent.py") == f"{ANSWER}\n"
    assert trees() == SHOWN["langgraph_agent.py"]


def test_pytest(environment: dict[str, str]) -> None:
    options = ("-p", "no:cacheprovider", "-c", "none.ini", "--rootdir", ".")
    Path("none.ini").touch()
    run(environment, BIN / "pytest", *options, EXAMPLES / "test_umbrella.py")
    assert trees() == SHOWN["test_umbrella.py"]


def test_a_notebook(environment: dict[str, str]) -> None:
    """Its cell has the report below it; the kernel is not asked to trace by anything else."""
    execute = (
        "import nbclient, nbformat, sys; notebook = nbformat.read(sys.argv[1], as_version=4);"
        "nbclient.NotebookClient(notebook, timeout=120).execute();"
        "print(''.join(one.get('text', '') for one in notebook.cells[1].outputs))"
    )
    asking = {**environment, "CAUSEPATH": "0"}
    printed = run(asking, BIN / "python", "-c", execute, EXAMPLES / "umbrella.ipynb")
    assert printed.startswith(f"{ANSWER}\n")
    assert "2 model calls  1 tool " in printed
    assert trees() == SHOWN["umbrella.ipynb"]


def test_the_gallery_shows_every_example() -> None:
    helpers = {"weather_agent.py", "weather_script.py"}
    assert set(SHOWN) == {path.name for path in EXAMPLES.iterdir() if path.is_file()} - helpers
