"""The provider seam with another SDK: `openai`, Chat Completions and Responses.

Each row is what an application does; it sees the same as without us, and one span tells of it.
"""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

import causepath
from tests.support.openai_api import OpenAiApi
from tests.support.recording import Recording, set_global_provider
from tests.support.script import Cut, ErrorEvent, Failure, InOrder, Reply, Text, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.script import Answer

QUESTION: Any = [{"role": "user", "content": "Hello?"}]
CHAT: Any = {"model": "m", "messages": QUESTION}
COUNTED: Any = {**CHAT, "stream_options": {"include_usage": True}}
RESPOND: Any = {"model": "m", "input": QUESTION}
USAGE = Usage(12, 5, cache_read_input_tokens=100)
HELLO = Reply("Hello, you there.", usage=USAGE)
ANSWER = Reply('{"word":"hello"}', usage=USAGE)
ASKS = Reply(
    [
        Text("Let me look."),
        ToolUse("search", {"q": "x"}, id="call_s"),
        ToolUse("save", {"text": "abc"}, id="call_v"),
    ],
    usage=USAGE,
)


class Word(BaseModel):
    word: str


# -- what an application does, once plainly and once asynchronously; the result is what it saw


def chat(client: Any) -> Any:
    return client.chat.completions.create(**CHAT).choices[0].message.content


async def chat_async(client: Any) -> Any:
    return (await client.chat.completions.create(**CHAT)).choices[0].message.content


def chat_iterate(client: Any) -> Any:
    chunks = client.chat.completions.create(**COUNTED, stream=True)
    return [chunk.model_dump(exclude={"id"}) for chunk in chunks]


async def chat_iterate_async(client: Any) -> Any:
    chunks = await client.chat.completions.create(**COUNTED, stream=True)
    return [chunk.model_dump(exclude={"id"}) async for chunk in chunks]


def chat_uncounted(client: Any) -> Any:
    return [chunk.choices for chunk in client.chat.completions.create(**CHAT, stream=True)]


async def chat_uncounted_async(client: Any) -> Any:
    chunks = await client.chat.completions.create(**CHAT, stream=True)
    return [chunk.choices async for chunk in chunks]


def chat_helper(client: Any) -> Any:
    with client.chat.completions.stream(**COUNTED) as stream:
        kinds = [event.type for event in stream]
        return kinds, stream.get_final_completion().choices[0].message.content


async def chat_helper_async(client: Any) -> Any:
    async with client.chat.completions.stream(**COUNTED) as stream:
        kinds = [event.type async for event in stream]
        return kinds, (await stream.get_final_completion()).choices[0].message.content


def chat_parse(client: Any) -> Any:
    return client.chat.completions.parse(**CHAT, response_format=Word).choices[0].message.parsed


async def chat_parse_async(client: Any) -> Any:
    done = await client.chat.completions.parse(**CHAT, response_format=Word)
    return done.choices[0].message.parsed


def chat_raw(client: Any) -> Any:
    return client.chat.completions.with_raw_response.create(**CHAT).parse().choices[0].finish_reason


async def chat_raw_async(client: Any) -> Any:
    raw = await client.chat.completions.with_raw_response.create(**CHAT)
    return raw.parse().choices[0].finish_reason


def chat_bytes(client: Any) -> Any:
    create = client.chat.completions.with_streaming_response.create
    with create(**COUNTED, stream=True) as response:
        return len(b"".join(response.iter_bytes()).split(b"\n\n"))


async def chat_bytes_async(client: Any) -> Any:
    create = client.chat.completions.with_streaming_response.create
    async with create(**COUNTED, stream=True) as response:
        return len(b"".join([part async for part in response.iter_bytes()]).split(b"\n\n"))


def chat_left(client: Any) -> Any:
    with client.chat.completions.create(**CHAT, stream=True) as stream:
        return next(iter(stream)).object


async def chat_left_async(client: Any) -> Any:
    async with await client.chat.completions.create(**CHAT, stream=True) as stream:
        return (await anext(aiter(stream))).object


def respond(client: Any) -> Any:
    return client.responses.create(**RESPOND).output_text


async def respond_async(client: Any) -> Any:
    return (await client.responses.create(**RESPOND)).output_text


def respond_iterate(client: Any) -> Any:
    return [event.type for event in client.responses.create(**RESPOND, stream=True)]


async def respond_iterate_async(client: Any) -> Any:
    return [event.type async for event in await client.responses.create(**RESPOND, stream=True)]


def respond_helper(client: Any) -> Any:
    with client.responses.stream(**RESPOND) as stream:
        return [event.type for event in stream], stream.get_final_response().output_text


