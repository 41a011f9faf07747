"""The stand-in against the real SDK: every way to call, every way to fail."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anthropic
import pytest

from tests.support.messages_api import (
    REPOSITORY,
    ByTurn,
    Cut,
    ErrorEvent,
    Failure,
    InOrder,
    Latency,
    MessagesApi,
    RawBlock,
    Reply,
    ScriptError,
    Stall,
    Text,
    Thinking,
    ToolUse,
    Usage,
    messages_api_process,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropic.types import MessageParam
    from anthropic.types.beta import BetaMessageParam

    from tests.support.messages_api import Answer

MODEL = "claude-opus-5-5"

HELLO: list[MessageParam] = [{"role": "user", "content": "Hello"}]

BETA_HELLO: list[BetaMessageParam] = [{"role": "user", "content": "Hello"}]

EVERYTHING = Reply(
    [
        Thinking("They want two things looked up.", signature="c2lnbmVk"),
        Text("I will look up both, the fjord first."),
        ToolUse("look_up", {"name": "Geirangerfjord", "depth": True}, id="toolu_1"),
        ToolUse("now", id="toolu_2"),
    ],
    usage=Usage(
        input_tokens=21,
        output_tokens=34,
        cache_read_input_tokens=5,
        ephemeral_5m_input_tokens=8,
        ephemeral_1h_input_tokens=13,
        thinking_tokens=3,
    ),
)


def client(api: MessagesApi, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=api.url, api_key="test", **options)


def async_client(api: MessagesApi, **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=api.url, api_key="test", **options)


def say_hello(sdk: anthropic.Anthropic) -> anthropic.types.Message:
    return sdk.messages.create(model=MODEL, max_tokens=64, messages=HELLO)


def by_create(api: MessagesApi) -> Any:
    with client(api) as sdk:
        return say_hello(sdk)


def by_helper(api: MessagesApi) -> Any:
    with (
        client(api) as sdk,
        sdk.messages.stream(model=MODEL, max_tokens=64, messages=HELLO) as stream,
    ):
        return stream.get_final_message()


def by_beta_create(api: MessagesApi) -> Any:
    with client(api) as sdk:
        return sdk.beta.messages.create(model=MODEL, max_tokens=64, messages=BETA_HELLO)


def by_async_create(api: MessagesApi) -> Any:
    async def call() -> Any:
        async with async_client(api) as sdk:
            return await sdk.messages.create(model=MODEL, max_tokens=64, messages=HELLO)

    return asyncio.run(call())


def by_async_helper(api: MessagesApi) -> Any:
    async def call() -> Any:
        async with (
            async_client(api) as sdk,
            sdk.messages.stream(model=MODEL, max_tokens=64, messages=HELLO) as stream,
        ):
            return await stream.get_final_message()

    return asyncio.run(call())


@pytest.mark.parametrize(
    "call", [by_create, by_helper, by_beta_create, by_async_create, by_async_helper]
)
def test_every_way_to_call_gives_what_the_script_says(call: Callable[[MessagesApi], Any]) -> None:
    with MessagesApi(EVERYTHING) as api:
        message = call(api)

    assert message.model == MODEL
    assert message.stop_reason == "tool_use"
    blocks = [block.model_dump(exclude_none=True) for block in message.content]
    assert blocks == [
        {
            "type": "thinking",
            "thinking": "They want two things looked up.",
            "signature": "c2lnbmVk",
        },
        {"type": "text", "text": "I will look up both, the fjord first."},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "look_up",
            "input": {"name": "Geirangerfjord", "depth": True},
        },
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ]
    usage = message.usage.model_dump(exclude_none=True)
    # Older releases of the SDK forget these where they add up a stream.
    usage.setdefault("output_tokens_details", {"thinking_tokens": 3})
    assert usage == {
        "input_tokens": 21,
        "output_tokens": 34,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 21,
        "cache_creation": {"ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 13},
        "output_tokens_details": {"thinking_tokens": 3},
        "service_tier": "standard",
    }


def post(api: MessagesApi, body: object, path: str = "/v1/messages", **headers: str) -> Any:
    """The answer to one request, without the SDK in between."""
    address = urlsplit(api.url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("POST", path, data, {"x-api-key": "test", **headers})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def wire_events(text: str) -> list[dict[str, Any]]:
    events = []
    for event in text.split("\n\n")[:-1]:
        name, data = event.split("\n")
        assert name == f"event: {json.loads(data[6:])['type']}"
        events.append(json.loads(data[6:]))
    return events


def test_a_stream_has_the_event_sequence_of_the_api() -> None:
    reply = Reply(
        [Thinking("Easy.", signature="c2ln"), Text("Hi there"), ToolUse("now", id="toolu_1")],
        usage=Usage(input_tokens=3, output_tokens=4),
        delta_characters=5,
    )
    with MessagesApi(reply) as api:
        status, headers, text = post(
            api, {"model": MODEL, "max_tokens": 9, "messages": HELLO, "stream": True}
        )

    assert status == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["request-id"].startswith("req_01")
    assert headers["anthropic-organization-id"]
    started, *others = wire_events(text)
    assert started["message"]["content"] == []
    assert started["message"]["stop_reason"] is None
    assert started["message"]["usage"]["input_tokens"] == 3
    assert started["message"]["usage"]["output_tokens"] == 1
    counts = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 4,
    }
    assert others == [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "ping"},
        delta(0, type="thinking_delta", thinking="Easy."),
        delta(0, type="signature_delta", signature="c2ln"),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        delta(1, type="text_delta", text="Hi th"),
        delta(1, type="text_delta", text="ere"),
        {"type": "content_block_stop", "index": 1},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}},
        },
        delta(2, type="input_json_delta", partial_json=""),
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": counts,
        },
        {"type": "message_stop"},
    ]


def delta(index: int, **content: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": content}


def test_the_events_of_a_stream_reach_the_caller_of_the_sdk() -> None:
    with (
        MessagesApi(Reply("Hello, world", delta_characters=6, stop_reason="max_tokens")) as api,
        client(api) as sdk,
    ):
        stream = sdk.messages.create(model=MODEL, max_tokens=3, messages=HELLO, stream=True)
        events = list(stream)

    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[-2].type == "message_delta"
    assert events[-2].delta.stop_reason == "max_tokens"


def test_any_other_block_is_sent_as_it_is() -> None:
    search: Mapping[str, Any] = {
        "type": "server_tool_use",
        "id": "srvtoolu_1",
        "name": "web_search",
        "input": {"query": "fjords"},
    }
    with MessagesApi(Reply([RawBlock(search), Text("Found.")])) as api:
        for call in (by_create, by_helper):
            block, text = call(api).content
            assert block.model_dump(include=search.keys()) == search
            assert text.text == "Found."


@pytest.mark.parametrize(
    ("failure", "error_name", "error_type", "tries"),
    [
        (Failure(400), "BadRequestError", "invalid_request_error", 1),
        (Failure(401), "AuthenticationError", "authentication_error", 1),
        (Failure(429, retry_after_seconds=0.001), "RateLimitError", "rate_limit_error", 3),
        (Failure(500, retry_after_seconds=0.001), "InternalServerError", "api_error", 3),
        (Failure(529, retry_after_seconds=0.001), "OverloadedError", "overloaded_error", 3),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Failure) else "",
)
def test_a_failure_becomes_the_error_of_the_sdk_after_its_retries(
    failure: Failure, error_name: str, error_type: str, tries: int
) -> None:
    with MessagesApi(failure) as api, client(api) as sdk:
        with pytest.raises(anthropic.APIStatusError) as caught:
            say_hello(sdk)

        assert [request.retry for request in api.requests] == list(range(tries))
    error = caught.value
    assert error_name in {kind.__name__ for kind in type(error).__mro__}
    assert error.status_code == failure.status
    assert error.request_id is not None
    assert isinstance(error.body, dict)
    assert error.body["error"]["type"] == error_type


def test_a_failure_passes_when_the_next_answer_in_order_is_a_reply() -> None:
    script: list[Answer] = [Failure(529, retry_after_seconds=0.001), Reply("Here again")]
    with MessagesApi(script) as api, client(api) as sdk:
        message = say_hello(sdk)

        assert [exchange.status for exchange in api.exchanges] == [529, 200]
    assert [block.text for block in message.content if block.type == "text"] == ["Here again"]


@pytest.mark.parametrize(
    ("seconds", "headers"),
    [
        (None, {}),
        (2, {"retry-after": "2"}),
        (0.3, {"retry-after": "1", "retry-after-ms": "300"}),
    ],
)
def test_retry_after_is_in_whole_seconds_and_beside_it_exact(
    seconds: float | None, headers: dict[str, str]
) -> None:
    with MessagesApi(Failure(429, "Slow down", retry_after_seconds=seconds)) as api:
        status, got, text = post(api, {"model": MODEL, "max_tokens": 9, "messages": HELLO})

    assert status == 429
    assert {name: got[name] for name in got if name.startswith("retry-")} == headers
    assert json.loads(text) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Slow down"},
        "request_id": got["request-id"],
    }


def collect_text(sdk: anthropic.Anthropic, text: list[str]) -> None:
    with sdk.messages.stream(model=MODEL, max_tokens=64, messages=HELLO) as stream:
        for piece in stream.text_stream:
            text.append(piece)  # noqa: PERF402 (what came before an error counts too)


def test_a_cut_stream_breaks_without_its_end() -> None:
    reply = Reply("Hello, world", delta_characters=5, interruption=Cut(after_deltas=2))
    with MessagesApi(reply) as api, client(api) as sdk:
        text: list[str] = []
        with pytest.raises(Exception, match="incomplete chunked read"):
            collect_text(sdk, text)

        assert text == ["Hello", ", wor"]
        (exchange,) = api.exchanges
        assert not exchange.complete
        assert [sent.what for sent in exchange.sent] == [
            "headers",
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
        ]


def test_a_cut_reply_without_a_stream_is_a_lost_connection() -> None:
    with (
        MessagesApi(Reply("Hello, world", interruption=Cut(after_deltas=0))) as api,
        client(api, max_retries=0) as sdk,
        pytest.raises(anthropic.APIConnectionError),
    ):
        say_hello(sdk)


@pytest.mark.parametrize(
    ("after", "text"), [(0, []), (1, ["Hello"]), (99, ["Hello", ", wor", "ld"])]
)
def test_an_error_event_ends_a_stream(after: int, text: list[str]) -> None:
    reply = Reply("Hello, world", delta_characters=5, interruption=ErrorEvent(after))
    got: list[str] = []
    with (
        MessagesApi(reply) as api,
        client(api) as sdk,
        pytest.raises(anthropic.APIStatusError, match="overloaded_error"),
    ):
        collect_text(sdk, got)

    assert got == text


def test_an_error_event_is_a_failure_where_nothing_streams() -> None:
    reply = Reply("Hello", interruption=ErrorEvent(after_deltas=1, status=500, message="Oh no"))
    with (
        MessagesApi(reply) as api,
        client(api, max_retries=0) as sdk,
        pytest.raises(anthropic.InternalServerError, match="Oh no"),
    ):
        say_hello(sdk)


def test_every_pause_is_kept_before_what_it_is_for() -> None:
    latency = Latency(
        before_headers=0.02,
        before_first_delta=0.03,
        per_delta=0.005,
        stalls=[Stall(before_delta=2, seconds=0.04)],
    )
    reply = Reply("abcdef", latency=latency, delta_characters=2)
    with MessagesApi(reply) as api:
        by_helper(api)
        by_create(api)
        streamed, whole = api.exchanges

    sent = [(sent.what, sent.at_ns - streamed.request.received_ns) for sent in streamed.sent]
    deltas = [at_ns for what, at_ns in sent if what == "content_block_delta"]
    assert streamed.seconds_until("headers") >= 0.02
    assert deltas[0] >= 50e6
    assert deltas[1] >= 55e6
    assert deltas[2] >= 100e6
    # What follows without a pause leaves together with what is before it.
    assert dict(sent)["message_stop"] == deltas[2]
    assert dict(sent)["ping"] == dict(sent)["headers"]
    # A reply that is not streamed takes the model just as long.
    assert whole.seconds_until("headers") >= 0.1
    assert [sent.what for sent in whole.sent] == ["headers", "body"]


def test_tokens_can_be_counted() -> None:
    with MessagesApi([]) as api, client(api) as sdk:
        short = sdk.messages.count_tokens(model=MODEL, messages=HELLO)
        again = sdk.beta.messages.count_tokens(model=MODEL, messages=BETA_HELLO)
        longer: list[MessageParam] = [{"role": "user", "content": "Hello" * 400}]
        long = sdk.messages.count_tokens(model=MODEL, messages=longer)

        assert {request.path for request in api.requests} == {"/v1/messages/count_tokens"}
    assert short.input_tokens == again.input_tokens
    assert long.input_tokens == short.input_tokens + 399 * 5 / 4 + 0.25


def test_usage_that_is_not_scripted_grows_with_the_texts() -> None:
    script = ByTurn([Reply("Hm."), Reply("The answer is long. " * 20)])
    messages: list[MessageParam] = [*HELLO]
    with MessagesApi(script) as api, client(api) as sdk:
        first = say_hello(sdk)
        messages += [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "Go on"},
        ]
        second = sdk.messages.create(model=MODEL, max_tokens=64, messages=messages)

    assert 0 < first.usage.input_tokens < second.usage.input_tokens
    assert (first.usage.output_tokens, second.usage.output_tokens) == (1, 100)


def tool_ids(api: MessagesApi) -> list[str]:
    return [block.id for _ in range(3) for block in by_create(api).content]


def test_ids_differ_between_replies_and_not_between_runs() -> None:
    reply = Reply([ToolUse("now"), ToolUse("now")])
    with MessagesApi(reply) as api:
        ids = tool_ids(api)
    with MessagesApi(reply) as api:
        assert tool_ids(api) == ids
    assert len(set(ids)) == 6


def test_requests_are_recorded_as_they_came() -> None:
    with MessagesApi(Reply("Hello")) as api:
        by_create(api)
        by_beta_create(api)
        first, second = api.requests

    assert (first.number, second.number) == (0, 1)
    assert (first.method, first.path, first.query) == ("POST", "/v1/messages", "")
    assert (second.path, second.query) in [("/v1/messages", ""), ("/v1/messages", "beta=true")]
    # Newer releases of the SDK send the key as a bearer token.
    assert first.headers.get("x-api-key", first.headers.get("authorization")) in (
        "test",
        "Bearer test",
    )
    assert first.body["messages"] == HELLO
    assert (first.question, first.turn, first.retry, first.streams) == ("Hello", 0, 0, False)


def test_many_conversations_at_once_keep_their_turns() -> None:
    script = ByTurn(
        [
            Reply([ToolUse("look_up")], latency=Latency(before_headers=0.05)),
            [Failure(429, retry_after_seconds=0.001), Reply([ToolUse("look_up")])],
            Reply("Done", latency=Latency(per_delta=0.01)),
        ]
    )

    async def converse(sdk: anthropic.AsyncAnthropic, number: int) -> list[str | None]:
        messages: list[MessageParam] = [{"role": "user", "content": f"Conversation {number}"}]
        reasons: list[str | None] = []
        while True:
            async with sdk.messages.stream(model=MODEL, max_tokens=64, messages=messages) as stream:
                reply = await stream.get_final_message()
            reasons.append(reply.stop_reason)
            calls = [block for block in reply.content if block.type == "tool_use"]
            if not calls:
                return reasons
            messages.append({"role": "assistant", "content": reply.content})
            messages.append(
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": call.id, "content": "found"}
                        for call in calls
                    ],
                }
            )

    async def converse_all() -> list[list[str | None]]:
        async with async_client(api) as sdk:
            return await asyncio.gather(*(converse(sdk, number) for number in range(64)))

    with MessagesApi(script) as api:
        everyone = asyncio.run(converse_all())
        last = [request for request in api.requests if request.turn == 2]

    assert everyone == [["tool_use", "tool_use", "end_turn"]] * 64
    assert {request.question for request in last} == {f"Conversation {n}" for n in range(64)}
    assert {tuple(request.tools_called) for request in last} == {("look_up", "look_up")}


def test_an_abandoned_stream_harms_nobody_else() -> None:
    endless = Reply("word " * 2000, latency=Latency(per_delta=0.002), delta_characters=5)
    script = InOrder([endless, Reply("Hello")])
    with MessagesApi(script) as api, client(api) as sdk:
        with sdk.messages.stream(model=MODEL, max_tokens=64, messages=HELLO) as stream:
            next(iter(stream.text_stream))
        assert say_hello(sdk).stop_reason == "end_turn"

        assert [exchange.complete for exchange in api.exchanges] == [False, True]


def test_closing_ends_what_is_still_under_way() -> None:
    with MessagesApi(Reply("Hello", latency=Latency(before_headers=600))) as api:

        async def give_up() -> None:
            async with async_client(api, max_retries=0, timeout=0.05) as sdk:
                with pytest.raises(anthropic.APITimeoutError):
                    await sdk.messages.create(model=MODEL, max_tokens=64, messages=HELLO)

        asyncio.run(give_up())
    (exchange,) = api.exchanges
    assert (exchange.complete, exchange.sent) == (False, ())


TOOL_USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_9"}]}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/messages", {"model": MODEL, "max_tokens": 9, "messages": HELLO}, 400, "1 answers"),
        ("/v1/messages", b"{", 400, "not valid JSON"),
        ("/v1/messages", {"model": MODEL, "messages": HELLO}, 400, "max_tokens: Field required"),
        ("/v1/messages/count_tokens", {"messages": HELLO}, 400, "model: Field required"),
        (
            "/v1/messages",
            {"model": MODEL, "max_tokens": 9, "messages": []},
            400,
            "at least one message",
        ),
        (
            "/v1/messages",
            {"model": MODEL, "max_tokens": 9, "messages": [*HELLO, TOOL_USE, *HELLO]},
            400,
            "without `tool_result` blocks immediately after: toolu_9",
        ),
        ("/v1/complete", {"model": MODEL}, 404, "Not found: POST /v1/complete"),
    ],
)
def test_what_the_api_would_refuse_is_refused_and_recorded(
    path: str, body: object, status: int, message: str
) -> None:
    with MessagesApi([Reply("only one")]) as api:
        by_create(api)
        got, _, text = post(api, body, path)

        assert [exchange.status for exchange in api.exchanges] == [200, status]
    assert got == status
    assert json.loads(text)["type"] == "error"
    assert message in json.loads(text)["error"]["message"]


def test_a_key_is_needed() -> None:
    with MessagesApi(Reply("Hello")) as api:
        status, _, text = post(api, {}, **{"x-api-key": ""})
    assert status == 401
    assert json.loads(text)["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Latency(per_delta=-1), "Latency.per_delta must be 0 or more"),
        (lambda: Failure(200), "Failure.status must be 400 to 599, not 200"),
        (lambda: Failure(429, latency_seconds=-1), "Failure.latency_seconds must be 0 or more"),
        (lambda: Reply("x", delta_characters=0), "Reply.delta_characters must be 1 or more"),
        (lambda: Reply(["x"]), "it holds 'x'"),  # type: ignore[list-item]
        (lambda: InOrder(["x"]), "InOrder must give a Reply or a Failure"),  # type: ignore[list-item]
        (lambda: ByTurn([["x"]]), "ByTurn must give a Reply or a Failure"),  # type: ignore[list-item]
        (lambda: MessagesApi(3), "a script must be a Reply or Failure"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_script_says_so_at_once(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        build()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (lambda request: request.body["temperature"], "KeyError"),
        (lambda request: "Hello", "the script must give a Reply or a Failure, not 'Hello'"),
    ],
)
def test_a_script_that_fails_is_told_to_the_client_once_and_to_the_test(
    script: Any, message: str
) -> None:
    api = MessagesApi(script)
    with (
        pytest.raises(ScriptError, match=message),
        api,
        client(api) as sdk,
        contextlib.suppress(anthropic.InternalServerError),
    ):
        say_hello(sdk)

    (exchange,) = api.exchanges
    assert exchange.status == 500


EXAMPLE_SCRIPT = "examples.research_script:next_answer"


def test_a_process_of_its_own_serves_a_script_by_name() -> None:
    with (
        messages_api_process(EXAMPLE_SCRIPT) as url,
        anthropic.Anthropic(base_url=url, api_key="test") as sdk,
    ):
        assert say_hello(sdk).stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("examples.research_script", "expected module:NAME"),
        ("examples.no_such:SCRIPT", "No module named 'examples.no_such'"),
        ("examples.research_script:NO", "has no attribute 'NO'"),
        ("examples.research_script:ANSWER", "must give a Reply or a Failure"),
    ],
)
def test_a_process_without_a_script_is_an_error(
    name: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ScriptError, match="see standard error"), messages_api_process(name):
        pass
    assert reason in capfd.readouterr().err


PARENT = f"""
import os, sys
from tests.support.messages_api import messages_api_process
with messages_api_process({EXAMPLE_SCRIPT!r}) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_the_process_ends_with_its_parent_even_if_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        address = urlsplit(parent.stdout.readline().strip())
        os.kill(parent.pid, signal.SIGKILL)
    assert address.hostname is not None

    deadline = time.monotonic() + 20
    while listens(address.hostname, address.port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not listens(address.hostname, address.port)


def listens(host: str, port: int | None) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
