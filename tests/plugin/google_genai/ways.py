"""Every way to call a model through Google's SDK: the rows that `test_matrix.py` has of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import threading
from typing import Any

import pydantic
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from tests.plugin.ways import STALLS, W, Way, seen
from tests.support.script import (
    Cut,
    ErrorEvent,
    Failure,
    Latency,
    RawBlock,
    Reply,
    Request,
    Text,
    Thinking,
    ToolUse,
    Usage,
)

VERSION = tuple(int(part) for part in genai.__version__.split(".")[:2])

MODEL = "gemini-2.5-flash"
ASK: dict[str, Any] = {"model": MODEL, "contents": "Hello?"}
SAID = Usage(input_tokens=12, output_tokens=5)
HELLO = Reply("Hello, you there. How are you today?", usage=SAID)
ASKS = Reply(
    [Text("Let me see."), ToolUse("search", {"q": "x" * 40}), ToolUse("search", {"q": "y"})],
    usage=Usage(9, 4),
)
WITH_IDS = Reply(
    [ToolUse("search", {"q": "x"}, id="call_1"), ToolUse("search", {"q": "x"}, id="call_2")],
    usage=Usage(9, 4),
)
DONE = Reply("Done.", usage=Usage(30, 2))
ALL = Reply(
    [Thinking("Hm, well."), Text("Yes.")],
    usage=Usage(12, 8, cache_read_input_tokens=100, thinking_tokens=6, tool_use_input_tokens=7),
)

SEARCH = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="search",
            description="Search.",
            parameters=types.Schema(
                type=types.Type.OBJECT, properties={"q": types.Schema(type=types.Type.STRING)}
            ),
        )
    ]
)


def make_client(url: str, is_async: bool, max_retries: int, **options: Any) -> Any:
    """A client of `url`; the asynchronous half of it for asynchronous rows."""
    http: dict[str, Any] = {"base_url": url, **options.pop("http", {})}
    if has_retries():
        http["retry_options"] = types.HttpRetryOptions(
            attempts=max_retries + 1, initial_delay=0.001, exp_base=1, jitter=0.001
        )
    client = genai.Client(
        **(options or {"api_key": "test"}), http_options=types.HttpOptions(**http)
    )
    return client.aio if is_async else client


def has_retries() -> bool:
    return "retry_options" in types.HttpOptions.model_fields


async def generate(w: W, **more: Any) -> Any:
    return await w.of(w.client.models.generate_content(**{**ASK, **more}))


async def stream(w: W, **more: Any) -> Any:
    return await w.of(w.client.models.generate_content_stream(**{**ASK, **more}))


def config(**more: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(**more)


# -- whole replies


async def create(w: W) -> Any:
    return seen(await generate(w))


async def parameters(w: W) -> Any:
    told = config(
        system_instruction="Be brief.",
        temperature=0.5,
        max_output_tokens=64,
        top_p=0.9,
        top_k=40,
        seed=7,
        stop_sequences=["END"],
        tools=[SEARCH],
    )
    return seen(await generate(w, config=told))


class Weather(pydantic.BaseModel):
    city: str
    rain: bool


async def parse(w: W) -> Any:
    told = config(response_mime_type="application/json", response_schema=Weather)
    reply = await generate(w, config=told)
    return seen(reply), seen(reply.parsed)


async def images(w: W) -> Any:
    parts = [
        types.Part.from_bytes(data=b"\x89PNG pixel", mime_type="image/png"),
        types.Part.from_uri(file_uri="gs://one/two.pdf", mime_type="application/pdf"),
        types.Part(text="What is it?"),
    ]
    return seen(await generate(w, contents=[types.Content(role="user", parts=parts)]))


# -- streams


async def iterate(w: W) -> Any:
    return await w.all(await stream(w))


async def by_hand(w: W) -> Any:
    found = await stream(w)
    first = await anext(found) if w.is_async else next(found)
    return seen(first), await w.all(found)


async def closed_early(w: W) -> Any:
    found = await stream(w)
    async for chunk in w.each(found):
        await w.of(found.aclose() if w.is_async else found.close())
        return seen(chunk)
    return None


def broken_off(w: W) -> Any:
    for chunk in w.client.models.generate_content_stream(**ASK):
        return seen(chunk)
    return None


async def broken_off_async(w: W) -> Any:
    found = await stream(w)
    async for chunk in found:
        first = seen(chunk)
        break
    del found
    gc.collect()
    await asyncio.sleep(0)
    return first


async def not_read(w: W) -> Any:
    found = await stream(w)
    name = type(found).__name__
    del found
    gc.collect()
    return name


async def raises_inside(w: W) -> Any:
    async for _ in w.each(await stream(w)):
        raise ZeroDivisionError("the application's own")


def elsewhere(w: W) -> Any:
    found = w.client.models.generate_content_stream(**ASK)
    texts = [next(found).text]
    rest = threading.Thread(target=lambda: texts.extend(chunk.text for chunk in found))
    rest.start()
    rest.join()
    return texts


async def elsewhere_async(w: W) -> Any:
    found = await stream(w)
    texts = [(await anext(found)).text]

    async def rest() -> None:
        texts.extend([chunk.text async for chunk in found])

    await asyncio.create_task(rest())
    return texts


async def together(w: W) -> Any:
    replies = await asyncio.gather(*[generate(w) for _ in range(3)])
    return [reply.text for reply in replies]


async def cancelled(w: W) -> Any:
    call = asyncio.create_task(generate(w))
    while not w.api.requests:
        await asyncio.sleep(0.001)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    return call.cancelled()


async def cancelled_stream(w: W) -> Any:
    texts: list[Any] = []

    async def read() -> None:
        async for chunk in await stream(w):
            texts.append(chunk.text)  # noqa: PERF401 - one by one, as it is cancelled

    call = asyncio.create_task(read())
    while not w.api.requests:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    return call.cancelled(), texts


# -- tools


def search(q: str) -> str:
    """Search.

    Args:
        q: what for
    """
    return f"about {q}"


async def search_async(q: str) -> str:
    """Search."""
    return f"about {q}"


search_async.__name__ = "search"


def failing(q: str) -> str:
    """Search."""
    raise ValueError(f"nothing about {q}")


failing.__name__ = "search"

for one in (search, search_async, failing):  # as older releases read no annotation that is a text
    one.__annotations__ = {"q": str, "return": str}


def called(function: Any) -> Any:
    async def call(w: W) -> Any:
        reply = await generate(w, config=config(tools=[function]))
        return seen(reply), [one.body["contents"] for one in w.api.requests]

    return call


async def called_streaming(w: W) -> Any:
    return await w.all(await stream(w, config=config(tools=[search])))


async def called_once(w: W) -> Any:
    only = types.AutomaticFunctionCallingConfig(maximum_remote_calls=2)
    return seen(await generate(w, config=config(tools=[search], automatic_function_calling=only)))


async def called_at_the_same_time(w: W) -> Any:
    asked = [generate(w, config=config(tools=[search_async])) for _ in range(2)]
    return [reply.text for reply in await asyncio.gather(*asked)]


def answers_to(content: Any, with_ids: bool) -> types.Content:
    return types.Content(
        role="user",
        parts=[
            types.Part(
                function_response=types.FunctionResponse(
                    id=part.function_call.id if with_ids else None,
                    name=part.function_call.name,
                    response={"result": search(**part.function_call.args)},
                )
            )
            for part in content.parts
            if part.function_call
        ],
    )


def looped(with_ids: bool = False) -> Any:
    async def loop(w: W) -> Any:
        contents: list[Any] = [types.Content(role="user", parts=[types.Part(text="Hello?")])]
        first = await generate(w, contents=contents, config=config(tools=[SEARCH]))
        content = first.candidates[0].content
        contents += [content, answers_to(content, with_ids)]
        return seen(first), seen(await generate(w, contents=contents))

    return loop


async def streamed_loop(w: W) -> Any:
    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text="Hello?")])]
    said = [
        chunk.candidates[0].content
        async for chunk in w.each(await stream(w, contents=contents, config=config(tools=[SEARCH])))
    ]
    whole = types.Content(role="model", parts=[part for one in said for part in one.parts])
    contents += [whole, answers_to(whole, with_ids=False)]
    return await w.all(await stream(w, contents=contents))


async def chat(w: W) -> Any:
    talk = w.client.chats.create(model=MODEL)
    first = await w.of(talk.send_message("Hello?"))
    second = await w.of(talk.send_message("And you?"))
    return seen(first), seen(second), len(w.api.requests[-1].body["contents"])


async def chat_with_tools(w: W) -> Any:
    talk = w.client.chats.create(model=MODEL, config=config(tools=[search]))
    return seen(await w.of(talk.send_message("Hello?"))), await chat_streaming(w)


async def chat_streaming(w: W) -> Any:
    talk = w.client.chats.create(model=MODEL)
    found = [await w.all(await w.of(talk.send_message_stream("Hello?")))]
    return [*found, await w.all(await w.of(talk.send_message_stream("And you?")))]


async def count_tokens(w: W) -> Any:
    return seen(await w.of(w.client.models.count_tokens(**ASK)))


# -- clients


def vertex(url: str, is_async: bool) -> Any:
    return make_client(
        url,
        is_async,
        2,
        vertexai=True,
        project="p",
        location="us-central1",
        credentials=Credentials("token"),  # type: ignore[no-untyped-call]
    )


def nowhere(url: str, is_async: bool) -> Any:
    return make_client("http://127.0.0.1:9", is_async, 0)


def impatient(url: str, is_async: bool) -> Any:
    return make_client(url, is_async, 0, http={"timeout": 100}, api_key="test")


LIMITED, OVERLOADED = Failure(429, retry_after_seconds=0.002), Failure(503)
CUT = Reply("Hello, you there.", usage=SAID, interruption=Cut(after_deltas=1))
FAILS = Reply("Hello, you there.", usage=SAID, interruption=ErrorEvent(after_deltas=1, status=503))
LATE = Reply("late", latency=Latency(before_headers=0.5))
SIGNED = RawBlock(
    {
        "functionCall": {"name": "search", "args": {"q": "x"}},
        "thoughtSignature": base64.b64encode(b"signed").decode(),
    }
)
RAN = Reply(
    [
        RawBlock({"executableCode": {"language": "PYTHON", "code": "print(1)"}}),
        RawBlock({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}),
        Text("It is 1."),
    ],
    usage=SAID,
)
JSON = Reply('{"city": "Lisbon", "rain": false}', usage=SAID)
SETTLED = (1, 30)
"""The release from which the SDK tries again, awaits functions, and reads every error."""


def by_turn(request: Request) -> Reply:
    return DONE if "functionResponse" in str(request.body) else ASKS


WAYS = (
    Way("a whole reply", create),
    Way("parameters and a system instruction", parameters),
    Way("structured output", parse, JSON),
    Way("images and documents", images),
    Way("thinking, cached, tools of the API", create, ALL),
    Way("thinking, cached, tools of the API, streamed", iterate, ALL),
    Way("code that the API runs", create, RAN),
    Way("too long", create, Reply("Hel", usage=SAID, stop_reason="max_tokens")),
    Way("not said for safety", create, Reply([], usage=SAID, stop_reason="SAFETY")),
    Way("a prompt that is not taken", create, Reply("", usage=SAID, stop_reason="blocked")),
    Way("a call that is none", create, Reply([], stop_reason="MALFORMED_FUNCTION_CALL")),
    Way("a stream read to its end", iterate),
    Way("a stream read by hand", by_hand),
    Way("a stream closed early", closed_early),
    Way("a stream broken off", broken_off, does_async=broken_off_async),
    Way("a stream that is not read", not_read),
    Way("an exception of the application while it streams", raises_inside),
    Way("a stream finished elsewhere", elsewhere, does_async=elsewhere_async),
    Way("calls at the same time", together, only="async"),
    Way("a call cancelled while it waits", cancelled, LATE, only="async"),
    Way(
        "a stream cancelled while it is read",
        cancelled_stream,
        Reply("late", latency=STALLS, usage=SAID),
        only="async",
    ),
    Way("an answer that comes too late", create, LATE, client=impatient),
    Way("a connection refused", create, client=nowhere),
    Way("a bad request", create, Failure(400)),
    Way("a wrong key", iterate, Failure(401), since=SETTLED),
    Way("a retry", create, [LIMITED, HELLO], since=SETTLED),
    Way("a retry of a stream", iterate, [OVERLOADED, HELLO], since=SETTLED),
    Way("retries in vain", iterate, [OVERLOADED] * 3, since=SETTLED),
    Way("a failure that is not retried", create, OVERLOADED, max_retries=0),
    Way("a reply cut", create, CUT, max_retries=0),
    Way("a stream cut", iterate, CUT),
    Way("an error in a stream", iterate, FAILS),
    Way("functions that the SDK calls", called(search), [ASKS, DONE]),
    Way("functions that the SDK calls, with ids", called(search), [WITH_IDS, DONE]),
    Way("functions that the SDK calls, streaming", called_streaming, [ASKS, DONE]),
    Way(
        "functions that the SDK calls, awaited",
        called(search_async),
        [ASKS, DONE],
        only="async",
        since=SETTLED,
    ),
    Way(
        "functions called at the same time",
        called_at_the_same_time,
        by_turn,
        only="async",
        since=SETTLED,
        at_once=True,
    ),
    Way("functions that the SDK calls, failing", called(failing), [ASKS, DONE]),
    Way("functions that the SDK calls, twice", called(search), [ASKS, ASKS, DONE]),
    Way("functions that the SDK calls, once", called_once, [ASKS, ASKS]),
    Way("a loop", looped(), [ASKS, DONE]),
    Way("a loop with ids", looped(with_ids=True), [WITH_IDS, DONE]),
    Way("a loop, signed", looped(), [Reply([SIGNED], usage=SAID), DONE]),
    Way("a loop of streams", streamed_loop, [ASKS, DONE]),
    Way("a chat", chat),
    Way("a chat with functions", chat_with_tools, [ASKS, DONE, HELLO, HELLO]),
    Way("counting tokens", count_tokens),
    Way("Vertex AI", create, client=vertex),
    Way("Vertex AI, a stream", iterate, ASKS, client=vertex),
    Way("Vertex AI, functions that the SDK calls", called(search), [ASKS, DONE], client=vertex),
)