async def respond_helper_async(client: Any) -> Any:
    async with client.responses.stream(**RESPOND) as stream:
        kinds = [event.type async for event in stream]
        return kinds, (await stream.get_final_response()).output_text


def respond_parse(client: Any) -> Any:
    return client.responses.parse(**RESPOND, text_format=Word).output_parsed


async def respond_parse_async(client: Any) -> Any:
    return (await client.responses.parse(**RESPOND, text_format=Word)).output_parsed


def respond_left(client: Any) -> Any:
    with client.responses.create(**RESPOND, stream=True) as stream:
        return next(iter(stream)).type


async def respond_left_async(client: Any) -> Any:
    async with await client.responses.create(**RESPOND, stream=True) as stream:
        return (await anext(aiter(stream))).type


@dataclass(frozen=True)
class Row:
    do: Callable[[Any], Any]
    do_async: Callable[[Any], Any]
    answers: Answer | list[Answer]
    spans: str


def _one(rest: str) -> str:
    """The text of a run of one call; `error=` stands on the run too."""
    error = next((word for word in rest.split() if word.startswith("error=")), "")
    run = f" {error} (ERROR)" if error else " (UNSET)"
    return f"invoke_agent test_openai  agent inferred{run}\n  chat m #1  llm {rest}"


RETRIED = _one("112/5 stop (OK)") + (
    "\n    attempt 1  retry 429 error=429 (UNSET)"
    "\n    backoff  retry (UNSET)"
    "\n    attempt 2  network 200 (UNSET)"
)
SOON = Failure(429, retry_after_seconds=0.001)

ROWS = {
    "chat": Row(chat, chat_async, HELLO, _one("112/5 stop (OK)")),
    "chat, length": Row(
        chat,
        chat_async,
        Reply("Hel", usage=USAGE, stop_reason="max_tokens"),
        _one("112/5 length (OK)"),
    ),
    "chat, retried": Row(chat, chat_async, [SOON, HELLO], RETRIED),
    "chat, refused": Row(
        chat, chat_async, Failure(400), _one("-/- error=invalid_request_error (ERROR)")
    ),
    "chat, stream": Row(
        chat_iterate, chat_iterate_async, HELLO, _one("112/5 stop first-chunk (OK)")
    ),
    "chat, stream, retried": Row(
        chat_iterate,
        chat_iterate_async,
        [SOON, HELLO],
        RETRIED.replace("stop", "stop first-chunk"),
    ),
    "chat, stream without usage": Row(
        chat_uncounted, chat_uncounted_async, HELLO, _one("-/- stop first-chunk (OK)")
    ),
    "chat, stream, cut": Row(
        chat_iterate,
        chat_iterate_async,
        Reply("Hello, you there.", interruption=Cut(1)),
        _one("-/- partial first-chunk error=connection_error (ERROR)"),
    ),
    "chat, stream, error": Row(
        chat_iterate,
        chat_iterate_async,
        Reply("Hello, you there.", interruption=ErrorEvent(1)),
        _one("-/- partial first-chunk error=server_error (ERROR)"),
    ),
    "chat, stream, left": Row(chat_left, chat_left_async, HELLO, _one("-/- partial (UNSET)")),
    "chat, helper": Row(chat_helper, chat_helper_async, HELLO, _one("112/5 stop first-chunk (OK)")),
    "chat, parse": Row(chat_parse, chat_parse_async, ANSWER, _one("112/5 stop (OK)")),
    "chat, raw": Row(chat_raw, chat_raw_async, HELLO, _one("112/5 stop (OK)")),
    "chat, bytes": Row(chat_bytes, chat_bytes_async, HELLO, _one("112/5 stop first-chunk (OK)")),
    "responses": Row(respond, respond_async, HELLO, _one("112/5 stop (OK)")),
    "responses, length": Row(
        respond,
        respond_async,
        Reply("Hel", usage=USAGE, stop_reason="max_tokens"),
        _one("112/5 length (OK)"),
    ),
    "responses, retried": Row(respond, respond_async, [SOON, HELLO], RETRIED),
    "responses, refused": Row(
        respond, respond_async, Failure(400), _one("-/- error=invalid_request_error (ERROR)")
    ),
    "responses, stream": Row(
        respond_iterate, respond_iterate_async, HELLO, _one("112/5 stop first-chunk (OK)")
    ),
    "responses, stream, cut": Row(
        respond_iterate,
        respond_iterate_async,
        Reply("Hello, you there.", interruption=Cut(1)),
        _one("-/- partial first-chunk error=connection_error (ERROR)"),
    ),
    "responses, stream, error": Row(
        respond_iterate,
        respond_iterate_async,
        Reply("Hello, you there.", interruption=ErrorEvent(1)),
        _one("-/- first-chunk error=server_error (ERROR)"),
    ),
    "responses, stream, left": Row(
        respond_left, respond_left_async, HELLO, _one("-/- partial (UNSET)")
    ),
    "responses, helper": Row(
        respond_helper, respond_helper_async, HELLO, _one("112/5 stop first-chunk (OK)")
    ),
    "responses, parse": Row(respond_parse, respond_parse_async, ANSWER, _one("112/5 stop (OK)")),
}


