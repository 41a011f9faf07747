"""A loop hands the calls of its synchronous client to threads: whose calls they are stays known."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

import anthropic
import anyio
import anyio.to_thread
import pytest

from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording
from tests.support.script import ByTurn, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.timeout(60)

USAGE = Usage(3, 2)
ASKED = Reply(
    [
        ToolUse("search", {"q": "x one"}),
        ToolUse("search", {"q": "x two"}),
    ],
    usage=USAGE,
)
DONE = Reply("Done.", usage=USAGE)

CLOCK: list[tuple[int, int]] = []


def search(q: str) -> str:
    began_ns = time.time_ns()
    threading.Event().wait(0.01)
    CLOCK.append((began_ns, time.time_ns()))
    return f"found {q}"


Run = Any
"""`run(function, *args, **kwargs)`, which has it done elsewhere."""


async def to_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(function, *args, **kwargs)


async def run_in_executor(function: Any, *args: Any, **kwargs: Any) -> Any:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, functools.partial(function, *args, **kwargs))


async def patient(function: Any, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(function, *args, **kwargs), 20)


async def gathered(function: Any, *args: Any, **kwargs: Any) -> Any:
    (found,) = await asyncio.gather(asyncio.to_thread(function, *args, **kwargs))
    return found


async def in_a_group(function: Any, *args: Any, **kwargs: Any) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.to_thread(function, *args, **kwargs))
    return task.result()


async def by_anyio(function: Any, *args: Any, **kwargs: Any) -> Any:
    return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs))


async def by_a_helper(function: Any, *args: Any, **kwargs: Any) -> Any:
    def help_out() -> Any:
        return function(*args, **kwargs)

    return await asyncio.to_thread(help_out)


async def blocking(function: Any, *args: Any, **kwargs: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result()


async def as_they_come(function: Any, *args: Any, **kwargs: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        (done,) = as_completed([pool.submit(function, *args, **kwargs)])
        return done.result()


async def mapped(function: Any, *args: Any, **kwargs: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        (found,) = pool.map(functools.partial(function, **kwargs), *([arg] for arg in args))
        return found


async def thread_pool(function: Any, *args: Any, **kwargs: Any) -> Any:
    with ThreadPool(1) as pool:
        return pool.apply(function, args, kwargs)


async def bare_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
    found: list[Any] = []

    class Worker(threading.Thread):
        def run(self) -> None:
            found.append(function(*args, **kwargs))

    worker = Worker()
    worker.start()
    worker.join()
    return found[0]


async def thread_from_a_thread(function: Any, *args: Any, **kwargs: Any) -> Any:
    def inner() -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function, *args, **kwargs).result()

    return await asyncio.to_thread(inner)


WAYS = [
    to_thread, run_in_executor, patient, gathered, in_a_group, by_anyio, by_a_helper, blocking,
    as_they_come, thread_pool, bare_thread, thread_from_a_thread,
]  # fmt: skip


async def agent(client: Any, run: Callable[..., Awaitable[Any]]) -> None:
    tools = {"search": search}
    messages: list[Any] = [{"role": "user", "content": "?"}]
    while True:
        reply = await run(client.messages.create, model="m", max_tokens=9, messages=messages)
        calls = [block for block in reply.content if block.type == "tool_use"]
        if not calls:
            return
        results = []
        for call in calls:
            output = await run(tools[call.name], **call.input)
            results.append({"type": "tool_result", "tool_use_id": call.id, "content": output})
        messages.append({"role": "assistant", "content": reply.content})
        messages.append({"role": "user", "content": results})


async def streaming(client: Any, run: Callable[..., Awaitable[Any]]) -> None:
    """Each event of the reply in a thread."""
    tools = {"search": search}
    messages: list[Any] = [{"role": "user", "content": "?"}]
    while True:
        create = functools.partial(client.messages.create, model="m", max_tokens=9, stream=True)
        events = await run(create, messages=messages)
        calls: list[Any] = []
        while event := await run(next, events, None):
            if event.type == "content_block_start" and event.content_block.type == "tool_use":
                calls.append(event.content_block)
        if not calls:
            return
        inputs = {
            call.id: dict(block.input)  # type: ignore[union-attr]
            for call, block in zip(calls, ASKED.blocks, strict=True)
        }
        results = []
        for call in calls:
            output = await run(tools[call.name], **inputs[call.id])
            results.append({"type": "tool_result", "tool_use_id": call.id, "content": output})
        uses = [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": inputs[call.id]}
            for call in calls
        ]
        messages.append({"role": "assistant", "content": uses})
        messages.append({"role": "user", "content": results})


def spans_of(loop: Any, run: Any, times: int = 1) -> list[Any]:
    CLOCK.clear()

    async def all_of_them(client: Any) -> None:
        if times == 1:
            await loop(client, run)
        else:
            await asyncio.gather(*(loop(client, run) for _ in range(times)))

    with (
        MessagesApi(ByTurn([ASKED, DONE])) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        asyncio.run(all_of_them(client))
        # On older SDKs a run begins at the very moment at which its first call does.
        return sorted(recording.spans(), key=lambda span: (span.start_time or 0, bool(span.parent)))


def shape(spans: list[Any]) -> list[str]:
    roots = {span.context.span_id for span in spans if span.parent is None}

    def told(span: Any) -> str:
        below = "" if span.parent is None else "- " if span.parent.span_id in roots else "? "
        inferred = " inferred" if "causepath.tool.inferred" in span.attributes else ""
        return f"{below}{span.name}{inferred}"

    return list(map(told, spans))


@pytest.mark.parametrize("loop", [agent, streaming])
@pytest.mark.parametrize("run", WAYS, ids=lambda way: way.__name__)
def test_tools_are_found_and_all_is_one_run(run: Any, loop: Any) -> None:
    spans = spans_of(loop, run)
    assert shape(spans) == [
        "invoke_agent test_handed",
        "- chat m",
        "- execute_tool search",
        "- execute_tool search",
        "- chat m",
    ]
    for span, (began, ended) in zip(spans[2:4], CLOCK, strict=True):
        assert span.start_time <= began < ended <= span.end_time
    for span in (spans[1], spans[4]):
        about = span.attributes
        assert about["code.file.path"] == __file__
        stack = [line.rpartition(":")[0] for line in about["causepath.code.stack"]]
        assert any(f" {run.__qualname__}" in line for line in stack)


@pytest.mark.parametrize(
    "run", [to_thread, run_in_executor, patient, by_anyio], ids=lambda way: way.__name__
)
def test_loops_that_share_their_threads_are_told_apart(run: Any) -> None:
    spans = spans_of(agent, run, times=3)
    roots = {span.context.span_id for span in spans if span.parent is None}
    found = {
        root: sorted(s.name for s in spans if s.parent and s.parent.span_id == root)
        for root in roots
    }
    assert list(found.values()) == 3 * [2 * ["chat m"] + 2 * ["execute_tool search"]]
    assert not any("causepath.tool.inferred" in span.attributes for span in spans)


def test_no_variable_lives_longer_than_without_us() -> None:
    """Of who hands over the work, and has returned before it is done."""

    class Big:
        """Can be told when it is gone."""

    go_on = threading.Event()

    def hand_over(pool: ThreadPoolExecutor) -> tuple[Any, weakref.ref[Big]]:
        big = Big()
        thread = threading.Thread(target=go_on.wait, args=(20,))
        thread.start()
        return (pool.submit(go_on.wait, 20), thread), weakref.ref(big)

    with Recording(), ThreadPoolExecutor(1) as pool:
        (future, thread), big = hand_over(pool)
        assert big() is None
        go_on.set()
        assert future.result()
        thread.join()


def test_a_task_lives_no_longer_either() -> None:
    go_on = threading.Event()

    async def leave() -> tuple[weakref.ref[Any], Any]:
        async def hand_over() -> Any:
            return asyncio.get_running_loop().run_in_executor(None, go_on.wait, 20)

        task = asyncio.create_task(hand_over())
        future = await task
        return weakref.ref(task), future

    async def main() -> None:
        task, future = await leave()
        await asyncio.sleep(0)
        assert task() is None
        go_on.set()
        await future

    gc.collect()
    with Recording():
        asyncio.run(main())
