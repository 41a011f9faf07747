"""Nothing that the plugin holds grows with calls, runs, tasks, threads or tools.

Every table has a bound. The tests make the bounds small, so that a few hundred calls fill them, and
count what the process holds after as many again: one thing more for every other call is too much.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import itertools
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.sdk.trace import TracerProvider

import causepath
from tests.plugin.ways import SEARCH
from tests.support.recording import Recording, set_global_provider, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HTTPX: Any = sys.modules.get("httpx2") or sys.modules["httpx"]

SMALL = 20
BOUNDS = {
    "calls.foreign_spans": ("MAX_OPEN",),
    "calls.local_roots": ("MAX_OPEN",),
    "calls.open_calls": ("MAX_LEFT_TO_OTHERS",),
    "calls.open_runs": ("MAX_OPEN_RUNS", "MAX_REMEMBERED"),
    "calls.retried_calls": ("MAX_FAILED",),
    "code.call_sites": ("MAX_KNOWN",),
    "code.frames": ("MAX_KNOWN",),
    "code.ownership": ("MAX_KNOWN",),
    "content.data_flow": ("MAX_LINES", "MAX_UNREAD", "MAX_WHOLES"),
    "content.digests": ("MAX_REMEMBERED",),
    "content.provenance": ("MAX_TRACES",),
    "tool_functions.class_methods": ("MAX_PATCHED",),
    "tool_functions.code_exchange": ("MAX_NAMES",),
    "tool_functions.found_tools": ("MAX_NAMES",),
    "tool_functions.search": ("MAX_CLASSES", "MAX_NAMES"),
}
TIMES = 100
"""Calls, or runs, of a round."""

numbers = itertools.count()


class Api(HTTPX.BaseTransport, HTTPX.AsyncBaseTransport):  # type: ignore[misc]
    """Answers in this process: "ask search 7" with a call of that tool, all else with a text."""

    def handle_request(self, request: Any) -> Any:
        body = json.loads(request.content)
        said = body["messages"][-1]["content"]
        content: dict[str, Any] = {"type": "text", "text": f"This answer has the number {said}."}
        asks = isinstance(said, str) and said.startswith("ask ")
        if asks:
            _, name, number = said.split()
            content = {
                "type": "tool_use",
                "id": f"toolu_{number}",
                "name": name,
                "input": {"q": number},
            }
        message = {
            "id": "msg",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [content],
            "stop_reason": "tool_use" if asks else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 2},
        }
        if not body.get("stream"):
            return HTTPX.Response(200, json=message)
        events = [
            {"type": "message_start", "message": {**message, "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {**content, "text": ""}},
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": content["text"]},
            },
            {"type": "content_block_stop", "index": 0},
            {"type": "message_stop"},
        ]
        sent = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
        return HTTPX.Response(200, headers={"content-type": "text/event-stream"}, content=sent)

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)


def ask(said: object, **more: Any) -> dict[str, Any]:
    messages = said if isinstance(said, list) else [{"role": "user", "content": said}]
    return {"model": "m", "max_tokens": 64, "messages": messages, "tools": [SEARCH], **more}


def new() -> str:
    return f"Something that nobody has said before, which has the number {next(numbers)}"


def converse(client: Any, tools: dict[str, Any], name: str = "search") -> None:
    """One run with one tool."""
    first = f"ask {name} {next(numbers)}"
    (use,) = client.messages.create(**ask(first)).content
    result = tools[name](**use.input) if name in tools else "There is no such tool."
    told = {"type": "tool_result", "tool_use_id": use.id, "content": result}
    client.messages.create(
        **ask(
            [
                {"role": "user", "content": first},
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [told]},
            ]
        )
    )


def search(q: str) -> str:
    return f"In the place that was searched there is the number {q}, and nothing else"


class Toolbox:
    def search(self, q: str) -> str:
        return f"In the box there is the number {q}, and nothing else at all"


def same_words(client: Any) -> None:
    client.messages.create(**ask("Hello"))


def new_words(client: Any) -> None:
    client.messages.create(**ask(new()))


def many_lines(client: Any) -> None:
    client.messages.create(**ask("\n".join(new() for _ in range(10))))


def runs_with_a_tool(client: Any) -> None:
    converse(client, {"search": search})


def declared_runs_with_a_tool(client: Any) -> None:
    with causepath.agent("agent"):
        converse(client, {"search": search})


def agents_with_names_of_their_own(client: Any) -> None:
    with causepath.agent(f"agent {next(numbers)}"):
        converse(client, {"search": search})


def tools_that_live_as_long_as_their_agent(client: Any) -> None:
    def search(q: str) -> str:
        return f"{client} {q}"[-20:]

    converse(client, {"search": search})


def objects_that_live_as_long_as_their_agent(client: Any) -> None:
    converse(client, {"search": Toolbox().search})


def code_that_is_made_for_each_agent(client: Any) -> None:
    source = f"def search(q):\n    return 'found {next(numbers)} by ' + q\nrun(client, locals())"
    exec(source, {"run": converse, "client": client})


def tools_with_new_names(client: Any) -> None:
    name = f"search_{next(numbers)}"
    converse(client, {name: search}, name)


def methods_with_new_names(client: Any) -> None:
    name = f"search_{next(numbers)}"
    converse(client, {name: Toolbox().search}, name)


def agents_as_tools_with_new_names(client: Any) -> None:
    name = f"search_{next(numbers)}"
    converse(client, {name: agent_as_a_tool}, name)


@causepath.agent("inner")
def agent_as_a_tool(q: str) -> str:
    return f"The agent inside has found the number {q}"


def tools_that_nobody_has(client: Any) -> None:
    converse(client, {}, f"missing_{next(numbers)}")


def declared_tools(client: Any) -> None:
    @causepath.tool
    def search(q: str) -> str:
        return f"found {q}"

    converse(client, causepath.tools({"search": search}))


def agents_as_tools(client: Any) -> None:
    @causepath.agent("inner")
    def search(q: str) -> str:
        converse(client, {"look": Toolbox().search}, "look")
        return f"found {q}"

    with causepath.agent("outer"):
        converse(client, {"search": search})


def questions_that_nobody_answers(client: Any) -> None:
    client.messages.create(**ask(f"ask search {next(numbers)}"))


def declared_questions_that_nobody_answers(client: Any) -> None:
    with causepath.agent("agent"):
        client.messages.create(**ask(f"ask search {next(numbers)}"))


def tools_that_fail(client: Any) -> None:
    def search(q: str) -> str:
        raise ValueError(q)

    with contextlib.suppress(ValueError):
        converse(client, {"search": search})


def threads(client: Any) -> None:
    thread = threading.Thread(target=declared_runs_with_a_tool, args=(client,))
    thread.start()
    thread.join()


def pools(client: Any) -> None:
    with causepath.agent("agent"), ThreadPoolExecutor(2) as pool:
        list(pool.map(new_words, [client, client]))


def generators(client: Any) -> None:
    def steps() -> Iterator[None]:
        with causepath.agent("agent"):
            converse(client, {"search": search})
            yield

    next(steps())  # and no further


def streams(client: Any) -> None:
    for _ in client.messages.create(**ask(new()), stream=True):
        pass


def streams_that_are_left(client: Any) -> None:
    next(iter(client.messages.create(**ask(new()), stream=True)))


def helpers(client: Any) -> None:
    with client.messages.stream(**ask(new())) as stream:
        stream.get_final_message()


def refused(client: Any) -> None:
    with contextlib.suppress(Exception):
        client.messages.create(**ask("Hello", metadata=object()))


def tasks(_: Any) -> None:
    async def main() -> None:
        async with (
            HTTPX.AsyncClient(transport=Api()) as http,
            made(anthropic.AsyncAnthropic, http) as client,
        ):

            async def agent() -> None:
                with causepath.agent("agent"):
                    await client.messages.create(**ask(new()))

            await asyncio.gather(agent(), agent())

    asyncio.run(main())


def tasks_that_are_cancelled(_: Any) -> None:
    async def main() -> None:
        begun = asyncio.Event()
        async with (
            HTTPX.AsyncClient(transport=Api()) as http,
            made(anthropic.AsyncAnthropic, http) as client,
        ):

            async def agent() -> None:
                with causepath.agent("agent"):
                    await client.messages.create(**ask(new()))
                    begun.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(agent())
            await begun.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())


WORK = (
    same_words,
    new_words,
    many_lines,
    runs_with_a_tool,
    declared_runs_with_a_tool,
    agents_with_names_of_their_own,
    tools_that_live_as_long_as_their_agent,
    objects_that_live_as_long_as_their_agent,
    code_that_is_made_for_each_agent,
    tools_with_new_names,
    methods_with_new_names,
    agents_as_tools_with_new_names,
    tools_that_nobody_has,
    declared_tools,
    agents_as_tools,
    questions_that_nobody_answers,
    declared_questions_that_nobody_answers,
    tools_that_fail,
    threads,
    pools,
    generators,
    streams,
    streams_that_are_left,
    helpers,
    refused,
    tasks,
    tasks_that_are_cancelled,
)


def made(kind: Any, http: Any) -> Any:
    return kind(api_key="none", base_url="http://stand-in.invalid", http_client=http, max_retries=0)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, names in BOUNDS.items():
        for name in names:
            monkeypatch.setattr(importlib.import_module(f"causepath.{module}"), name, SMALL)


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """The plugin enabled, and nothing kept of its spans."""
    provider = TracerProvider(shutdown_on_exit=False)
    set_global_provider(provider)
    causepath.instrument()
    try:
        yield
    finally:
        causepath.uninstrument()
        set_global_provider(None)


def held() -> tuple[int, int]:
    """Counts the objects that the collector knows, and everything that Python has allocated.

    What `lru_cache` holds is not counted: each of ours has a bound of its own.
    """
    for name, module in list(sys.modules.items()):
        if name == "causepath" or name.startswith("causepath."):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    assert value.cache_parameters()["maxsize"] is not None
                    value.cache_clear()
    for _ in range(3):
        gc.collect()
    return len(gc.get_objects()), sys.getallocatedblocks()


IN_ONE_RUN = (new_words, runs_with_a_tool, questions_that_nobody_answers, pools, streams, tasks)
"""Work that one run may have a lot of."""

WITHOUT_DIGESTS = (runs_with_a_tool, declared_runs_with_a_tool, streams, threads, tasks)

ROWS = [
    *(pytest.param(work, "on", False, id=work.__name__) for work in WORK),
    *(pytest.param(work, "on", True, id=f"{work.__name__}-in_one_run") for work in IN_ONE_RUN),
    *(pytest.param(work, "off", False, id=f"{work.__name__}-alone") for work in WITHOUT_DIGESTS),
]


@pytest.mark.slow
@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(("work", "digests", "in_one_run"), ROWS)
def test_nothing_grows(
    work: Callable[[Any], None], digests: str, in_one_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAUSEPATH_DIGESTS", digests)
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "true" if digests == "on" else "false")
    counts = []
    with (
        traced(),
        HTTPX.Client(transport=Api()) as http,
        made(anthropic.Anthropic, http) as client,
        causepath.agent("long") if in_one_run else contextlib.nullcontext(),
    ):
        for _ in range(8):
            for _ in range(TIMES):
                work(client)
            counts.append(held())
    # Of tables with two generations one may just be empty: two rounds are compared with two.
    # What Python itself keeps for later, of event loops say, takes a few rounds to be there.
    objects, blocks = (min(one[6:]) - max(one[3:5]) for one in zip(*counts, strict=True))
    assert (objects < TIMES / 2, blocks < TIMES * 2) == (True, True), counts


def test_a_tool_whose_name_was_forgotten_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("causepath.tool_functions.code_exchange.MAX_NAMES", 3)
    names = ["search", "search_1", "search_2", "search_3", "search_4", "search"]
    with (
        Recording() as recording,
        HTTPX.Client(transport=Api()) as http,
        made(anthropic.Anthropic, http) as client,
    ):
        for name in names:
            converse(client, {name: search}, name)
        active = telemetry()
        assert active is not None
        known = active.tool_calls._found_names(search)
        tools = [span for span in recording.spans() if span.name.startswith("execute_tool")]
    measured = [(span.name, "causepath.tool.inferred" in (span.attributes or {})) for span in tools]
    assert measured == [(f"execute_tool {name}", False) for name in names]
    assert known == ["search_3", "search_4", "search"]


def test_a_declared_run_leaves_no_more_than_the_questions_that_nobody_answered() -> None:
    with (
        traced(),
        HTTPX.Client(transport=Api()) as http,
        made(anthropic.Anthropic, http) as client,
    ):
        active = telemetry()
        assert active is not None
        with causepath.agent("agent"):
            converse(client, {"search": search})
            client.messages.create(**ask("ask search open"))
        assert [*active.runs._by_call_id] == ["toolu_open"]
