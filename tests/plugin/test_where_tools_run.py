"""Tools of a hand-written loop, wherever it runs them: parent, causes and times are right."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import anyio
import anyio.to_thread
import pytest

from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import InOrder, Reply, ToolUse, Usage
from tests.support.stop_watch import ROUNDS, are_close, ratios

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

USAGE = Usage(3, 2)
ASKED = Reply(
    [ToolUse("search", {"q": "x"}, id="toolu_s"), ToolUse("save", {"q": "y"}, id="toolu_v")],
    usage=USAGE,
)
DONE = Reply("Done.", usage=USAGE)

CLOCK: list[tuple[int, int]] = []
"""When the tools ran, by their own clocks, in ns."""


def work(q: str) -> str:
    began_ns = time.time_ns()
    threading.Event().wait(0.05)
    CLOCK.append((began_ns, time.time_ns()))
    return f"done {q}"


async def work_later(q: str) -> str:
    began_ns = time.time_ns()
    await asyncio.sleep(0.05)
    CLOCK.append((began_ns, time.time_ns()))
    return f"done {q}"


Tools = dict[str, Any]


async def in_a_bare_pool(tools: Tools, calls: Any) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(tools[call.name], **call.input) for call in calls]
        return [future.result() for future in futures]


async def in_bare_threads(tools: Tools, calls: Any) -> list[str]:
    results: dict[str, str] = {}

    def run(call: Any) -> None:
        results[call.id] = tools[call.name](**call.input)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[call.id] for call in calls]


async def by_to_thread(tools: Tools, calls: Any) -> list[str]:
    return await asyncio.gather(
        *(asyncio.to_thread(tools[call.name], **call.input) for call in calls)
    )


async def by_run_in_executor(tools: Tools, calls: Any) -> list[str]:
    loop = asyncio.get_running_loop()
    return await asyncio.gather(
        *(loop.run_in_executor(None, tools[call.name], call.input["q"]) for call in calls)
    )


async def by_anyio_threads(tools: Tools, calls: Any) -> list[str]:
    results: dict[str, str] = {}

    async def run(call: Any) -> None:
        results[call.id] = await anyio.to_thread.run_sync(tools[call.name], call.input["q"])

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(run, call)
    return [results[call.id] for call in calls]


async def by_gather(tools: Tools, calls: Any) -> list[str]:
    return await asyncio.gather(*(tools[call.name](**call.input) for call in calls))


async def by_anyio_tasks(tools: Tools, calls: Any) -> list[str]:
    results: dict[str, str] = {}

    async def run(call: Any) -> None:
        results[call.id] = await tools[call.name](**call.input)

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(run, call)
    return [results[call.id] for call in calls]


WAYS = [
    (in_a_bare_pool, work),
    (in_bare_threads, work),
    (by_to_thread, work),
    (by_run_in_executor, work),
    (by_anyio_threads, work),
    (by_gather, work_later),
    (by_anyio_tasks, work_later),
]


async def converse(url: str, function: Any, carry_out: Callable[..., Awaitable[list[str]]]) -> None:
    tools = {"search": function, "save": lambda q: function(q)}
    messages: list[Any] = [{"role": "user", "content": "?"}]
    async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
        reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
        calls = [block for block in reply.content if block.type == "tool_use"]
        results = await carry_out(tools, calls)
        messages += [{"role": "assistant", "content": reply.content}, answers(calls, results)]
        await client.messages.create(model="m", max_tokens=9, messages=messages)


async def while_streaming(url: str) -> None:
    """Each tool is started as soon as its block is complete, while the reply goes on."""
    tools = {"search": work_later, "save": lambda q: work_later(q)}
    messages: list[Any] = [{"role": "user", "content": "?"}]
    async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
        calls, started = [], []
        async with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
            async for event in stream:
                if event.type == "content_block_stop" and event.content_block.type == "tool_use":
                    call = event.content_block
                    calls.append(call)
                    asked: Any = call.input
                    started.append(asyncio.create_task(tools[call.name](**asked)))
            reply = await stream.get_final_message()
        results = await asyncio.gather(*started)
        messages += [{"role": "assistant", "content": reply.content}, answers(calls, results)]
        await client.messages.create(model="m", max_tokens=9, messages=messages)


def answers(calls: Any, results: list[str]) -> Any:
    content = [
        {"type": "tool_result", "tool_use_id": call.id, "content": result}
        for call, result in zip(calls, results, strict=True)
    ]
    return {"role": "user", "content": content}


def check(recording: Recording) -> None:
    spans = recording.spans()
    tools = {str(span.name): span for span in spans if span.name.startswith("execute_tool")}
    lines = recording.text().splitlines()
    told = sorted(line for line in lines if "execute_tool" in line.split("  ")[1])
    assert told == [
        "  execute_tool save  tool id=toolu_v (UNSET) <-tool_call- chat m #1",
        "  execute_tool search  tool id=toolu_s (UNSET) <-tool_call- chat m #1",
    ]
    assert len([line for line in lines if not line.startswith(" ")]) == 1
    began, ended = zip(*CLOCK, strict=True)
    # A tool's own readings lie inside its span, which is only a little longer.
    assert min(span.start_time for span in tools.values()) <= min(began)
    assert max(span.end_time for span in tools.values()) >= max(ended)


@ROUNDS
@pytest.mark.parametrize(("way", "function"), WAYS, ids=[way.__name__ for way, _ in WAYS])
def test_parents_and_times_are_right(way: Any, function: Any, rounds: int) -> None:
    told: list[float] = []
    for _ in range(rounds):
        CLOCK.clear()
        with MessagesApi(InOrder([ASKED, DONE])) as api, Recording() as recording:
            asyncio.run(converse(api.url, function, way))
            check(recording)
            told += ratios(recording, CLOCK)
    assert are_close(told, rounds)


@ROUNDS
def test_tools_started_while_their_reply_streams(rounds: int) -> None:
    told: list[float] = []
    for _ in range(rounds):
        CLOCK.clear()
        with MessagesApi(InOrder([ASKED, DONE])) as api, Recording() as recording:
            asyncio.run(while_streaming(api.url))
            check(recording)
            told += ratios(recording, CLOCK)
    assert are_close(told, rounds)
