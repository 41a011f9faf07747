"""The end of an interpreter: spans are written or dropped, and it always ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.forked import Forks
from tests.support.messages_api import MessagesApi
from tests.support.script import Latency, Reply, Usage
from tests.support.traced_programs import spans_in

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.programs

FORKS = Forks("anthropic", "opentelemetry.sdk.trace")
STALLS = Reply("Hello.", usage=Usage(3, 2), latency=Latency(before_first_delta=60))

OPEN_STREAMS = """
import asyncio, sys, threading
import anthropic, causepath.auto

ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
ask["stream"] = True
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="test")
kept = client.messages.create(**ask)
next(kept)
threading.Thread(target=lambda: list(client.messages.create(**ask)), daemon=True).start()

async def main():
    client = anthropic.AsyncAnthropic(base_url=sys.argv[1], api_key="test")
    stream = await client.messages.create(**ask)
    await anext(stream)
    task = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.05)

if sys.argv[2] == "async":
    asyncio.run(main())
"""

LEFT_STREAMS = """
import asyncio, sys
import anthropic, causepath.auto

kept = []

async def main():
    async with anthropic.AsyncAnthropic(base_url=sys.argv[1], api_key="test") as client:
        for _ in range(20):
            ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
            stream = await client.messages.create(**ask, stream=True)
            async for _ in stream:
                break
            kept.append(stream)

asyncio.run(main())
"""

ENDED_MAIN_THREAD = """
import sys, threading
import anthropic, causepath.auto

def agent():
    threading.main_thread().join()
    ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
    anthropic.Anthropic(base_url=sys.argv[1], api_key="test").messages.create(**ask)

threading.Thread(target=agent).start()
"""

SUBINTERPRETER = """
import sys
import causepath.auto

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    inside = interpreters.create("isolated" if sys.argv[1] == "isolated" else "legacy")
else:
    import _xxsubinterpreters as interpreters
    inside = interpreters.create(isolated=sys.argv[1] == "isolated")
interpreters.run_string(inside, '''
import causepath
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from causepath.export.trace_file import TraceFile
from pathlib import Path
provider = None
if "%s" == "provider":
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(TraceFile(Path("causepath-traces.jsonl"))))
causepath.instrument(provider)
with causepath.agent("inside"):
    pass
causepath.uninstrument()
''' % sys.argv[2])
interpreters.destroy(inside)
with causepath.agent("outside"):
    pass
"""


def run(
    program: str, *arguments: str, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return FORKS.run(["-c", program, *arguments], cwd=cwd, env={**os.environ, **variables})


def run_alone(program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program in an interpreter of its own, as it is about what that does at its end."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def names(folder: Path) -> list[str]:
    return sorted(span["name"] for span in spans_in(folder / "causepath-traces.jsonl"))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_streams_that_are_open_keep_no_interpreter_from_ending(kind: str, tmp_path: Path) -> None:
    with MessagesApi(STALLS) as api:
        done = run_alone(OPEN_STREAMS, api.url, kind, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "observed" not in done.stderr.lower()
    if kind == "sync":
        assert "Traceback" not in done.stderr
    assert "invoke_agent" in names(tmp_path)


def test_an_agent_in_a_thread_that_outlives_the_main_thread_is_written(tmp_path: Path) -> None:
    with MessagesApi(Reply("Hello.", usage=Usage(3, 2))) as api:
        done = run(ENDED_MAIN_THREAD, api.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == ["chat m", "invoke_agent"]


@pytest.mark.parametrize(
    ("variables", "printed", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, 2, ""),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
            0,
            "causepath: 2 spans could not be sent to http://127.0.0.1:9: Connection refused\n",
        ),
    ],
    ids=["printed", "dead collector"],
)
def test_a_thread_that_outlives_the_main_thread_sends_with_the_end(
    variables: dict[str, str], printed: int, said: str, tmp_path: Path
) -> None:
    with MessagesApi(Reply("Hello.", usage=Usage(3, 2))) as api:
        done = run(ENDED_MAIN_THREAD, api.url, cwd=tmp_path, **variables)
    assert (done.returncode, done.stderr) == (0, said)
    assert done.stdout.count('"trace_id"') == printed


ENDED_AND_STOPPED = """
import sys, threading, time
import causepath.auto

def agent():
    threading.main_thread().join()
    with causepath.agent("late"):
        pass
    print("written", flush=True)
    time.sleep(60)

threading.Thread(target=agent).start()
"""


def test_a_process_whose_main_thread_has_ended_can_be_stopped(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDED_AND_STOPPED], cwd=tmp_path, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
    assert names(tmp_path) == ["invoke_agent late"]


def test_an_event_loop_that_ends_has_no_trouble_with_what_is_ours(tmp_path: Path) -> None:
    """It closes all asynchronous generators at once, which those of the SDK and its client may
    complain of, with or without us: each closes another."""
    with MessagesApi(Reply("Hello.", usage=Usage(3, 2))) as api:
        done = run_alone(LEFT_STREAMS, api.url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "observed" not in done.stderr.lower()
    assert "AsyncStream.__stream__" not in done.stderr
    assert names(tmp_path).count("chat m") == 20


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12),
    reason="its interpreters crash on wrapt and OpenTelemetry alone",
)
@pytest.mark.parametrize(
    ("kind", "provider"),
    [
        ("shared", "ours"),
        ("isolated", "ours"),
        pytest.param(
            "isolated",
            "provider",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 13), reason="OpenTelemetry's providers need a thread"
            ),
        ),
    ],
)
def test_an_interpreter_inside_another_is_traced(kind: str, provider: str, tmp_path: Path) -> None:
    """An isolated one may have no daemon threads, as OpenTelemetry's batches need."""
    done = run_alone(SUBINTERPRETER, kind, provider, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path) == ["invoke_agent inside", "invoke_agent outside"]
