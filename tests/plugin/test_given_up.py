"""A tool that is given up ends, as the agent saw it, when its result is sent without it."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import trace

import causepath
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import ByTurn, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opentelemetry.sdk.trace import ReadableSpan

pytestmark = pytest.mark.timeout(30)

USAGE = Usage(3, 2)
DONE = Reply("Done.", usage=USAGE)
PATIENCE = 0.05

GO_ON = threading.Event()
"""What tools that are given up wait for, until the run is over."""


LEFT: list[threading.Event] = []
"""When they are over."""


def asked(*names: str) -> Reply:
    uses = [ToolUse(name, {"q": f"about {name}"}, id=f"toolu_{name}") for name in names]
    return Reply(uses, usage=USAGE)


def slow(q: str) -> str:
    left = threading.Event()
    LEFT.append(left)
    try:
        GO_ON.wait(20)
        with trace.get_tracer("mine").start_as_current_span("late"):
            return f"too late for {q}"
    finally:
        left.set()


TRIED: set[str] = set()


def slow_once(q: str) -> str:
    if q in TRIED:
        return f"found {q}"
    TRIED.add(q)
    return slow(q)


def slower(q: str) -> str:
    return slow(q)


def quick(q: str) -> str:
    return f"found {q}"


async def asleep(q: str) -> str:
    await asyncio.sleep(20)
    return f"never {q}"


async def asleep_once(q: str) -> str:
    if q in TRIED:
        return f"found {q}"
    TRIED.add(q)
    return await asleep(q)


@causepath.tool
def declared(q: str) -> str:
    return slow(q)


def job(q: str) -> Any:
    """A plain function that gives back a task, which nobody waits for to the end."""
    return asyncio.get_running_loop().run_in_executor(None, GO_ON.wait, 20)


TOOLS = {
    "slow": slow,
    "slow_once": slow_once,
    "slower": slower,
    "quick": quick,
    "asleep": asleep,
    "asleep_once": asleep_once,
    "declared": declared,
    "job": job,
}


def is_allowed(q: str) -> bool:
    return bool(q)


CHECKS = {"slow": is_allowed}


def result(call: Any, content: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call.id, "content": content, **more}


async def by_to_thread(call: Any) -> dict[str, Any]:
    try:
        work = asyncio.to_thread(TOOLS[call.name], **call.input)
        return result(call, await asyncio.wait_for(work, PATIENCE))
    except asyncio.TimeoutError:
        return result(call, "timed out", is_error=True)


async def by_pool(call: Any) -> dict[str, Any]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(TOOLS[call.name], **call.input)
    pool.shutdown(wait=False)
    try:
        return result(call, future.result(timeout=PATIENCE))
    except TimeoutError:
        return result(call, "timed out")


async def by_thread(call: Any) -> dict[str, Any]:
    thread = threading.Thread(target=TOOLS[call.name], kwargs=call.input, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return result(call, "still going", is_error=True)


async def cancelled(call: Any) -> dict[str, Any]:
    task = asyncio.ensure_future(TOOLS[call.name](**call.input))
    await asyncio.sleep(PATIENCE)
    task.cancel()
    return result(call, "cancelled", is_error=True)


async def abandoned(call: Any) -> dict[str, Any]:
    future = TOOLS[call.name](**call.input)
    await asyncio.wait([future], timeout=PATIENCE)
    return result(call, "no result yet")


async def tried_again(call: Any) -> dict[str, Any]:
    TRIED.clear()
    await by_to_thread(call)
    return await by_to_thread(call)


async def tried_again_in_a_task(call: Any) -> dict[str, Any]:
    TRIED.clear()
    try:
        content = await asyncio.wait_for(TOOLS[call.name](**call.input), PATIENCE)
    except asyncio.TimeoutError:
        content = await TOOLS[call.name](**call.input)
    return result(call, content)


async def hedged(call: Any) -> dict[str, Any]:
    """The same once more, as there is no answer yet; whoever is first wins."""
    TRIED.clear()
    first = asyncio.ensure_future(TOOLS[call.name](**call.input))
    await asyncio.sleep(PATIENCE)
    second = asyncio.ensure_future(TOOLS[call.name](**call.input))
    content = await second
    first.cancel()
    await asyncio.wait([first])
    return result(call, content)


async def tried_again_in_a_pool(call: Any) -> dict[str, Any]:
    TRIED.clear()
    await by_pool(call)
    return await by_pool(call)


async def tried_again_in_threads(call: Any) -> dict[str, Any]:
    await by_thread(call)
    return await by_thread(call)


async def while_another_goes_on(call: Any) -> dict[str, Any]:
    """Until the tool that was given up has ended by itself."""
    if call.name == "quick":
        while not LEFT or not LEFT[-1].is_set():
            await asyncio.sleep(0.001)
        return result(call, quick(**call.input))
    told = await by_to_thread(call)
    UP.append(time.time_ns())
    GO_ON.set()
    return told


UP: list[int] = []
"""When a tool was given up."""


async def checked_first(call: Any) -> dict[str, Any]:
    """Something else of the name, which says nothing, goes before."""
    CHECKS[call.name](**call.input)
    return await by_to_thread(call)


async def converse(
    url: str, names: tuple[str, ...], carry_out: Callable[[Any], Awaitable[Any]]
) -> None:
    messages: list[Any] = [{"role": "user", "content": "?"}]
    async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
        while True:
            reply = await client.messages.create(model="m", max_tokens=9, messages=messages)
            if reply.stop_reason != "tool_use":
                break
            results = await asyncio.gather(*map(carry_out, reply.content))
            messages.append({"role": "assistant", "content": reply.content})
            messages.append({"role": "user", "content": results})
    GO_ON.set()
    for left in LEFT:
        await asyncio.to_thread(left.wait, 20)


def spans_of(names: tuple[str, ...], carry_out: Any) -> list[ReadableSpan]:
    GO_ON.clear()
    LEFT.clear()
    with MessagesApi(ByTurn([asked(*names), DONE])) as api, Recording() as recording:
        asyncio.run(converse(api.url, names, carry_out))
        return list(recording.spans())


def told(spans: list[ReadableSpan]) -> list[dict[str, Any]]:
    """Of each tool: whether it ended before the request that tells of it, and how."""
    second = max(s.start_time or 0 for s in spans if s.name == "chat m")
    found = []
    for span in sorted(
        spans,
        key=lambda s: (str((s.attributes or {}).get("gen_ai.tool.call.id")), s.start_time or 0),
    ):
        about = dict(span.attributes or {})
        if span.name.startswith("execute_tool"):
            found.append(
                {
                    "tool": about["gen_ai.tool.name"],
                    "ended before": (span.end_time or 0) <= second,
                    **{
                        key: about[name]
                        for key, name in (
                            ("error", "error.type"),
                            ("given_up", "causepath.tool.given_up"),
                            ("inferred", "causepath.tool.inferred"),
                        )
                        if name in about
                    },
                }
            )
    return found


def given_up(tool: str, error: str) -> dict[str, Any]:
    return {"tool": tool, "ended before": True, "error": error, "given_up": True}


CASES: list[tuple[tuple[str, ...], Any, list[dict[str, Any]]]] = [
    (("slow",), by_to_thread, [given_up("slow", "tool_error")]),
    (
        ("quick", "slow"),
        by_to_thread,
        [{"tool": "quick", "ended before": True}, given_up("slow", "tool_error")],
    ),
    (
        ("slow", "slower"),
        by_to_thread,
        [given_up("slow", "tool_error"), given_up("slower", "tool_error")],
    ),
    (("slow",), by_pool, [given_up("slow", "given_up")]),
    (("slow",), by_thread, [given_up("slow", "tool_error")]),
    (("asleep",), cancelled, [given_up("asleep", "tool_error")]),
    (("job",), abandoned, [given_up("job", "given_up")]),
    (("declared",), by_to_thread, [given_up("declared", "tool_error")]),
    (
        ("slow_once",),
        tried_again,
        [given_up("slow_once", "given_up"), {"tool": "slow_once", "ended before": True}],
    ),
    (
        ("asleep_once",),
        tried_again_in_a_task,
        [given_up("asleep_once", "given_up"), {"tool": "asleep_once", "ended before": True}],
    ),
    (
        ("asleep_once",),
        hedged,
        [given_up("asleep_once", "given_up"), {"tool": "asleep_once", "ended before": True}],
    ),
    (
        ("slow_once",),
        tried_again_in_a_pool,
        [given_up("slow_once", "given_up"), {"tool": "slow_once", "ended before": True}],
    ),
    (
        ("slow",),
        tried_again_in_threads,
        [given_up("slow", "given_up"), given_up("slow", "tool_error")],
    ),
    (("slow",), checked_first, [given_up("slow", "tool_error")]),
]


@pytest.mark.parametrize(
    ("names", "carry_out", "expected"),
    CASES,
    ids=[f"{'+'.join(names)} {way.__name__}" for names, way, _ in CASES],
)
def test_a_tool_ends_when_its_result_is_sent(
    names: tuple[str, ...], carry_out: Any, expected: list[dict[str, Any]]
) -> None:
    assert told(spans_of(names, carry_out)) == expected


def hand_over(q: str) -> str:
    """As a tool does that lets another agent go on in the conversation."""
    return str(SEND[-1](f"over to you: {q}").content[0].text)


SEND: list[Any] = []


@pytest.mark.parametrize("function", [hand_over, causepath.tool(hand_over)])
def test_a_tool_that_sends_its_own_result_goes_on(function: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": "?"}]
    tools = {"hand_over": function}
    with (
        MessagesApi(ByTurn([asked("hand_over"), DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        reply = client.messages.create(model="m", max_tokens=9, messages=messages)

        def send(content: str) -> Any:
            answer = {"role": "user", "content": [result(reply.content[0], content)]}
            said: Any = [*messages, {"role": "assistant", "content": reply.content}, answer]
            return client.messages.create(model="m", max_tokens=9, messages=said)

        SEND.append(send)
        for call in reply.content:
            tools[call.name](**call.input)  # type: ignore[union-attr]
        assert told(list(recording.spans())) == [{"tool": "hand_over", "ended before": False}]


def test_a_tool_ends_when_it_is_given_up_though_others_go_on() -> None:
    spans = spans_of(("slow", "quick"), while_another_goes_on)
    assert told(spans)[1] == given_up("slow", "tool_error")
    (tool,) = (s for s in spans if s.name == "execute_tool slow")
    (late,) = (s for s in spans if s.name == "late")
    assert (tool.end_time or 0) <= UP[-1] <= (late.start_time or 0)


def test_a_result_that_comes_late_and_is_sent_was_not_given_up() -> None:
    async def told_to_stop(call: Any) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(TOOLS[call.name], **call.input)
            while not LEFT:
                await asyncio.sleep(0.001)
            assert not future.cancel()
            GO_ON.set()
            return result(call, future.result())

    assert told(spans_of(("slow",), told_to_stop)) == [{"tool": "slow", "ended before": True}]


def test_what_it_does_afterwards_is_below_it_still() -> None:
    spans = spans_of(("slow",), by_to_thread)
    (tool,) = (s for s in spans if s.name == "execute_tool slow")
    (late,) = (s for s in spans if s.name == "late")
    assert late.parent is not None
    assert tool.context is not None
    assert late.parent.span_id == tool.context.span_id
    assert (late.start_time or 0) >= (tool.end_time or 0)
    assert "causepath.tool.outcome" not in (tool.attributes or {})
