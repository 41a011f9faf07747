"""Programs whose agents do not come to their own end: what their runs and tools say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from causepath.providers.openai import _forces_tool
from tests.support.forked import Forks
from tests.support.messages_api import messages_api_process
from tests.support.traced_programs import plain_environment, spans_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

FORKS = Forks("anthropic", "anyio", "opentelemetry.sdk.trace")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with messages_api_process("tests.plugin.scripts:weather") as found:
        yield found


AGENT = """
import asyncio, os, signal, sys, threading, time
import causepath, causepath.auto
import anthropic

URL = sys.argv[1]
LIMIT = 3  # seconds, for all up to where the tool waits, on a busy machine too
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores

def interrupt(number):
    os.kill(os.getpid(), number)
    time.sleep(20)

def ask(tool):
    client = anthropic.Anthropic(base_url=URL, api_key="x")
    tools, messages = {"get_weather": tool}, [{"role": "user", "content": "?"}]
    while True:
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)
        if reply.stop_reason != "tool_use":
            return
        results = [
            {"type": "tool_result", "tool_use_id": b.id, "content": tools[b.name](**b.input)}
            for b in reply.content
        ]
        messages += [{"role": "assistant", "content": reply.content},
                     {"role": "user", "content": results}]

async def ask_async():
    async def get_weather(city):
        at_tool.set()
        await asyncio.sleep(20)
    client = anthropic.AsyncAnthropic(base_url=URL, api_key="x")
    tools, messages = {"get_weather": get_weather}, [{"role": "user", "content": "?"}]
    while True:
        reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
        if reply.stop_reason != "tool_use":
            return
        results = [
            {"type": "tool_result", "tool_use_id": b.id, "content": await tools[b.name](**b.input)}
            for b in reply.content
        ]
        messages += [{"role": "assistant", "content": reply.content},
                     {"role": "user", "content": results}]

at_tool = asyncio.Event()

async def cancels():
    task = asyncio.create_task(ask_async())
    await at_tool.wait()
    task.cancel()
    await asyncio.wait([task])

async def fails():
    await at_tool.wait()
    raise KeyError("sibling")

async def group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask_async())
        tasks.create_task(fails())

async def waits(limit):
    try:
        await asyncio.wait_for(limit(), LIMIT)
    except asyncio.TimeoutError:
        pass

async def gathers():
    await asyncio.gather(ask_async())

async def deadline():
    try:
        async with asyncio.timeout(LIMIT):
            await ask_async()
    except TimeoutError:
        pass

async def anyio_deadline():
    import anyio
    with anyio.move_on_after(LIMIT):
        await ask_async()

async def presses_ctrl_c():
    task = asyncio.create_task(ask_async())
    await at_tool.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await task

def fails_in_tool(city):
    raise ValueError(city)

def times_out(city):
    raise TimeoutError

def exits(city):
    sys.exit(3)

def hangs(city):
    started.set()
    time.sleep(20)

started = threading.Event()
"""

TOO_LONG = """
import socket
server = socket.create_server(("127.0.0.1", 0))
URL = f"http://127.0.0.1:{server.getsockname()[1]}"

async def asks_in_vain():
    client = anthropic.AsyncAnthropic(base_url=URL, api_key="x")
    messages = [{"role": "user", "content": "?"}]
    asking = client.messages.create(model="m", max_tokens=9, messages=messages)
    try:
        await asyncio.wait_for(asking, 0.5)
    except TimeoutError:
        pass

asyncio.run(asks_in_vain())
"""

HANGS_IN_A_DAEMON_THREAD = """
threading.Thread(target=ask, args=[hangs], daemon=True).start()
started.wait()
"""

DIES_IN_A_THREAD = """
thread = threading.Thread(target=ask, args=[fails_in_tool])
thread.start()
thread.join()
"""

DECLARED = """
with causepath.agent("mine"):
    raise LookupError
"""

EXITS_WELL = """
with causepath.agent("mine"):
    sys.exit(0)
"""

CLOSED = """
@causepath.agent("mine")
def talk():
    yield 1
    yield 2

for _ in talk():
    break
"""

NOT_FOUND_TOOL = """
client = anthropic.Anthropic(base_url=URL, api_key="x")

def loop():
    client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}])
    time.sleep(0.2)
    raise ValueError("in the loop itself")

loop()
"""

CAUGHT = """
def loop():
    try:
        ask(fails_in_tool)
    except ValueError:
        pass