def _seen(row: Row, url: str, is_async: bool) -> Any:
    """What the application gets: a value, or the kind and the text of an exception."""

    async def main() -> Any:
        async with openai.AsyncOpenAI(base_url=url, api_key="test") as client:
            return await row.do_async(client)

    try:
        if is_async:
            return asyncio.run(main())
        with openai.OpenAI(base_url=url, api_key="test") as client:
            return row.do(client)
    except openai.OpenAIError as error:
        return type(error), str(error)
    except Exception as error:  # the transport's own, of another library in other releases
        return type(error).__name__


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", ROWS)
def test_one_call_is_one_span_and_the_application_sees_what_it_would_see(
    name: str, is_async: bool
) -> None:
    row = ROWS[name]
    answers = row.answers if isinstance(row.answers, list) else [row.answers]
    set_global_provider(None)
    with OpenAiApi(InOrder(answers)) as api:
        plain = _seen(row, api.url, is_async)
    with OpenAiApi(InOrder(answers)) as api, Recording() as recording:
        assert _seen(row, api.url, is_async) == plain
        gc.collect()
        assert recording.text() == row.spans


# -- tools


TOOLS = {"search": lambda q: f"found {q}", "save": lambda text: f"saved {text}"}
LOOP = """\
invoke_agent test_openai  agent inferred (UNSET)
  chat m #1  llm 112/5 tool_call (OK)
  execute_tool search  tool id=call_s (UNSET) <-tool_call- chat m #1
  execute_tool save  tool id=call_v (UNSET) <-tool_call- chat m #1
  chat m #2  llm 112/5 stop (OK) \
<-tool_result- execute_tool search <-tool_result- execute_tool save"""


def chat_loop(client: Any, streams: bool) -> None:
    messages: list[Any] = list(QUESTION)
    while True:
        if streams:
            with client.chat.completions.stream(**{**COUNTED, "messages": messages}) as stream:
                done = stream.get_final_completion()
        else:
            done = client.chat.completions.create(**{**CHAT, "messages": messages})
        message = done.choices[0].message
        if not message.tool_calls:
            return
        messages.append(message.model_dump(exclude_none=True) if streams else message)
        messages += [
            {
                "role": "tool",
                "tool_call_id": call.id,
                "content": TOOLS[call.function.name](**json.loads(call.function.arguments)),
            }
            for call in message.tool_calls
        ]


def respond_loop(client: Any, streams: bool, *, keeps: bool = False) -> None:
    """`keeps`: the provider keeps the conversation, and only what is new is sent."""
    given: list[Any] = list(QUESTION)
    more: dict[str, Any] = {}
    while True:
        if streams:
            with client.responses.stream(model="m", input=given, **more) as stream:
                stream.until_done()
                done = stream.get_final_response()
        else:
            done = client.responses.create(model="m", input=given, **more)
        calls = [item for item in done.output if item.type == "function_call"]
        if not calls:
            return
        results = [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": TOOLS[call.name](**json.loads(call.arguments)),
            }
            for call in calls
        ]
        if keeps:
            given, more = results, {"previous_response_id": done.id}
        else:
            given = [*given, *(item.model_dump(exclude_none=True) for item in done.output)]
            given = [
                {k: v for k, v in item.items() if k not in ("parsed_arguments", "status")}
                for item in [*given, *results]
            ]


@pytest.mark.parametrize(
    ("loop", "first_chunk"),
    [
        pytest.param(lambda client: chat_loop(client, False), False, id="chat"),
        pytest.param(lambda client: chat_loop(client, True), True, id="chat, streamed"),
        pytest.param(lambda client: respond_loop(client, False), False, id="responses"),
        pytest.param(lambda client: respond_loop(client, True), True, id="responses, streamed"),
        pytest.param(
            lambda client: respond_loop(client, False, keeps=True), False, id="responses, kept"
        ),
    ],
)
def test_a_hand_written_loop(loop: Callable[[Any], None], first_chunk: bool) -> None:
    with (
        OpenAiApi(InOrder([ASKS, HELLO])) as api,
        Recording() as recording,
        openai.OpenAI(base_url=api.url, api_key="test") as client,
    ):
        loop(client)
        expected = LOOP
        if first_chunk:
            for reason in ("tool_call (", "stop ("):
                expected = expected.replace(reason, f"{reason[:-1]}first-chunk (")
        assert recording.text() == expected


