"""`CAUSEPATH_CACHE_DIAGNOSIS`: requests ask the provider why its cache missed, if told to."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from causepath.config import from_environment
from tests.plugin.ways import BEDROCK, FOUNDRY, MANTLE, VERTEX
from tests.support.messages_api import MessagesApi
from tests.support.openai_api import OpenAiApi
from tests.support.recording import Recording
from tests.support.script import Failure, Reply, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.script import Answer

ASKS = Reply([ToolUse("search", {"q": "x"}, id="toolu_1")])
CHANGED = {"cache_miss_reason": {"type": "tools_changed", "cache_missed_input_tokens": 7}}
HELLO = {"role": "user", "content": "Hello?"}


@pytest.fixture(params=["on", "off"])
def setting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("CAUSEPATH_CACHE_DIAGNOSIS", request.param)
    return str(request.param)


async def of(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def closed(client: Any) -> None:
    await of(client.close())


async def messages(client: Any, **more: Any) -> Any:
    """Two calls, the second of which brings the result of a tool."""
    said: list[Any] = [HELLO]
    for _ in range(2):
        reply = await of(
            client.messages.create(model="m", max_tokens=9, messages=list(said), **more)
        )
        if reply.stop_reason != "tool_use":
            break
        said += [
            {"role": "assistant", "content": reply.content},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "found"}],
            },
        ]
    await closed(client)


async def responses(client: Any, model: str, **more: Any) -> Any:
    given: list[Any] = [HELLO]
    for _ in range(2):
        reply = await of(client.responses.create(model=model, input=list(given), **more))
        asked = [one for one in reply.output if one.type == "function_call"]
        if not asked:
            break
        given += [one.model_dump(exclude_none=True) for one in asked]
        given.append(
            {"type": "function_call_output", "call_id": asked[0].call_id, "output": "found"}
        )
    await closed(client)


def sent(api: MessagesApi, name: str) -> list[Any]:
    return [one.body.get(name, "nothing") for one in api.requests]


@pytest.mark.parametrize("is_async", [False, True])
def test_messages_are_compared_with_the_reply_they_answer(setting: str, is_async: bool) -> None:
    make = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
    answers: Sequence[Answer] = [
        ASKS,
        Failure(429, retry_after_seconds=0.01),
        Reply("Done.", more={"diagnostics": CHANGED}),
    ]
    with Recording() as recording, MessagesApi(answers) as api:
        asyncio.run(messages(make(base_url=api.url, api_key="test")))
        recording.text()
        calls = [span.attributes or {} for span in recording.finished() if span.name == "chat m"]
        said = [call.get("causepath.cache.diagnosis") for call in calls]
        reply_id = calls[0].get("gen_ai.response.id")
    assert said == [None, "tools_changed"]  # which is recorded whoever has asked
    first, *others = sent(api, "diagnostics")
    if setting == "off":
        assert [first, *others] == ["nothing"] * 3
        return
    assert first == {"previous_message_id": None}
    assert others == [{"previous_message_id": reply_id}] * 2


def test_a_stream_is_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSEPATH_CACHE_DIAGNOSIS", "1")
    with Recording() as recording, MessagesApi([ASKS, Reply("Done.")]) as api:
        with anthropic.Anthropic(base_url=api.url, api_key="test") as client:
            with client.messages.stream(model="m", max_tokens=9, messages=[HELLO]) as stream:
                reply = stream.get_final_message()
            result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "found"}
            said: list[Any] = [
                HELLO,
                {"role": "assistant", "content": reply.content},
                {"role": "user", "content": [result]},
            ]
            client.messages.create(model="m", max_tokens=9, messages=said)
        recording.text()
    compared = [{"previous_message_id": None}, {"previous_message_id": reply.id}]
    assert sent(api, "diagnostics") == compared


def test_what_the_application_asks_stands(setting: str) -> None:
    own = {"previous_message_id": "mine"}
    with Recording() as recording, MessagesApi([ASKS, Reply("Done.")]) as api:
        client = anthropic.Anthropic(base_url=api.url, api_key="test")
        asyncio.run(messages(client, extra_body={"diagnostics": own}))
        recording.text()
    assert sent(api, "diagnostics") == [own, own]


@pytest.mark.parametrize(
    ("model", "more", "compared"),
    [
        ("gpt-5.6-sol", {}, [None, "resp"]),
        ("gpt-6", {}, [None, "resp"]),
        ("gpt-5.5", {}, [None, None]),
        ("gpt-5", {}, [None, None]),
        ("o3", {}, [None, None]),
        ("gpt-60x", {}, [None, None]),
        ("gpt-5.6", {"previous_response_id": "resp_0"}, ["resp_0", "resp_0"]),
        (
            "gpt-5.6",
            {"extra_body": {"prompt_cache_options": {"comparison_response_id": "mine"}}},
            ["mine", "mine"],
        ),
        ("gpt-5.6", {"extra_body": {"prompt_cache_options": {"ttl": "30m"}}}, [None, "resp"]),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_responses_are_compared_where_the_model_can(
    monkeypatch: pytest.MonkeyPatch,
    is_async: bool,
    model: str,
    more: dict[str, Any],
    compared: list[str | None],
) -> None:
    monkeypatch.setenv("CAUSEPATH_CACHE_DIAGNOSIS", "on")
    make: Callable[..., Any] = openai.AsyncOpenAI if is_async else openai.OpenAI
    with Recording() as recording, OpenAiApi([ASKS, Reply("Done.")]) as api:
        asyncio.run(responses(make(base_url=api.url, api_key="test"), model, **more))
        recording.text()
    found = []
    for one in api.requests:
        options = one.body.get("prompt_cache_options") or {}
        assert options.get("ttl") == (
            more.get("extra_body", {}).get("prompt_cache_options", {}).get("ttl")
        )
        asked = options.get("comparison_response_id")
        is_own = asked in (None, "mine", "resp_0")
        found.append(asked if is_own else asked.partition("_")[0])
    assert found == compared


def test_completions_and_other_platforms_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSEPATH_CACHE_DIAGNOSIS", "on")
    with Recording() as recording, OpenAiApi([Reply("Hello."), Reply("Hello.")]) as api:
        with openai.OpenAI(base_url=api.url, api_key="test") as client:
            client.chat.completions.create(model="gpt-5.6", messages=[HELLO])  # type: ignore[list-item]
        with openai.AzureOpenAI(
            base_url=api.url, api_key="test", api_version="2026-01-01"
        ) as client:
            client.responses.create(
                model="gpt-5.6",
                input="Hello?",
                previous_response_id="resp_0",
            )
        recording.text()
    assert [one.body.keys() & {"diagnostics", "prompt_cache_options"} for one in api.requests] == [
        set(),
        set(),
    ]


@pytest.mark.parametrize("make", [BEDROCK, MANTLE, VERTEX, FOUNDRY])
def test_other_platforms_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]
) -> None:
    monkeypatch.setenv("CAUSEPATH_CACHE_DIAGNOSIS", "on")
    with Recording() as recording, MessagesApi([Reply("Hello.")]) as api:
        with make(api.url, False) as client:
            client.messages.create(model="m", max_tokens=9, messages=[HELLO])
        recording.text()
    assert sent(api, "diagnostics") == ["nothing"]


@pytest.mark.parametrize(
    ("value", "asks", "complaints"),
    [
        ("", False, 0),
        ("off", False, 0),
        ("0", False, 0),
        ("ON", True, 0),
        (" true ", True, 0),
        ("1", True, 0),
        ("please", False, 1),
    ],
)
def test_the_setting(value: str, asks: bool, complaints: int) -> None:
    found = from_environment({"CAUSEPATH_CACHE_DIAGNOSIS": value})
    assert (found.cache_diagnosis, len(found.complaints)) == (asks, complaints)
