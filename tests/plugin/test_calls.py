"""One model call is one span, however the SDK is used and however the call ends.

The same table runs against the oldest supported SDK, the last one without spans of its own, and the
newest: the spans are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import causepath
from causepath import guard, instrumentor
from causepath.providers.anthropic import ANTHROPIC
from tests.plugin.conftest import NATIVE
from tests.support.messages_api import MessagesApi
from tests.support.recording import Recording, set_global_provider
from tests.support.script import (
    Cut,
    ErrorEvent,
    Failure,
    Latency,
    Reply,
    Text,
    Thinking,
    ToolUse,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.script import Answer

ASK: dict[str, Any] = {
    "model": "m",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello?"}],
}

HELLO = Reply("Hello, you there.", usage=Usage(input_tokens=12, output_tokens=5))
CACHED = Reply(
    "Hello.",
    usage=Usage(input_tokens=12, output_tokens=5, cache_read_input_tokens=100),
)


# -- what an application does, once plainly and once asynchronously; the result is what it saw


def create(client: Any) -> Any:
    return client.messages.create(**ASK).content[0].text


async def create_async(client: Any) -> Any:
    return (await client.messages.create(**ASK)).content[0].text


def finish(client: Any) -> Any:
    return client.messages.create(**ASK).stop_reason


async def finish_async(client: Any) -> Any:
    return (await client.messages.create(**ASK)).stop_reason


def raw_response(client: Any) -> Any:
    response = client.messages.with_raw_response.create(**ASK)
    return response.parse().content[0].text


async def raw_response_async(client: Any) -> Any:
    response = await client.messages.with_raw_response.create(**ASK)
    parsed = response.parse()
    return (await parsed if asyncio.iscoroutine(parsed) else parsed).content[0].text


def iterate(client: Any) -> Any:
    return [event.type for event in client.messages.create(**ASK, stream=True)]


async def iterate_async(client: Any) -> Any:
    return [event.type async for event in await client.messages.create(**ASK, stream=True)]


def helper(client: Any) -> Any:
    with client.messages.stream(**ASK) as stream:
        return "".join(stream.text_stream), stream.get_final_message().usage.output_tokens


async def helper_async(client: Any) -> Any:
    async with client.messages.stream(**ASK) as stream:
        text = "".join([text async for text in stream.text_stream])
        return text, (await stream.get_final_message()).usage.output_tokens


def stop_early(client: Any) -> Any:
    with client.messages.create(**ASK, stream=True) as stream:
        return next(iter(stream)).type


async def stop_early_async(client: Any) -> Any:
    async with await client.messages.create(**ASK, stream=True) as stream:
        return (await anext(aiter(stream))).type


def drop(client: Any) -> Any:
    stream = client.messages.create(**ASK, stream=True)
    seen = next(stream).type
    del stream
    gc.collect()
    return seen


async def drop_async(client: Any) -> Any:
    stream = await client.messages.create(**ASK, stream=True)
    seen = (await anext(stream)).type
    await stream.close()
    del stream
    return seen


def raise_inside(client: Any) -> Any:
    with client.messages.stream(**ASK) as stream:
        for _ in stream:
            raise ZeroDivisionError("the application's own")


async def raise_inside_async(client: Any) -> Any:
    async with client.messages.stream(**ASK) as stream:
        async for _ in stream:
            raise ZeroDivisionError("the application's own")


def beta(client: Any) -> Any:
    return client.beta.messages.create(**ASK).content[0].text


async def beta_async(client: Any) -> Any:
    return (await client.beta.messages.create(**ASK)).content[0].text


@dataclass(frozen=True)
class Scenario:
    name: str
    does: tuple[Callable[[Any], Any], Callable[[Any], Any]]
    answers: Sequence[Answer]
    spans: str
    """`RUN` stands for the line of the inferred run, which is named after the file."""


RUN = "invoke_agent test_calls  agent inferred (UNSET)"
FAILED = "invoke_agent test_calls  agent inferred error={} (ERROR)"

SCENARIOS = [
    Scenario(
        "a whole reply",
        (create, create_async),
        [HELLO],
        f"{RUN}\n  chat m #1  llm 12/5 stop (OK)",
    ),
    Scenario(
        "cached input counts as input",
        (create, create_async),
        [CACHED],
        f"{RUN}\n  chat m #1  llm 112/5 stop (OK)",
    ),
    Scenario(
        "thinking",
        (iterate, iterate_async),
        [Reply([Thinking("Hm."), Text("Yes.")], usage=Usage(7, 3))],
        f"{RUN}\n  chat m #1  llm 7/3 stop first-chunk (OK)",
    ),
    Scenario(
        "beta",
        (beta, beta_async),
        [HELLO],
        f"{RUN}\n  chat m #1  llm 12/5 stop (OK)",
    ),
    Scenario(
        "a raw response",
        (raw_response, raw_response_async),
        [HELLO],
        f"{RUN}\n  chat m #1  llm 12/5 stop (OK)",
    ),
    Scenario(
        "a stream read to its end",
        (iterate, iterate_async),
        [HELLO],
        f"{RUN}\n  chat m #1  llm 12/5 stop first-chunk (OK)",
    ),
    Scenario(
        "the stream helper",
        (helper, helper_async),
        [HELLO],
        f"{RUN}\n  chat m #1  llm 12/5 stop first-chunk (OK)",
    ),
    Scenario(
        "a stream closed early",
        (stop_early, stop_early_async),
        [HELLO],
        f"{RUN}\n  chat m #1  llm 12/- partial (UNSET)",
    ),
    Scenario(
        "a stream dropped",
        (drop, drop_async),
        [HELLO],
        f"{RUN}\n  chat m #1  llm 12/- partial (UNSET)",
    ),
    Scenario(
        "an exception of the application while it streams",
        (raise_inside, raise_inside_async),
        [HELLO],
        f"{RUN}\n  chat m #1  llm 12/- partial (UNSET)",
    ),
    Scenario(
        "a stream cut in the middle",
        (iterate, iterate_async),
        [Reply("Hello, you there.", usage=Usage(12, 5), interruption=Cut(after_deltas=1))],
        f"{FAILED.format('connection_error')}\n"
        "  chat m #1  llm 12/- partial first-chunk error=connection_error (ERROR)",
    ),
    Scenario(
        "an error event in a stream",
        (iterate, iterate_async),
        [Reply("Hello, you there.", usage=Usage(12, 5), interruption=ErrorEvent(after_deltas=1))],
        f"{FAILED.format('overloaded_error')}\n"
        "  chat m #1  llm 12/- partial first-chunk error=overloaded_error (ERROR)",
    ),
    Scenario(
        "a request refused",
        (create, create_async),
        [Failure(400)],
        f"{FAILED.format('invalid_request_error')}\n"
        "  chat m #1  llm -/- error=invalid_request_error (ERROR)",
    ),
    Scenario(
        "a retry",
        (create, create_async),
        [Failure(429, retry_after_seconds=0.01), HELLO],
        f"{RUN}\n"
        "  chat m #1  llm 12/5 stop (OK)\n"
        "    attempt 1  retry 429 error=429 (ERROR)\n"
        "    backoff  retry (UNSET)\n"
        "    attempt 2  network 200 (UNSET)",
    ),
    Scenario(
        "retries in vain",
        (helper, helper_async),
        [Failure(529, retry_after_seconds=0.01)] * 3,
        f"{FAILED.format('overloaded_error')}\n"
        "  chat m #1  llm -/- error=overloaded_error (ERROR)\n"
        "    attempt 1  retry 529 error=529 (ERROR)\n"
        "    backoff  retry (UNSET)\n"
        "    attempt 2  retry 529 error=529 (ERROR)\n"
        "    backoff  retry (UNSET)\n"
        "    attempt 3  retry 529 error=overloaded_error (ERROR)",
    ),
    Scenario(
        "a reply that asks for a tool which never runs",
        (finish, finish_async),
        [Reply([ToolUse("search", {"q": "x"}, id="toolu_1")], usage=Usage(9, 4))],
        f"{RUN}\n  chat m #1  llm 9/4 tool_call (OK)",
    ),
]


def run(does: Callable[[Any], Any], url: str) -> Any:
    with anthropic.Anthropic(base_url=url, api_key="test", max_retries=2) as client:
        return does(client)


def run_async(does: Callable[[Any], Any], url: str) -> Any:
    async def main() -> Any:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="test", max_retries=2) as client:
            return await does(client)

    return asyncio.run(main())


def outcome(function: Callable[[], Any]) -> Any:
    """What the application sees: a value, or an exception and what it says."""
    try:
        return function()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_one_call_is_one_span_and_the_application_sees_no_difference(
    scenario: Scenario, is_async: bool
) -> None:
    does, go = scenario.does[is_async], run_async if is_async else run

    with MessagesApi(scenario.answers) as api:
        plain = outcome(lambda: go(does, api.url))
    with MessagesApi(scenario.answers) as api, Recording() as recording:
        traced = outcome(lambda: go(does, api.url))
        text = recording.text()

    assert traced == plain
    assert text == scenario.spans


def test_a_connection_that_fails() -> None:
    with MessagesApi([]) as api:
        nowhere = api.url
    with Recording() as recording:
        client = anthropic.Anthropic(base_url=nowhere, api_key="test", max_retries=0)
        with client, pytest.raises(anthropic.APIConnectionError):
            client.messages.create(**ASK)
        assert recording.text() == (
            f"{FAILED.format('connection_error')}\n"
            "  chat m #1  llm -/- error=connection_error (ERROR)"
        )


def test_a_call_cancelled_while_it_waits() -> None:
    slow = Reply("late", latency=Latency(before_headers=30))

    async def main(url: str) -> None:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="test") as client:
            call = asyncio.create_task(client.messages.create(**ASK))
            while not api.requests:
                await asyncio.sleep(0.001)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call

    with MessagesApi([slow]) as api, Recording() as recording:
        asyncio.run(main(api.url))
        assert recording.text() == f"{RUN}\n  chat m #1  llm -/- (UNSET)"


def test_what_is_no_model_call_opens_no_run() -> None:
    with (
        MessagesApi([]) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.messages.count_tokens(model="m", messages=ASK["messages"])
        own = "anthropic.messages.count_tokens  network 200 (OK)" if NATIVE else ""
        assert recording.text() == own


def test_suppressed_calls_are_left_alone() -> None:
    with (
        MessagesApi([HELLO]) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        suppress_instrumentation(),
    ):
        assert create(client) == "Hello, you there."
        assert [
            span.name for span in recording.spans() if span.name.startswith(("chat", "inv"))
        ] == []


def test_nothing_is_recorded_of_a_trace_that_is_not_sampled() -> None:
    with (
        MessagesApi([HELLO, HELLO]) as api,
        Recording(sampler=ALWAYS_OFF) as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        assert create(client) == "Hello, you there."
        assert iterate(client)[-1] == "message_stop"
        assert recording.text() == ""


def test_spans_go_to_the_provider_that_is_given_and_to_it_alone() -> None:
    own, other = Recording(), Recording()
    set_global_provider(other.provider)
    causepath.instrument(tracer_provider=own.provider)
    with (
        MessagesApi([HELLO]) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        create(client)
    causepath.uninstrument()
    assert own.text() == f"{RUN}\n  chat m #1  llm 12/5 stop (OK)"
    assert other.text() == ""


def test_clients_and_methods_from_before_are_traced_and_after_uninstrument_they_are_not() -> None:
    with (
        MessagesApi([HELLO] * 3) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        kept = client.messages.create
        kept(**ASK)
        with Recording() as recording:
            kept(**ASK)
            assert recording.text() == f"{RUN}\n  chat m #1  llm 12/5 stop (OK)"
        kept(**ASK)
        # What the SDK goes on to write is its own.
        assert [span.name for span in recording.spans()[2:]] == [
            "anthropic.messages.create"
        ] * NATIVE


def test_a_one_shot_iterator_as_messages_reaches_the_api() -> None:
    with (
        MessagesApi([HELLO]) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.messages.create(**{**ASK, "messages": iter(ASK["messages"])})
        assert api.requests[0].body["messages"] == ASK["messages"]


def test_a_request_says_its_parameters_and_where_in_the_code_it_was_made() -> None:
    with (
        MessagesApi([HELLO]) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.messages.create(
            **ASK,
            extra_body={"temperature": 0.5},
            stop_sequences=["END"],
            tools=[{"name": "search", "input_schema": {"type": "object"}}],
        )
        chat = next(span for span in recording.spans() if span.name.startswith("chat"))
        wanted = {
            "gen_ai.request.max_tokens": 64,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.stop_sequences": ("END",),
            "causepath.tools.declared": ("search",),
            "code.file.path": __file__,
            "gen_ai.provider.name": "anthropic",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "server.address": "127.0.0.1",
        }
        assert {name: chat.attributes[name] for name in wanted} == wanted
        assert "gen_ai.request.stream" not in chat.attributes


def test_a_warning_of_the_sdk_still_points_at_the_line_that_called_it() -> None:
    with (
        MessagesApi([HELLO]) as api,
        Recording(),
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        with pytest.warns(DeprecationWarning, match="claude-2.1") as warned:
            client.messages.create(**{**ASK, "model": "claude-2.1"})
        assert warned[0].filename == __file__


def test_content_is_nowhere_in_what_is_written() -> None:
    secrets = [f"SECRET-{part}" for part in ("system", "prompt", "answer", "argument", "result")]
    with (
        MessagesApi(
            [Reply([ToolUse("search", {"q": secrets[3]}, id="toolu_1")]), Reply(secrets[2])]
        ) as api,
        Recording() as recording,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        search = causepath.tool(name="search")(lambda q: secrets[4])
        messages: list[Any] = [{"role": "user", "content": secrets[1]}]
        ask = {**ASK, "system": secrets[0], "messages": messages}
        reply = client.messages.create(**ask)
        messages.append({"role": "assistant", "content": reply.content})
        result = search(**reply.content[0].input)
        messages.append(
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": result}],
            }
        )
        client.messages.create(**ask)
        written = "".join(span.to_json() for span in recording.spans())
        assert len(recording.spans()) == 4
        assert [secret for secret in secrets if secret in written] == []


def test_a_fault_of_ours_is_the_applications_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any) -> Any:
        raise RuntimeError("ours")

    faulty = dataclasses.replace(
        ANTHROPIC,
        **dict.fromkeys(("read_request", "read_reply", "read_event", "read_error"), fails),
    )
    for broken in (faulty, dataclasses.replace(faulty, read_request=ANTHROPIC.read_request)):
        monkeypatch.setattr(instrumentor, "PROVIDERS", (broken,))
        with (
            MessagesApi([HELLO, HELLO, Failure(400)]) as api,
            Recording(),
            anthropic.Anthropic(base_url=api.url, api_key="test") as client,
        ):
            assert create(client) == "Hello, you there."
            assert iterate(client)[-1] == "message_stop"
            with pytest.raises(anthropic.BadRequestError):
                create(client)
        assert guard._reported
        guard._reported.clear()