loop()
"""

UNMEASURED_IN_A_THREAD = """
hangs_unseen = eval("lambda city: (started.set(), time.sleep(20))")
threading.Thread(target=ask, args=[hangs_unseen], daemon=True).start()
started.wait()
interrupt(signal.SIGTERM)
"""

UNMEASURED_IN_A_TASK = """
async def loop():
    client = anthropic.AsyncAnthropic(base_url=URL, api_key="x")
    messages = [{"role": "user", "content": "?"}]
    await client.messages.create(model="m", max_tokens=9, messages=messages)
    at_tool.set()
    await asyncio.sleep(20)

async def main():
    task = asyncio.create_task(loop())
    await at_tool.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await task

asyncio.run(main())
"""

FORM_OF_A_TOOL = """
def main():
    client = anthropic.Anthropic(base_url=URL, api_key="x")
    client.messages.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}],
        tools=[{"name": "get_weather", "input_schema": {"type": "object"}}],
        tool_choice={"type": "tool", "name": "get_weather"},
    )
    interrupt(signal.SIGTERM)

main()
"""

ASKED_AND_RETURNED = """
def extract():
    client = anthropic.Anthropic(base_url=URL, api_key="x")
    client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}])

thread = threading.Thread(target=extract)
thread.start()
thread.join()
interrupt(signal.SIGTERM)
"""

RUN, TOOL = "invoke_agent", "execute_tool get_weather"

ENDINGS: dict[str, tuple[str, dict[str, dict[str, object]]]] = {
    "ctrl-c in a tool that nothing measures": (
        "ask(eval('lambda city: interrupt(signal.SIGINT)'))",
        {
            RUN: {"outcome": "interrupted", "error": "KeyboardInterrupt"},
            TOOL: {"unfinished": True, "error": "KeyboardInterrupt", "inferred": True},
        },
    ),
    "sigterm in a tool that nothing measures": (
        "def main():\n    ask(eval('lambda city: interrupt(signal.SIGTERM)'))\nmain()",
        {
            RUN: {"outcome": "interrupted", "error": "SIGTERM"},
            TOOL: {"unfinished": True, "error": "SIGTERM", "inferred": True},
        },
    ),
    "sigterm in a thread whose tool nothing measures": (
        UNMEASURED_IN_A_THREAD,
        {
            RUN: {"outcome": "interrupted", "error": "SIGTERM"},
            TOOL: {"unfinished": True, "error": "SIGTERM", "inferred": True},
        },
    ),
    "sigterm in a task whose tool nothing measures": (
        UNMEASURED_IN_A_TASK,
        {
            RUN: {"outcome": "interrupted", "error": "SIGTERM"},
            TOOL: {"unfinished": True, "error": "SIGTERM", "inferred": True},
        },
    ),
    "sigterm after an answer that had the form of a tool": (FORM_OF_A_TOOL, {RUN: {}}),
    "sigterm after the code that asked has returned": (ASKED_AND_RETURNED, {RUN: {}}),
    "ctrl-c in a tool": (
        "def get_weather(city): interrupt(signal.SIGINT)\nask(get_weather)",
        {
            RUN: {"outcome": "interrupted", "error": "KeyboardInterrupt"},
            TOOL: {"error": "KeyboardInterrupt"},
        },
    ),
    "ctrl-c in asyncio": (
        "asyncio.run(presses_ctrl_c())",
        {
            RUN: {"outcome": "interrupted", "error": "KeyboardInterrupt"},
            TOOL: {"error": "CancelledError"},
        },
    ),
    "sigterm": (
        "def get_weather(city): interrupt(signal.SIGTERM)\nask(get_weather)",
        {
            RUN: {"outcome": "interrupted", "error": "SIGTERM"},
            TOOL: {"unfinished": True, "error": "SIGTERM"},
        },
    ),
    "a tool that raised": (
        "ask(fails_in_tool)",
        {RUN: {"outcome": "failed", "error": "ValueError"}, TOOL: {"error": "ValueError"}},
    ),
    "a tool that raised, and somebody caught it": (
        CAUGHT,
        {RUN: {"outcome": "failed", "error": "ValueError"}, TOOL: {"error": "ValueError"}},
    ),
    "a tool that ran out of time": (
        "ask(times_out)",
        {RUN: {"outcome": "timed_out", "error": "TimeoutError"}, TOOL: {"error": "TimeoutError"}},
    ),
    "a tool that ends the program": (
        "ask(exits)",
        {RUN: {"outcome": "interrupted", "error": "SystemExit"}, TOOL: {"error": "SystemExit"}},
    ),
    "an exception in the loop, beside no tool that was found": (
        NOT_FOUND_TOOL,
        {RUN: {"outcome": "failed", "error": "ValueError"}},
    ),
    "a task that is cancelled": (
        "asyncio.run(cancels())",
        {
            RUN: {"outcome": "interrupted", "error": "CancelledError"},
            TOOL: {"error": "CancelledError"},
        },
    ),
    "a group of tasks of which another one failed": (
        "asyncio.run(group())",
        {
            RUN: {"outcome": "interrupted", "error": "CancelledError"},
            TOOL: {"error": "CancelledError"},
        },
    ),
    "wait_for": (
        "asyncio.run(waits(ask_async))",
        {
            RUN: {"outcome": "timed_out", "error": "CancelledError"},
            TOOL: {"error": "CancelledError"},
        },
    ),
    "wait_for around gather": (
        "asyncio.run(waits(gathers))",
        {
            RUN: {"outcome": "timed_out", "error": "CancelledError"},
            TOOL: {"error": "CancelledError"},
        },
    ),
    "a deadline of asyncio": (
        "asyncio.run(deadline())",
        {
            RUN: {"outcome": "timed_out", "error": "CancelledError"},
            TOOL: {"error": "CancelledError"},
        },
    ),
    "a deadline of anyio": (
        "asyncio.run(anyio_deadline())",
        {
            RUN: {"outcome": "timed_out", "error": "CancelledError"},
            TOOL: {"error": "CancelledError"},
        },
    ),
    "a model call that takes too long": (
        TOO_LONG,
        {RUN: {"outcome": "timed_out", "error": "CancelledError"}},
    ),
    "an exception after the answer": (
        "def agent():\n    ask(lambda city: 'sunny')\n    raise ValueError\nagent()",
        {RUN: {"outcome": "failed", "error": "ValueError"}, TOOL: {}},
    ),
    "a daemon thread that hangs as the program ends": (
        HANGS_IN_A_DAEMON_THREAD,
        {RUN: {"outcome": "unfinished"}, TOOL: {"unfinished": True}},
    ),
    "a thread that dies": (
        DIES_IN_A_THREAD,
        {RUN: {"outcome": "failed", "error": "ValueError"}, TOOL: {"error": "ValueError"}},
    ),
    "an exception in a declared run": (
        DECLARED,
        {RUN: {"outcome": "failed", "error": "LookupError"}},
    ),
    "a declared run that ends the program well": (EXITS_WELL, {RUN: {}}),
    "a generator that is closed": (CLOSED, {RUN: {"outcome": "interrupted"}}),
    "a run that comes to its end": ("ask(lambda city: 'sunny')", {RUN: {}, TOOL: {}}),
}


@pytest.mark.parametrize(
    ("choice", "forces"),
    [
        (None, False),
        ("auto", False),
        ("none", False),
        ("required", True),
        ({"type": "function", "function": {"name": "f"}}, True),
        ({"type": "custom", "name": "f"}, True),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, False),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, True),
    ],
)
def test_a_request_of_openai_forces_a_tool(choice: object, forces: bool) -> None:
    assert _forces_tool(choice) is forces


NAMES = {
    "causepath.run.outcome": "outcome",
    "causepath.tool.inferred": "inferred",
    "causepath.unfinished": "unfinished",
    "error.type": "error",
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_run_says_how_it_ended(kind: str, tmp_path: Path, url: str) -> None:
    program, expected = ENDINGS[kind]
    script = tmp_path / "agent.py"
    script.write_text(AGENT + program + "\n")
    FORKS.run(
        [str(script), url],
        cwd=tmp_path,
        env=plain_environment(
            CAUSEPATH_FILE=str(tmp_path / "traces.jsonl"), CAUSEPATH_DIGEST_KEY="tests"
        ),
        timeout=50,
    )
    spans = written(tmp_path / "traces.jsonl")
    told = {name.partition(" -c")[0]: about(span) for name, span in spans.items()}
    assert {name: value for name, value in told.items() if name != "chat m"} == expected
    (run,) = (span for name, span in spans.items() if name.startswith(RUN))
    assert all(int(run["endTimeUnixNano"]) >= int(s["endTimeUnixNano"]) for s in spans.values())


def about(span: dict[str, Any]) -> dict[str, object]:
    attributes = {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}
    found = {short: attributes[name] for name, short in NAMES.items() if name in attributes}
    assert span["status"].get("code", 0) == (
        2 if "error" in found else span["status"].get("code", 0)
    )
    return found


def written(path: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for span in spans_in(path):
        found[RUN if span["name"].startswith(RUN) else span["name"]] = span
    return found
