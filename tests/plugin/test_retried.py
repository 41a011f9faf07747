"""The application's own retries of a first call: one run, where it is the same request again."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from tests.support.messages_api import MessagesApi
from tests.support.openai_api import OpenAiApi
from tests.support.script import ErrorEvent, Failure, InOrder, Reply, ToolUse, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.recording import Recording

HELLO = Reply("Hello.", usage=Usage(3, 2))
BUSY = Failure(529)
ASKS = Reply([ToolUse("search", {"q": "x"})], usage=Usage(3, 2))


def question(text: str = "?") -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}


def attempt(client: Any, ask: dict[str, Any], **more: Any) -> bool:
    try:
        reply = client.messages.create(**ask, **more)
        if more:
            list(reply)
    except anthropic.APIError:
        return False
    return True


def runs(recording: Recording) -> list[tuple[str, int]]:
    """Of each: whether it is said to have failed, and its calls."""
    recording.text()
    spans = recording.spans()
    found = [span for span in spans if span.name.startswith("invoke_agent")]
    return [
        (
            span.status.status_code.name.lower(),
            sum(s.parent is not None and s.parent.span_id == span.context.span_id for s in spans),
        )
        for span in sorted(found, key=lambda span: span.start_time or 0)
    ]


def with_answers(*answers: Any) -> Any:
    return MessagesApi(InOrder(list(answers)))


def client_of(api: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=api.url, api_key="test", max_retries=0)


@pytest.mark.parametrize(
    ("answers", "asked", "expected"),
    [
        ([BUSY, HELLO], ["a", "a"], [("unset", 2)]),
        ([BUSY, BUSY, HELLO], ["a"] * 3, [("unset", 3)]),
        ([BUSY, BUSY], ["a", "a"], [("error", 2)]),
        ([BUSY], ["a"], [("error", 1)]),
        ([Failure(400), HELLO], ["a", "a"], [("error", 1), ("unset", 1)]),
        ([BUSY, HELLO], ["a", "b"], [("error", 1), ("unset", 1)]),
        ([BUSY, HELLO, HELLO], ["a", "a", "a"], [("unset", 2), ("unset", 1)]),
        ([HELLO, BUSY, HELLO], ["a", "a", "a"], [("unset", 1), ("unset", 2)]),
    ],
)
def test_the_same_request_again_goes_on_in_the_run(
    answers: Sequence[Any], asked: Sequence[str], expected: Any, recording: Recording
) -> None:
    with with_answers(*answers) as api, client_of(api) as client:
        for text in asked:
            attempt(client, question(text))
    assert runs(recording) == expected


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (question() | {"model": "n"}, [("unset", 2)]),
        (question() | {"model": "n", "max_tokens": 99, "system": "Be brief."}, [("unset", 2)]),
        (question("b") | {"model": "n"}, [("error", 1), ("unset", 1)]),
    ],
)
def test_another_model_that_is_asked_the_same_goes_on_in_the_run(
    other: dict[str, Any], expected: Any, recording: Recording
) -> None:
    with with_answers(BUSY, HELLO) as api, client_of(api) as client:
        assert not attempt(client, question())
        assert attempt(client, other)
    assert runs(recording) == expected


def test_so_does_one_of_another_provider(recording: Recording) -> None:
    with with_answers(BUSY) as api, client_of(api) as client, OpenAiApi([HELLO]) as others:
        assert not attempt(client, question())
        asked = {"model": "n", "messages": question()["messages"]}
        with openai.OpenAI(base_url=others.url, api_key="test") as other:
            other.chat.completions.create(**asked)
    assert runs(recording) == [("unset", 2)]


def test_a_stream_that_broke_is_asked_for_again(recording: Recording) -> None:
    broken = Reply("Hello, you there.", usage=Usage(3, 2), interruption=ErrorEvent(after_deltas=1))
    with with_answers(broken, HELLO) as api, client_of(api) as client:
        assert not attempt(client, question(), stream=True)
        assert attempt(client, question(), stream=True)
    assert runs(recording) == [("unset", 2)]


def test_a_run_that_was_tried_again_goes_on_with_its_tools(recording: Recording) -> None:
    with with_answers(BUSY, ASKS, HELLO) as api, client_of(api) as client:
        ask = question()
        attempt(client, ask)
        reply = client.messages.create(**ask)
        (call,) = reply.content
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "found"}
        ask["messages"] += [
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": [result]},
        ]
        client.messages.create(**ask)
    assert runs(recording) == [("unset", 4)]


def test_the_same_question_in_another_thread_is_a_run_of_its_own(recording: Recording) -> None:
    with with_answers(BUSY, HELLO) as api, client_of(api) as client:
        attempt(client, question())
        other = threading.Thread(target=attempt, args=(client, question()))
        other.start()
        other.join(10)
    assert runs(recording) == [("error", 1), ("unset", 1)]


def test_in_a_task(recording: Recording) -> None:
    async def main() -> None:
        async with anthropic.AsyncAnthropic(
            base_url=api.url, api_key="test", max_retries=0
        ) as client:
            with pytest.raises(anthropic.APIError):
                await client.messages.create(**question())
            await client.messages.create(**question())

    with with_answers(BUSY, HELLO) as api:
        asyncio.run(main())
    assert runs(recording) == [("unset", 2)]
