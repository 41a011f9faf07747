"""Every way to call a model through the SDK: what an application does, and what it sees of it.

A way is written once for both kinds of clients: `w.of` awaits what has to be awaited, `w.each` goes
through a stream, `w.inside` enters a context manager. What it gives back is what it has seen, such
that two runs can be compared.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import inspect
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import pydantic
from anthropic import beta_async_tool, beta_tool

from tests.support.script import (
    Cut,
    ErrorEvent,
    Failure,
    Latency,
    RawBlock,
    Reply,
    Text,
    Thinking,
    ToolUse,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.support.messages_api import MessagesApi
    from tests.support.script import Answer

VERSION = tuple(int(part) for part in anthropic.__version__.split(".")[:2])

ASK: dict[str, Any] = {
    "model": "m",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello?"}],
}
SEARCH = {"name": "search", "input_schema": {"type": "object"}}

SAID = Usage(input_tokens=12, output_tokens=5)
HELLO = Reply("Hello, you there. How are you today?", usage=SAID)
JSON = Reply('{"city": "Lisbon", "rain": false}', usage=SAID)
ASKS = Reply(
    [Text("Let me see."), ToolUse("search", {"q": "x" * 40}), ToolUse("search", {"q": "y"})],
    usage=Usage(9, 4),
)
DONE = Reply("Done.", usage=Usage(30, 2))


class W:
    """One client in one run."""

    def __init__(self, client: Any, api: MessagesApi, is_async: bool) -> None:
        self.client = client
        self.api = api
        self.is_async = is_async

    async def of(self, value: Any) -> Any:
        return await value if inspect.isawaitable(value) else value

    async def each(self, stream: Any) -> AsyncIterator[Any]:
        if hasattr(stream, "__aiter__"):
            async for item in stream:
                yield item
        else:
            for item in stream:
                yield item

    async def all(self, stream: Any) -> list[Any]:
        return [seen(item) async for item in self.each(stream)]

    @contextlib.asynccontextmanager
    async def inside(self, manager: Any) -> AsyncIterator[Any]:
        if hasattr(manager, "__aenter__"):
            async with manager as value:
                yield value
        else:
            with manager as value:
                yield value

    async def create(self, **more: Any) -> Any:
        return await self.of(self.client.messages.create(**{**ASK, **more}))


def seen(value: Any) -> Any:
    """What is the same in two runs that the application cannot tell apart."""
    if isinstance(value, pydantic.BaseModel):
        fields = value.model_dump(mode="json", warnings=False)
        return type(value).__name__, fields, getattr(value, "_request_id", None)
    if isinstance(value, dict):
        return {name: seen(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [seen(one) for one in value]
    if hasattr(value, "headers") and hasattr(value, "status_code"):
        headers = {k: v for k, v in value.headers.items() if k != "date"}
        return type(value).__name__, value.status_code, headers
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    return type(value).__name__


def failure(error: BaseException) -> Any:
    """What an application may ask an exception for."""
    return {
        "type": type(error).__qualname__,
        "text": re.sub(r"port=\d+", "port=~", str(error)),
        "status": getattr(error, "status_code", getattr(error, "code", None)),
        "body": seen(getattr(error, "body", None)),
        "request_id": getattr(error, "request_id", None),
        "cause": type(error.__cause__).__qualname__,
        "context": type(error.__context__).__qualname__,
        "suppressed": error.__suppress_context__,
        "notes": getattr(error, "__notes__", None),
    }


# -- whole replies


async def create(w: W) -> Any:
    return seen(await w.create())


async def with_options(w: W) -> Any:
    client = w.client.with_options(max_retries=0, default_headers={"x-mine": "1"})
    return seen(await w.of(client.messages.create(**ASK)))


async def posted(w: W) -> Any:
    from anthropic.types import Message

    return seen(await w.of(w.client.post("/v1/messages", body=ASK, cast_to=Message)))


async def extras(w: W) -> Any:
    return seen(
        await w.create(
            extra_headers={"x-mine": "1"},
            extra_query={"mine": "1"},
            extra_body={"temperature": 0.5, "metadata": {"user_id": "me"}},
            stop_sequences=["END"],
            tools=[SEARCH],
            timeout=20,
        )
    )


async def raw(w: W) -> Any:
    response = await w.of(w.client.messages.with_raw_response.create(**ASK))
    first, second = await w.of(response.parse()), await w.of(response.parse())
    return seen(response), seen(first), first is second, response.retries_taken


async def raw_unparsed(w: W) -> Any:
    return seen(await w.of(w.client.messages.with_raw_response.create(**ASK)))


async def raw_stream(w: W) -> Any:
    response = await w.of(w.client.messages.with_raw_response.create(**ASK, stream=True))
    stream = await w.of(response.parse())
    return seen(response), type(stream).__name__, await w.all(stream)


def streaming(**more: Any) -> Callable[[W], Any]:
    return lambda w: w.client.messages.with_streaming_response.create(**{**ASK, **more})


async def streamed_parse(w: W) -> Any:
    async with w.inside(streaming()(w)) as response:
        before = response.is_closed
        return before, seen(await w.of(response.parse())), response.is_closed


async def streamed_json(w: W) -> Any:
    async with w.inside(streaming()(w)) as response:
        return seen(await w.of(response.json())), await w.of(response.text())


async def streamed_bytes(w: W) -> Any:
    async with w.inside(streaming()(w)) as response:
        return b"".join([piece async for piece in w.each(response.iter_bytes(7))])


async def streamed_and_left(w: W) -> Any:
    async with w.inside(streaming()(w)) as response:
        return seen(response)


async def forwarded_bytes(w: W) -> Any:
    async with w.inside(streaming(stream=True)(w)) as response:
        return b"".join([piece async for piece in w.each(response.iter_bytes(11))])


async def forwarded_raw(w: W) -> Any:
    async with w.inside(streaming(stream=True)(w)) as response:
        body = response.http_response
        pieces = body.aiter_raw() if w.is_async else body.iter_raw()
        return len([piece async for piece in w.each(pieces)]) > 0, body.num_bytes_downloaded


async def forwarded_lines(w: W) -> Any:
    async with w.inside(streaming(stream=True)(w)) as response:
        return await w.all(response.iter_lines())


async def forwarded_parse(w: W) -> Any:
    async with w.inside(streaming(stream=True)(w)) as response:
        stream = await w.of(response.parse())
        return type(stream).__name__, await w.all(stream)


async def forwarded_and_left(w: W) -> Any:
    async with w.inside(streaming(stream=True)(w)) as response:
        pieces = response.iter_bytes(350)
        return await anext(aiter(pieces)) if w.is_async else next(iter(pieces))


# -- streams


async def iterate(w: W) -> Any:
    stream = await w.create(stream=True)
    untouched = stream.response.is_stream_consumed, stream.response.is_closed
    return type(stream).__name__, untouched, await w.all(stream), stream.response.is_closed


async def by_hand(w: W) -> Any:
    stream = await w.create(stream=True)
    first = await anext(stream) if w.is_async else next(stream)
    rest = await w.all(stream)
    try:
        after = await anext(stream) if w.is_async else next(stream)
    except (StopIteration, StopAsyncIteration) as end:
        after = type(end).__name__
    return seen(first), rest, after


async def helper(w: W) -> Any:
    manager = w.client.messages.stream(**ASK)
    sent = len(w.api.requests)
    async with w.inside(manager) as stream:
        text = await w.all(stream.text_stream)
        return sent, text, seen(await w.of(stream.get_final_message())), stream.request_id


async def helper_events(w: W) -> Any:
    async with w.inside(w.client.messages.stream(**ASK)) as stream:
        return await w.all(stream), seen(stream.current_message_snapshot)


async def helper_until_done(w: W) -> Any:
    async with w.inside(w.client.messages.stream(**ASK)) as stream:
        await w.of(stream.until_done())
        return await w.of(stream.get_final_text())


async def helper_next(w: W) -> Any:
    async with w.inside(w.client.messages.stream(**ASK)) as stream:
        return seen(await anext(stream) if w.is_async else next(stream))


async def helper_unread(w: W) -> Any:
    async with w.inside(w.client.messages.stream(**ASK)) as stream:
        return seen(stream.response)


async def closed_early(w: W) -> Any:
    stream = await w.create(stream=True)
    first = await anext(stream) if w.is_async else next(stream)
    await w.of(stream.close())
    return seen(first), stream.response.is_closed


def broken_off(w: W) -> Any:
    for event in w.client.messages.create(**ASK, stream=True):
        if event.type == "content_block_delta":
            break
    seen_last = event.type
    del event
    gc.collect()
    return seen_last


async def broken_off_async(w: W) -> Any:
    async with await w.client.messages.create(**ASK, stream=True) as stream:
        async for event in stream:
            if event.type == "content_block_delta":
                break
    return event.type


def dropped(w: W) -> Any:
    stream = w.client.messages.create(**ASK, stream=True)
    first = next(stream).type
    del stream
    gc.collect()
    return first


async def raises_inside(w: W) -> Any:
    async with w.inside(w.client.messages.stream(**ASK)) as stream:
        async for _ in w.each(stream):
            raise ZeroDivisionError("the application's own")


def elsewhere(w: W) -> Any:
    stream = w.client.messages.create(**ASK, stream=True)
    events = [next(stream).type]
    rest = threading.Thread(target=lambda: events.extend(event.type for event in stream))
    rest.start()
    rest.join()
    return events


async def elsewhere_async(w: W) -> Any:
    stream = await w.client.messages.create(**ASK, stream=True)
    events = [(await anext(stream)).type]

    async def rest() -> None:
        events.extend([event.type async for event in stream])

    await asyncio.create_task(rest())
    return events


async def together(w: W) -> Any:
    replies = await asyncio.gather(*[w.client.messages.create(**ASK) for _ in range(3)])
    return [reply.content[0].text for reply in replies]


async def cancelled(w: W) -> Any:
    call = asyncio.create_task(w.client.messages.create(**ASK))
    while not w.api.requests:
        await asyncio.sleep(0.001)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    return call.cancelled()


async def cancelled_stream(w: W) -> Any:
    events: list[str] = []

    async def read() -> None:
        async for event in await w.client.messages.create(**ASK, stream=True):
            events.append(event.type)  # noqa: PERF401 - one by one, as it is cancelled

    call = asyncio.create_task(read())
    while "content_block_start" not in events:
        await asyncio.sleep(0.001)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    return call.cancelled(), events


async def too_late(w: W) -> Any:
    return seen(await w.of(w.client.with_options(timeout=0.1).messages.create(**ASK)))


async def refused(w: W) -> Any:
    nowhere = w.client.with_options(base_url="http://127.0.0.1:9")
    return seen(await w.of(nowhere.messages.create(**ASK)))


# -- beta, structured outputs, tools


class Weather(pydantic.BaseModel):
    city: str
    rain: bool


async def parse(w: W) -> Any:
    return seen(await w.of(w.client.messages.parse(**ASK, output_format=Weather)))


async def beta_parse(w: W) -> Any:
    return seen(await w.of(w.client.beta.messages.parse(**ASK, output_format=Weather)))


async def helper_parse(w: W) -> Any:
    async with w.inside(w.client.messages.stream(**ASK, output_format=Weather)) as stream:
        message = await w.of(stream.get_final_message())
        return seen(message), seen(message.parsed_output)


async def beta_create(w: W) -> Any:
    return seen(await w.of(w.client.beta.messages.create(**ASK, betas=["mine-2026-01-01"])))


async def beta_iterate(w: W) -> Any:
    return await w.all(await w.of(w.client.beta.messages.create(**ASK, stream=True)))


async def beta_helper(w: W) -> Any:
    async with w.inside(w.client.beta.messages.stream(**ASK)) as stream:
        return await w.all(stream), seen(await w.of(stream.get_final_message()))


async def beta_raw(w: W) -> Any:
    response = await w.of(w.client.beta.messages.with_raw_response.create(**ASK))
    return seen(response), seen(await w.of(response.parse()))


def runner(w: W, fails: bool = False, **more: Any) -> Any:
    def found(q: str) -> str:
        if fails:
            raise ValueError(f"nothing about {q}")
        return f"about {q}"

    if w.is_async:

        @beta_async_tool
        async def search(q: str) -> str:
            """Search for `q`."""
            return found(q)

    else:

        @beta_tool
        def search(q: str) -> str:
            """Search for `q`."""
            return found(q)

    return w.client.beta.messages.tool_runner(**ASK, tools=[search], **more)


async def runner_until_done(w: W) -> Any:
    return seen(await w.of(runner(w).until_done()))


async def runner_iterated(w: W) -> Any:
    return await w.all(runner(w))


async def runner_failing(w: W) -> Any:
    messages = await w.all(runner(w, fails=True))
    results = w.api.requests[-1].body["messages"][-1]["content"]
    return messages, [(one.get("is_error"), one["content"]) for one in results]


async def runner_streaming(w: W) -> Any:
    return [await w.all(stream) async for stream in w.each(runner(w, stream=True))]


async def runner_left(w: W) -> Any:
    async for message in w.each(runner(w)):
        return seen(message)
    return None


async def loop(w: W) -> Any:
    messages: list[Any] = list(ASK["messages"])
    first = await w.create(messages=messages, tools=[SEARCH])
    messages.append({"role": "assistant", "content": first.content})
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "found"}
        for block in first.content
        if block.type == "tool_use"
    ]
    messages.append({"role": "user", "content": results})
    return seen(first), seen(await w.create(messages=messages, tools=[SEARCH]))


async def streamed_loop(w: W) -> Any:
    messages: list[Any] = list(ASK["messages"])
    async with w.inside(w.client.messages.stream(**ASK, tools=[SEARCH])) as stream:
        first = await w.of(stream.get_final_message())
    messages.append({"role": "assistant", "content": first.to_dict()["content"]})
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "found"}
        for block in first.content
        if block.type == "tool_use"
    ]
    messages.append({"role": "user", "content": results})
    async with w.inside(w.client.messages.stream(**{**ASK, "messages": messages})) as stream:
        return seen(first), seen(await w.of(stream.get_final_message()))


# -- what is no call of a model


async def count_tokens(w: W) -> Any:
    asked = {"model": "m", "messages": ASK["messages"]}
    return seen(await w.of(w.client.messages.count_tokens(**asked)))


async def batches(w: W) -> Any:
    requests = [{"custom_id": "one", "params": ASK}]
    return seen(await w.of(w.client.messages.batches.create(requests=requests)))


# -- odd requests


def asking(content: Any, **more: Any) -> Callable[[W], Any]:
    async def ask(w: W) -> Any:
        made = content() if callable(content) else content
        messages = made if not isinstance(made, str) else [{"role": "user", "content": made}]
        return seen(await w.create(messages=messages, **more))

    return ask


PIXEL = base64.b64encode(b"\x89PNG pixel").decode()
IMAGE = {"type": "base64", "media_type": "image/png", "data": PIXEL}
DOCUMENT = {"type": "text", "media_type": "text/plain", "data": "A document."}
CACHED = {"type": "ephemeral"}
BLOCKS = [
    {"type": "image", "source": IMAGE},
    {"type": "document", "source": DOCUMENT, "title": "One"},
    {"type": "text", "text": "What is it?", "cache_control": CACHED},
]


def one_shot() -> Any:
    return iter([{"role": "user", "content": iter([{"type": "text", "text": "Hello?"}])}])


async def one_shot_iterators(w: W) -> Any:
    reply = await w.create(messages=one_shot())
    return seen(reply), w.api.requests[0].body


async def deprecated_model(w: W) -> Any:
    return seen(await w.create(model="claude-2.1"))


async def lone_surrogates(w: W) -> Any:
    return seen(await w.create(messages=[{"role": "user", "content": "half \ud83d of it"}]))


SERVER_TOOLS = Reply(
    [
        Text("Searching."),
        RawBlock(
            {
                "type": "server_tool_use",
                "id": "srvtoolu_1",
                "name": "web_search",
                "input": {"query": "x"},
            }
        ),
        RawBlock(
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        ),
        Text("Found."),
    ],
    usage=SAID,
)
THINKS = Reply([Thinking("Hm, well."), Text("Yes.")], usage=Usage(7, 3, thinking_tokens=2))
CACHES = Reply(
    "Hello.",
    usage=Usage(
        12,
        5,
        cache_read_input_tokens=100,
        ephemeral_5m_input_tokens=20,
        ephemeral_1h_input_tokens=3,
    ),
)
LONG = "All work and no play makes Jack a dull boy. " * 24_000


# -- platforms


def platform(name: str, **options: Any) -> Callable[[str, bool], Any]:
    def make(url: str, is_async: bool) -> Any:
        made = getattr(anthropic, ("Async" if is_async else "") + name)
        return made(base_url=url, max_retries=2, **options)

    return make


BEDROCK = platform("AnthropicBedrock", api_key="test", aws_region="us-east-1")
MANTLE = platform("AnthropicBedrockMantle", api_key="test", aws_region="us-east-1")
VERTEX = platform("AnthropicVertex", access_token="test", project_id="p", region="global")
FOUNDRY = platform("AnthropicFoundry", api_key="test")
AWS = platform("AnthropicAWS", api_key="test", workspace_id="w", aws_region="us-east-1")


@dataclass(frozen=True)
class Way:
    """One row: what is done, for which answers. The spans are in `expected/`."""

    name: str
    does: Callable[[W], Any]
    answers: Sequence[Answer] | Answer = HELLO
    does_async: Callable[[W], Any] | None = None
    """Where an asynchronous application writes it in another way."""
    only: str | None = None
    """`sync` or `async`, where the other has no such thing."""
    since: tuple[int, int] = (0, 100)
    client: Callable[[str, bool], Any] | None = None
    max_retries: int = 2
    at_once: bool = False
    """Its requests are of several calls, and arrive in any order."""


def retried(*answers: Answer) -> list[Answer]:
    return [*answers]


LATE = Latency(before_headers=30)
STALLS = Latency(before_first_delta=30)
LIMITED = Failure(429, retry_after_seconds=0.002)
OVERLOADED = Failure(529, retry_after_seconds=0.002)
CUT = Reply("Hello, you there.", usage=SAID, interruption=Cut(after_deltas=1))
FAILS = Reply("Hello, you there.", usage=SAID, interruption=ErrorEvent(after_deltas=1))
GZIPPED = Reply("Hello, you there.", usage=SAID, encoding="gzip")
ENCODED = Reply("Hello, you there.", usage=SAID, encoding="x-unknown")

WAYS = (
    Way("a whole reply", create),
    Way("options for one call", with_options),
    Way("no method of the SDK", posted),
    Way("extra headers, query, body, and parameters", extras),
    Way("a raw response", raw),
    Way("a raw response that is not parsed", raw_unparsed),
    Way("a raw response of a stream", raw_stream),
    Way("a streaming response, parsed", streamed_parse),
    Way("a streaming response, as JSON and text", streamed_json),
    Way("a streaming response, as bytes", streamed_bytes, ASKS),
    Way("a streaming response, as bytes, gzip", streamed_bytes, GZIPPED),
    Way("a streaming response that is not read", streamed_and_left),
    Way("a stream forwarded as bytes", forwarded_bytes, ASKS),
    Way("a stream forwarded as bytes, gzip", forwarded_bytes, GZIPPED),
    Way("a stream forwarded raw, gzip", forwarded_raw, GZIPPED),
    Way("a stream forwarded as bytes, of unknown encoding", forwarded_bytes, ENCODED),
    Way("a stream forwarded as lines", forwarded_lines),
    Way("a stream forwarded as bytes, with an error event", forwarded_bytes, FAILS),
    Way("a stream forwarded as bytes, cut", forwarded_bytes, CUT),
    Way("a stream forwarded as bytes, left", forwarded_and_left),
    Way("a stream of a streaming response, parsed", forwarded_parse),
    Way("a stream read to its end", iterate),
    Way("a stream read to its end, gzip", iterate, GZIPPED),
    Way("a stream read by hand", by_hand),
    Way("the stream helper, text", helper),
    Way("the stream helper, events", helper_events, ASKS),
    Way("the stream helper, until done", helper_until_done),
    Way("the stream helper, one event", helper_next),
    Way("the stream helper, not read", helper_unread),
    Way("a stream closed early", closed_early),
    Way("a stream broken off", broken_off, does_async=broken_off_async),
    Way("a stream dropped", dropped, only="sync"),
    Way("an exception of the application while it streams", raises_inside),
    Way("a stream finished elsewhere", elsewhere, does_async=elsewhere_async),
    Way("calls at the same time", together, only="async"),
    Way("a call cancelled while it waits", cancelled, Reply("late", latency=LATE), only="async"),
    Way(
        "a stream cancelled while it is read",
        cancelled_stream,
        Reply("late", latency=STALLS, usage=SAID),
        only="async",
    ),
    Way("an answer that comes too late", too_late, Reply("late", latency=LATE), max_retries=0),
    Way("a connection refused", refused, max_retries=0),
    Way("a bad request", create, Failure(400)),
    Way("a wrong key", iterate, Failure(401)),
    Way("a retry", create, [LIMITED, HELLO]),
    Way("a retry of a stream", helper, [OVERLOADED, HELLO]),
    Way("a retry of a raw response", raw, [LIMITED, OVERLOADED, HELLO]),
    Way("retries in vain", helper, [OVERLOADED] * 3),
    Way("a failure that is not retried", create, OVERLOADED, max_retries=0),
    Way("a reply cut", create, CUT, max_retries=0),
    Way("a stream cut", iterate, CUT),
    Way("an error event in a stream", helper, FAILS),
    Way("structured output", parse, JSON),
    Way("structured output of beta", beta_parse, JSON),
    Way("structured output of the stream helper", helper_parse, JSON),
    Way("structured output that does not fit", parse, HELLO),
    Way("beta", beta_create),
    Way("beta, a raw response", beta_raw),
    Way("beta, a stream", beta_iterate, ASKS),
    Way("beta, the stream helper", beta_helper),
    Way("the tool runner", runner_until_done, [ASKS, DONE]),
    Way("the tool runner, message by message", runner_iterated, [ASKS, DONE]),
    Way("the tool runner, streaming", runner_streaming, [ASKS, DONE]),
    Way("the tool runner, failing tools", runner_failing, [ASKS, DONE]),
    Way("the tool runner, left", runner_left, [ASKS, DONE], only="sync"),
    Way("a loop", loop, [ASKS, DONE]),
    Way("a loop of streams", streamed_loop, [ASKS, DONE]),
    Way("counting tokens", count_tokens),
    Way("a batch", batches),
    Way("thinking", create, THINKS),
    Way("thinking, streamed", iterate, THINKS),
    Way("tools of the server", create, SERVER_TOOLS),
    Way("tools of the server, streamed", iterate, SERVER_TOOLS),
    Way("a cached prompt", create, CACHES),
    Way("a cached prompt, streamed", iterate, CACHES),
    Way("images, documents, cache control", asking([{"role": "user", "content": BLOCKS}])),
    Way("a prompt of 1 MB", asking(LONG)),
    Way("messages as a tuple", asking(({"role": "user", "content": "Hello?"},))),
    Way("one-shot iterators as messages", one_shot_iterators),
    Way("lone surrogates", lone_surrogates, max_retries=0),
    Way("no messages", asking([])),
    Way("a deprecated model", deprecated_model),
    Way("Bedrock", create, client=BEDROCK),
    Way("Bedrock, a stream", iterate, ASKS, client=BEDROCK),
    Way("Bedrock, a stream forwarded as bytes", forwarded_raw, client=BEDROCK),
    Way("Bedrock's own Messages API", helper, client=MANTLE),
    Way("Vertex", create, client=VERTEX),
    Way("Vertex, a stream", iterate, ASKS, client=VERTEX),
    Way("Foundry", create, client=FOUNDRY),
    Way("Foundry, the stream helper", helper, client=FOUNDRY),
    Way("AWS", iterate, client=AWS),
)