@pytest.mark.parametrize(
    ("loop", "kept"),
    [
        pytest.param(lambda client: chat_loop(client, False), 4, id="chat"),
        pytest.param(lambda client: chat_loop(client, True), 4, id="chat, streamed"),
        pytest.param(lambda client: respond_loop(client, False), 4, id="responses"),
        pytest.param(lambda client: respond_loop(client, True), 4, id="responses, streamed"),
    ],
)
def test_a_reply_that_is_sent_back_is_known_again(loop: Callable[[Any], None], kept: int) -> None:
    with (
        OpenAiApi(InOrder([ASKS, HELLO])) as api,
        Recording() as recording,
        openai.OpenAI(base_url=api.url, api_key="test") as client,
    ):
        loop(client)
        second: Any = [span for span in recording.spans() if span.name == "chat m"][1]
        assert second.attributes["causepath.input.kept"] == kept
        assert [
            block.rsplit(":", 2)[0] for block in second.attributes["causepath.input.blocks"]
        ] == [
            "user:tool_result",
            "user:tool_result",
        ]


def test_what_is_asked_for_is_said() -> None:
    with (
        OpenAiApi(HELLO) as api,
        Recording() as recording,
        openai.OpenAI(base_url=api.url, api_key="test") as client,
    ):
        function: Any = {"name": "search", "parameters": {"type": "object"}}
        deferred: Any = {"name": "rare", "parameters": {"type": "object"}}
        client.chat.completions.create(
            **CHAT,
            tools=[{"type": "function", "function": function}],
            max_completion_tokens=9,
            temperature=0.5,
            seed=7,
            stop=["."],
            reasoning_effort="low",
        )
        client.responses.create(
            **RESPOND,
            tools=[
                {"type": "function", "strict": False, **function},
                {"type": "function", "strict": False, "defer_loading": True, **deferred},
                {"type": "web_search"},
            ],
            max_output_tokens=9,
            reasoning={"effort": "high"},
            conversation="conv_1",
        )
        first, second = (
            {
                key: value
                for key, value in (span.attributes or {}).items()
                if key.startswith(("gen_ai.request", "gen_ai.conv", "causepath.tools"))
            }
            for span in recording.spans()
            if span.name == "chat m"
        )
        assert first == {
            "gen_ai.request.model": "m",
            "gen_ai.request.max_tokens": 9,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.seed": 7,
            "gen_ai.request.stop_sequences": (".",),
            "gen_ai.request.reasoning.level": "low",
            "causepath.tools.declared": ("search",),
        }
        assert second == {
            "gen_ai.conversation.id": "conv_1",
            "gen_ai.request.model": "m",
            "gen_ai.request.max_tokens": 9,
            "gen_ai.request.reasoning.level": "high",
            "causepath.tools.declared": ("search", "web_search"),
        }


def test_azure_is_another_provider() -> None:
    with (
        OpenAiApi(HELLO) as api,
        Recording() as recording,
        openai.AzureOpenAI(
            azure_endpoint=api.url.removesuffix("/v1"), api_key="test", api_version="2025-01-01"
        ) as client,
    ):
        client.chat.completions.create(**CHAT)
        (span,) = (span for span in recording.spans() if span.name == "chat m")
        assert (span.attributes or {})["gen_ai.provider.name"] == "azure.ai.openai"


def test_other_requests_of_the_sdk_are_no_model_calls() -> None:
    with (
        OpenAiApi(HELLO) as api,
        Recording() as recording,
        openai.OpenAI(base_url=api.url, api_key="test", max_retries=0) as client,
    ):
        with pytest.raises(openai.NotFoundError):
            client.models.list()
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="m", input="text")
        assert recording.text() == ""


def test_two_sdks_in_one_run() -> None:
    import anthropic

    from tests.support.messages_api import MessagesApi

    with (
        OpenAiApi(HELLO) as other,
        MessagesApi(HELLO) as api,
        Recording() as recording,
        openai.OpenAI(base_url=other.url, api_key="test") as gpt,
        anthropic.Anthropic(base_url=api.url, api_key="test") as claude,
    ):
        with causepath.agent("both"):
            gpt.chat.completions.create(**CHAT)
            claude.messages.create(model="c", max_tokens=9, messages=QUESTION)
        assert recording.text() == (
            "invoke_agent both  agent (UNSET)\n"
            "  chat m #1  llm 112/5 stop (OK)\n"
            "  chat c #2  llm 112/5 stop (OK)"
        )
