"""Many agents at once, and everything that can go wrong goes wrong: nothing is lost or mixed up.

A short one with every run of the tests, a minute of each kind with the long ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry import context, trace

import causepath
from causepath.calls.foreign_spans import OtherSpan
from causepath.calls.model_call import ModelCall
from causepath.calls.runs import AskedTool, Run
from tests.plugin.ways import SEARCH, W
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, telemetry
from tests.support.script import Cut, ErrorEvent, Failure, Latency, Reply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.support.script import Answer, Request

HTTPX: Any = sys.modules.get("httpx2") or sys.modules["httpx"]
FAILURES = (anthropic.APIError, HTTPX.TransportError)
"""What an agent has to expect; the SDK gives the second from a stream that is cut."""

AGENTS = 64
TURNS = 3


def answer(request: Request) -> Answer:
    """Whatever the agent's name, the turn and the try decide; the agent's name is its model."""
    owner = request.body["model"]
    luck = random.Random(f"{owner} {request.turn} {request.retry}").random()
    if luck < 0.05:
        return Failure(429, retry_after_seconds=0.003)
    if luck < 0.10:
        return Failure(529, retry_after_seconds=0.003)
    if luck < 0.13:
        return Failure(400)
    interruption = Cut(1) if luck < 0.17 else ErrorEvent(1) if luck < 0.21 else None
    latency = Latency(before_headers=0.02, before_first_delta=0.02) if luck > 0.9 else Latency()
    if request.turn < TURNS - 1:
        asked = ToolUse("search", {"owner": owner}, id=f"toolu_{owner}_{request.turn}")
        return Reply([asked], latency=latency, interruption=interruption)
    return Reply(f"Done, {owner}.", latency=latency, interruption=interruption)


def search(owner: str) -> str:
    with trace.get_tracer("app").start_as_current_span(f"look up {owner}"):
        return f"found for {owner}"


async def converse(w: W, owner: str, ways: random.Random) -> None:
    """One run of an agent, which calls in another way each turn and leaves some streams."""
    messages: list[Any] = [{"role": "user", "content": f"I am {owner}."}]
    tool = causepath.tool(search)
    for _ in range(TURNS):
        ask: dict[str, Any] = {
            "model": owner,
            "max_tokens": 64,
            "messages": messages,
            "tools": [SEARCH],
        }
        way = ways.random()
        if way < 0.4:
            reply = await w.of(w.client.messages.create(**ask))
        elif way < 0.9:
            async with w.inside(w.client.messages.stream(**ask)) as stream:
                reply = await w.of(stream.get_final_message())
        else:
            async with w.inside(await w.of(w.client.messages.create(**ask, stream=True))) as left:
                async for _event in w.each(left):
                    break
            return
        assert owner in str(reply.to_dict())
        content = reply.to_dict()["content"]
        asked = [block for block in content if block["type"] == "tool_use"]
        if not asked:
            return
        results = [
            {"type": "tool_result", "tool_use_id": one["id"], "content": tool(**one["input"])}
            for one in asked
        ]
        messages = [
            *messages,
            {"role": "assistant", "content": content},
            {"role": "user", "content": results},
        ]


class Watching:
    """A span processor that remembers of each trace nothing but whose it is."""

    def __init__(self) -> None:
        self.open: Counter[int] = Counter()
        self.owners: dict[int, set[str]] = defaultdict(set)
        self.spans = 0
        self._lock = threading.Lock()

    def on_start(self, span: Any, parent_context: object = None) -> None:
        with self._lock:
            self.open[span.context.span_id] += 1

    def _on_ending(self, span: object) -> None: ...

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            self.spans += 1
            self.open[span.context.span_id] -= 1
            if not self.open[span.context.span_id]:
                del self.open[span.context.span_id]
            self.owners[span.context.trace_id] |= set(owners(span))

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def owners(span: ReadableSpan) -> Iterator[str]:
    """Every agent that a span names: in its name, its model, its call id."""
    said = [span.name, *map(str, (span.attributes or {}).values())]
    for text in said:
        found = text.find("agent-")
        if found >= 0:
            yield text[found:].partition("_")[0].partition(" ")[0]


def soak(seconds: float, is_async: bool) -> Watching:
    watching = Watching()
    with (
        MessagesApi(answer, keep=False) as api,
        Recording() as recording,
    ):
        recording._exporter.shutdown()  # nothing is to be kept
        recording.provider.add_span_processor(watching)  # type: ignore[arg-type]
        make = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        client: Any = make(base_url=api.url, api_key="test", max_retries=2, timeout=20)
        w = W(client, api, is_async)
        until = time.monotonic() + seconds
        wrong: list[BaseException] = []

        async def agent(number: int) -> None:
            ways, runs = random.Random(number), 0
            try:
                while time.monotonic() < until:
                    runs += 1
                    owner = f"agent-{number}-{runs}"
                    declared = causepath.agent(owner) if runs % 2 else contextlib.nullcontext()
                    with contextlib.suppress(*FAILURES), declared:
                        await converse(w, owner, ways)
                    assert context.get_current() == {}
            except Exception as error:
                wrong.append(error)

        if is_async:

            async def everybody() -> None:
                await asyncio.gather(*[agent(number) for number in range(AGENTS)])
                await client.close()

            asyncio.run(everybody())
        else:

            def alone(number: int) -> None:
                with contextlib.suppress(StopIteration):
                    agent(number).send(None)

            threads = [threading.Thread(target=alone, args=(n,)) for n in range(AGENTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            client.close()
        assert wrong == []
        gc.collect()
        active = telemetry()
        active.run_spans.end_idle()
        assert not active.open_calls._open
        assert not active.runs._inferred
        assert not active.others._open
    return watching


def kept() -> Counter[str]:
    """What is left of ours in memory."""
    gc.collect()
    ours = (ModelCall, Run, AskedTool, OtherSpan)
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, ours))


@pytest.mark.parametrize("is_async", [False, True], ids=["threads", "asyncio"])
@pytest.mark.parametrize("seconds", [2.5, pytest.param(60, marks=pytest.mark.slow)])
def test_many_agents_under_faults(seconds: float, is_async: bool) -> None:
    threads = {thread.name for thread in threading.enumerate()}
    before = kept()  # by whatever ran in this process
    watching = soak(seconds, is_async)
    assert watching.open == Counter(), "spans that never ended"
    assert [found for found in watching.owners.values() if len(found) > 1] == []
    assert watching.spans > 50
    assert kept() - before == Counter()
    started = {thread.name for thread in threading.enumerate()} - threads
    assert started <= {"causepath-idle-runs"}
